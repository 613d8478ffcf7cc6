package workspace

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The web console that is checked in was built from the sources that are checked in. Who has no Node to build it learns here that it is stale.
func TestConsoleIsBuiltFromItsSources(t *testing.T) {
	t.Parallel()
	const list = "controlplane/internal/console/dist/sources.txt"
	file, err := os.Open(filepath.Join(root(), list))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	built := map[string]string{}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		digest, path, _ := strings.Cut(lines.Text(), "  ")
		built[path] = digest
	}
	if len(built) < 20 {
		t.Fatalf("%s has %d files", list, len(built))
	}
	for _, path := range consoleSources(t) {
		content, err := os.ReadFile(filepath.Join(root(), path))
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(content); built[path] != hex.EncodeToString(sum[:]) {
			t.Errorf("%s is not what the web console was built from: run make generate where Node is, and commit what it writes", path)
		}
		delete(built, path)
	}
	for path := range built {
		t.Errorf("%s is gone, and the web console was built from it: run make generate where Node is, and commit what it writes", path)
	}
}

// consoleSources are the files that decide what is built; console/build.mjs has the same list.
func consoleSources(t *testing.T) []string {
	t.Helper()
	sources := []string{
		"console/build.mjs", "console/buf.gen.yaml", "console/package-lock.json", "console/package.json", "console/tsconfig.json",
	}
	for _, dir := range []string{"console/src", "proto"} {
		err := filepath.WalkDir(filepath.Join(root(), dir), func(name string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			path, err := filepath.Rel(root(), name)
			if err != nil {
				return err
			}
			path = filepath.ToSlash(path)
			switch {
			case entry.IsDir() && path == "console/src/gen": // made from proto/ at each build
				return fs.SkipDir
			case !entry.IsDir() && (dir != "proto" || strings.HasSuffix(path, ".proto")):
				sources = append(sources, path)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(sources)
	return sources
}
