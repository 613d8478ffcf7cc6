package workspace

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// empty are names that say nothing: what lives in such a package belongs to the capability that needs it.
var empty = []string{"base", "common", "core", "helper", "helpers", "lib", "manager", "misc", "shared", "types", "util", "utils"}

// longFile is where a file should have been split; a warning, because a long table is no sin.
const longFile = 500

func TestEveryPackageHasADoorPlate(t *testing.T) {
	t.Parallel()
	for dir, path := range packageDirs(t) {
		files := parseDir(t, dir)
		if len(files) == 0 {
			continue // generated, all of it
		}
		var plates int
		for _, file := range files {
			if file.Doc == nil {
				continue
			}
			plates++
			checkPlate(t, path, file)
		}
		if plates == 0 {
			t.Errorf("%s has no package comment: say what lives there, what may not, and where to begin reading", path)
		}
	}
}

func checkPlate(t *testing.T, path string, file *ast.File) {
	t.Helper()
	name := file.Name.Name
	begin := "Package " + name + " "
	if name == "main" {
		begin = "Command " + filepath.Base(path) + " "
	}
	text := file.Doc.Text()
	if !strings.HasPrefix(text, begin) {
		t.Errorf("%s: the package comment does not begin with %q", path, begin)
	}
	if len(strings.Fields(text)) < 8 {
		t.Errorf("%s: the package comment says next to nothing: %q", path, text)
	}
}

func TestPackageNamesSaySomething(t *testing.T) {
	t.Parallel()
	for dir, path := range packageDirs(t) {
		for _, file := range parseDir(t, dir) {
			names := []string{filepath.Base(path), strings.TrimSuffix(file.Name.Name, "_test")}
			if i := slices.IndexFunc(names, func(name string) bool { return slices.Contains(empty, name) }); i >= 0 {
				t.Errorf("%s: %q says nothing: name the package after the capability", path, names[i])
				break
			}
		}
	}
}

// packageDirs are the folders of the project's packages, with their import paths.
func packageDirs(t *testing.T) map[string]string {
	t.Helper()
	dirs := map[string]string{}
	for _, p := range loadGraph(t) {
		if p.module() != "" && p.Dir != "" && !strings.HasSuffix(p.ImportPath, ".test") {
			dirs[p.Dir] = strings.TrimSuffix(p.plain(), "_test")
		}
	}
	return dirs
}

// parseDir reads the files of a package that are not generated, whatever their build tags.
func parseDir(t *testing.T, dir string) []*ast.File {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, name := range names {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, source, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Errorf("parse %s: %v", name, err)
			continue
		}
		if ast.IsGenerated(file) {
			continue
		}
		files = append(files, file)
		if lines := bytes.Count(source, []byte("\n")); lines > longFile {
			t.Logf("%s has %d lines: split it along its subject if it has more than one", name, lines)
		}
	}
	return files
}
