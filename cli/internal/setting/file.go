package setting

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"go.yaml.in/yaml/v3"
)

// maxFileBytes bounds the file.
const maxFileBytes = 1 << 20

// file is the YAML file.
type file struct {
	Server  list   `yaml:"server"`
	Agent   list   `yaml:"agent"`
	APIKey  string `yaml:"api-key"` //nolint:tagliatelle // as the flag
	Output  string `yaml:"output"`
	DataDir string `yaml:"data-dir"` //nolint:tagliatelle // as the flag
}

// list takes one value, too.
type list []string

// UnmarshalYAML reads a string or a list of strings.
func (l *list) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		*l = list{node.Value}
		return nil
	}
	return node.Decode((*[]string)(l))
}

func readFile(path string) (file, error) {
	var values file
	f, err := os.Open(path)
	if err != nil {
		return values, fmt.Errorf("open --config: %w", err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxFileBytes))
	if err != nil {
		return values, fmt.Errorf("read %s: %w", path, err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	if err := decoder.Decode(&values); err != nil && !errors.Is(err, io.EOF) {
		return values, fmt.Errorf("read %s: %w (known are server, agent, api-key, output and data-dir)", path, err)
	}
	return values, nil
}
