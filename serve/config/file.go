package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// maxFileBytes bounds a configuration file.
const maxFileBytes = 1 << 20

// File is the type of the flag that names the configuration file: a YAML mapping from flag names to values, lists for flags that take
// several.
type File string

// BeforeResolve reads the file, as soon as kong knows its name.
func (File) BeforeResolve(ctx *kong.Context, trace *kong.Path) error {
	path, _ := ctx.FlagValue(trace.Flag).(File)
	if path == "" {
		return nil
	}
	values, err := readFile(string(path), knownKeys(ctx.Model, trace.Flag.Name))
	if err != nil {
		return err
	}
	ctx.AddResolver(kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		return values.resolve(flag)
	}))
	return nil
}

// fileValues has the file's values by key, as they would stand on the command line.
type fileValues map[string]string

// resolve is asked for flags that the command line does not set.
func (v fileValues) resolve(flag *kong.Flag) (any, error) {
	for _, name := range flag.Envs {
		if _, set := os.LookupEnv(name); set {
			return nil, nil //nolint:nilnil // kong's way to say: not from here
		}
	}
	if value, ok := v[flag.Name]; ok {
		return value, nil
	}
	return nil, nil //nolint:nilnil // kong's way to say: not from here
}

func knownKeys(app *kong.Application, fileFlag string) map[string]bool {
	known := map[string]bool{}
	for _, flag := range allFlags(app.Node) {
		known[flag.Name] = flag.Name != "help" && flag.Name != fileFlag
	}
	return known
}

func readFile(path string, known map[string]bool) (fileValues, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open configuration: %w", err)
	}
	defer func() { _ = file.Close() }()
	var document yaml.Node
	err = yaml.NewDecoder(io.LimitReader(file, maxFileBytes)).Decode(&document)
	if errors.Is(err, io.EOF) {
		return fileValues{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	values, err := mapping(document.Content[0], known)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return values, nil
}

func mapping(node *yaml.Node, known map[string]bool) (fileValues, error) {
	if node.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("line %d: must be a mapping from flag names to values", node.Line)
	}
	values := fileValues{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		if !known[key.Value] {
			return nil, fmt.Errorf("line %d: unknown key %q", key.Line, key.Value)
		}
		if _, twice := values[key.Value]; twice {
			return nil, fmt.Errorf("line %d: key %q stands there twice", key.Line, key.Value)
		}
		value, err := scalarOrList(node.Content[i+1])
		if err != nil {
			return nil, fmt.Errorf("line %d: key %q: %w", key.Line, key.Value, err)
		}
		values[key.Value] = value
	}
	return values, nil
}

var errShape = errors.New("must be a value or a list of values")

func scalarOrList(node *yaml.Node) (string, error) {
	switch node.Kind {
	case yaml.ScalarNode:
		if node.Tag == "!!null" {
			return "", errShape
		}
		return node.Value, nil
	case yaml.SequenceNode:
		items := make([]string, 0, len(node.Content))
		for _, item := range node.Content {
			if item.Kind != yaml.ScalarNode {
				return "", errShape
			}
			items = append(items, strings.ReplaceAll(item.Value, ",", `\,`)) // kong splits lists at commas
		}
		return strings.Join(items, ","), nil
	default:
		return "", errShape
	}
}
