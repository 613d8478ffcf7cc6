// Package output prints what commands answer: as a table for people, as JSON or YAML for programs. One list of fields serves all three:
// the JSON tags of what is printed. Their names and order are stable; a release may add fields at the end.
// Nothing here knows what is printed.
// Read: output.go, table.go.
package output

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Format of an answer.
type Format string

// The formats.
const (
	Table Format = "table"
	JSON  Format = "json"
	YAML  Format = "yaml"
)

// ParseFormat reads a format's name; empty: Table.
func ParseFormat(name string) (Format, error) {
	switch f := Format(name); f {
	case "":
		return Table, nil
	case Table, JSON, YAML:
		return f, nil
	}
	return "", fmt.Errorf("output %q: must be table, json or yaml", name)
}

// Print writes value, a struct or a slice of structs, in the format. The table shows the columns, for people.
func Print(w io.Writer, f Format, value any, table Rows) error {
	switch f {
	case JSON:
		content, err := indented(value)
		if err != nil {
			return err
		}
		_, err = w.Write(content)
		return err
	case YAML:
		return printYAML(w, value)
	case Table:
		return table.write(w)
	}
	return errors.New("no such output format")
}

func indented(value any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(value); err != nil {
		return nil, fmt.Errorf("print JSON: %w", err)
	}
	return b.Bytes(), nil
}

// Line writes value as JSON on one line.
func Line(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	return nil
}

// printYAML goes by way of JSON, which is YAML, so that names and order are the same.
func printYAML(w io.Writer, value any) error {
	content, err := indented(value)
	if err != nil {
		return err
	}
	var document yaml.Node
	if err := yaml.Unmarshal(content, &document); err != nil {
		return fmt.Errorf("print YAML: %w", err)
	}
	plain(&document)
	encoder := yaml.NewEncoder(w)
	encoder.SetIndent(2)
	if err := errors.Join(encoder.Encode(&document), encoder.Close()); err != nil {
		return fmt.Errorf("print YAML: %w", err)
	}
	return nil
}

// plain removes JSON's braces and, where it can be done without, its quotes.
func plain(node *yaml.Node) {
	if len(node.Content) > 0 { // what is empty stays {} and []
		node.Style = 0
	}
	if node.Kind == yaml.ScalarNode && node.Tag == "!!str" && !strings.Contains(node.Value, "\n") {
		var fresh yaml.Node
		fresh.SetString(node.Value)
		*node = fresh
	}
	for _, child := range node.Content {
		plain(child)
	}
}
