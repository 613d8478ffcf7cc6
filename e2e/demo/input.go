package demo

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Input is the file that is streamed: lines "key<TAB>value", the key being the source file that the value is a line of.
type Input struct {
	Path  string
	Lines []Line
	// Bytes of all keys and values.
	Bytes int64
}

// Line is one record.
type Line struct{ Key, Value string }

var errEnough = errors.New("enough lines")

// writeInput makes the input from the Go toolchain's own sources, which everybody has who can build StreamHouse.
func (d *demo) writeInput(ctx context.Context, path string) (*Input, error) {
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("find the Go toolchain: %w", err)
	}
	src := filepath.Join(strings.TrimSpace(string(root)), "src")
	in := &Input{Path: path}
	var text bytes.Buffer
	err = filepath.WalkDir(src, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(file, ".go") {
			return err
		}
		if len(in.Lines) >= d.cfg.Lines {
			return errEnough
		}
		return in.add(&text, src, file)
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	return in, os.WriteFile(path, text.Bytes(), 0o600)
}

func (in *Input) add(text *bytes.Buffer, root, file string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	key, err := filepath.Rel(root, file)
	if err != nil {
		return err
	}
	scanner := bufio.NewScanner(bytes.NewReader(content))
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		value := strings.ToValidUTF8(scanner.Text(), "?") // a few test files are not UTF-8 on purpose
		fmt.Fprintf(text, "%s\t%s\n", key, value)
		in.Lines = append(in.Lines, Line{key, value})
		in.Bytes += int64(len(key) + len(value))
	}
	return scanner.Err()
}
