// Command terraformdocs writes the tables of variables and outputs into the README of each module and example below a folder, between two
// marks. It reads what terraform fmt has formatted, line by line; it knows no more of the language than that.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	begin = "<!-- variables and outputs: make generate writes this -->"
	end   = "<!-- end -->"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "terraformdocs:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: terraformdocs FOLDER")
	}
	mains, err := filepath.Glob(filepath.Join(args[0], "*", "*", "main.tf"))
	if err != nil {
		return err
	}
	for _, m := range mains {
		if err := document(filepath.Dir(m)); err != nil {
			return err
		}
	}
	return nil
}

// document replaces what stands between the marks of a folder's README.
func document(folder string) error {
	path := filepath.Join(folder, "README.md")
	readme, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, opened := strings.Cut(string(readme), begin)
	_, after, closed := strings.Cut(rest, end)
	if !opened || !closed {
		return fmt.Errorf("%s: the marks %q and %q are missing", path, begin, end)
	}
	variables, err := blocks(filepath.Join(folder, "variables.tf"), "variable")
	if err != nil {
		return err
	}
	outputs, err := blocks(filepath.Join(folder, "outputs.tf"), "output")
	if err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString(before + begin + "\n\n## Variables\n\n| name | default | meaning |\n|---|---|---|\n")
	for _, v := range variables {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", v.name, v.defaultCell(), v.description)
	}
	b.WriteString("\n## Outputs\n\n| name | meaning |\n|---|---|\n")
	for _, o := range outputs {
		fmt.Fprintf(&b, "| `%s` | %s |\n", o.name, o.description)
	}
	b.WriteString("\n" + end + after)
	return os.WriteFile(path, []byte(b.String()), 0o644) //nolint:gosec // a document of the checkout
}

// block is a variable or an output.
type block struct {
	name, description, value string
	optional                 bool
}

func (b block) defaultCell() string {
	switch {
	case !b.optional:
		return "required"
	case b.value == "":
		return "see variables.tf"
	default:
		return "`" + b.value + "`"
	}
}

// blocks reads the top-level blocks of one kind.
func blocks(path, kind string) ([]block, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var all []block
	for line := range strings.Lines(string(content)) {
		line = strings.TrimSuffix(line, "\n")
		if rest, found := strings.CutPrefix(line, kind+` "`); found {
			name, _, _ := strings.Cut(rest, `"`)
			all = append(all, block{name: name})
			continue
		}
		key, value, assigned := strings.Cut(line, " = ")
		if !assigned || !strings.HasPrefix(line, "  ") || strings.HasPrefix(line, "   ") || len(all) == 0 {
			continue
		}
		last := &all[len(all)-1]
		switch strings.TrimSpace(key) {
		case "description":
			text := strings.TrimSuffix(strings.TrimPrefix(value, `"`), `"`)
			last.description = strings.ReplaceAll(strings.ReplaceAll(text, `\"`, `"`), "|", `\|`)
		case "default":
			last.optional = true
			if !strings.HasSuffix(value, "{") && !strings.HasSuffix(value, "[") {
				last.value = value
			}
		}
	}
	return all, nil
}
