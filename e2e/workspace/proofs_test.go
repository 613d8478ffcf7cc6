package workspace

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	testName   = regexp.MustCompile(`\bTest[A-Z]\w+`)
	testFunc   = regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	scriptName = regexp.MustCompile("`([a-z]+(?:_[a-z]+)+)`")
	modelName  = regexp.MustCompile("`([A-Z0-9]+(?:_[A-Z0-9]+)+)`")
)

// docs/proofs.md names tests, scripts and rules of the model: what it names is there.
func TestProofsNameWhatExists(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	proofs := readFile(t, filepath.Join(root, "docs", "proofs.md"))
	tests := testFunctions(t, root)
	named := testName.FindAllString(proofs, -1)
	if len(named) < 20 {
		t.Errorf("only %d tests are named", len(named))
	}
	for _, name := range named {
		if !tests[name] {
			t.Errorf("there is no test %s", name)
		}
	}
	for _, match := range scriptName.FindAllStringSubmatch(proofs, -1) {
		script := filepath.Join(root, "controlplane", "internal", "scenario", "testdata", match[1]+".txt")
		if _, err := os.Stat(script); err != nil {
			t.Errorf("script %s: %v", match[1], err)
		}
	}
	model := readFile(t, filepath.Join(root, "e2e", "model", "README.md")) + readFile(t, filepath.Join(root, "e2e", "model", "streamhouse.pml"))
	for _, match := range modelName.FindAllStringSubmatch(proofs, -1) {
		if !strings.HasPrefix(match[1], "STREAMHOUSE_") && !strings.Contains(model, match[1]) { // those are environment variables
			t.Errorf("the model has no %s", match[1])
		}
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// testFunctions are the names of all tests.
func testFunctions(t *testing.T, root string) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == ".git" || entry.Name() == ".tools") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		for _, match := range testFunc.FindAllStringSubmatch(readFile(t, path), -1) {
			all[match[1]] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
