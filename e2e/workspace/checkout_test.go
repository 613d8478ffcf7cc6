package workspace

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// prefix is what the import paths of all modules here begin with.
const prefix = "github.com/streamhouse/streamhouse/"

// root is the folder of go.work.
var root = sync.OnceValue(func() string {
	dir, err := filepath.Abs("../..")
	if err != nil {
		return ""
	}
	return dir
})

// pkg is a package as `go list` describes it (`go help list`).
type pkg struct {
	ImportPath string
	Dir        string
	ForTest    string // the package that this is a test variant of
	Standard   bool
	Module     *struct{ Path string }
	Imports    []string
}

// graph is all packages of the workspace with their tests, and everything that they import, by import path.
var graph = sync.OnceValues(func() (map[string]pkg, error) {
	out, err := goCommand(root(), nil, "list", "-deps", "-test", "-json=ImportPath,Dir,ForTest,Standard,Module,Imports", "work")
	if err != nil {
		return nil, err
	}
	packages := map[string]pkg{}
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages, nil
		} else if err != nil {
			return nil, fmt.Errorf("read go list: %w", err)
		}
		packages[p.ImportPath] = p
	}
})

func loadGraph(t *testing.T) map[string]pkg {
	t.Helper()
	packages, err := graph()
	if err != nil {
		t.Fatal(err)
	}
	return packages
}

// goCommand runs the go command in dir and returns its standard output; the error carries what it complained about.
func goCommand(dir string, env []string, args ...string) ([]byte, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return out, nil
}

// module is the name of the project's module that the package belongs to ("client"), or "" for a foreign one.
// A test's variant and its synthetic main package belong to the module of what they test.
func (p pkg) module() string {
	path := p.ImportPath
	if p.Module != nil {
		path = p.Module.Path
	}
	if !strings.HasPrefix(path, prefix) {
		return ""
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(path, prefix), "/")
	return name
}

// isTest says whether the package exists for tests alone.
func (p pkg) isTest() bool {
	return p.ForTest != "" || strings.HasSuffix(p.ImportPath, ".test")
}

// plain is the import path without the mark of a test variant ("a/b [a/b.test]").
func (p pkg) plain() string {
	path, _, _ := strings.Cut(p.ImportPath, " ")
	return path
}

// modules are the names of the modules in go.work.
func modules(t *testing.T) []string {
	t.Helper()
	out, err := goCommand(root(), nil, "list", "-m")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for path := range strings.FieldsSeq(string(out)) {
		names = append(names, strings.TrimPrefix(path, prefix))
	}
	return names
}
