package scenario_test

import (
	"flag"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/streamhouse/streamhouse/controlplane/internal/pgtest"
	"github.com/streamhouse/streamhouse/controlplane/internal/scenario"
)

// update rewrites the answers in testdata with those of the reference in memory. Explain each line that it changes.
var update = flag.Bool("update", false, "rewrite the expected answers")

func TestMain(m *testing.M) { pgtest.Main(m) }

// TestScripts tells every story on the reference and on PostgreSQL.
func TestScripts(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) < 20 {
		t.Fatalf("%d scripts, %v", len(paths), err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			t.Parallel()
			if *update {
				script := read(t, path)
				if err := script.Update(t.Context(), world(t, scenario.NewMemory(nil))); err != nil {
					t.Fatal(err)
				}
			}
			t.Run("memory", func(t *testing.T) {
				t.Parallel()
				run(t, path, scenario.NewMemory(nil))
			})
			t.Run("postgres", func(t *testing.T) {
				t.Parallel()
				if testing.Short() {
					t.Skip("starts PostgreSQL")
				}
				run(t, path, scenario.NewPostgres(t))
			})
		})
	}
}

func read(t *testing.T, path string) *scenario.Script {
	t.Helper()
	script, err := scenario.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	return script
}

func world(t *testing.T, catalog scenario.Catalog) *scenario.World {
	t.Helper()
	w, err := scenario.NewWorld(t.Context(), catalog)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

func run(t *testing.T, path string, catalog scenario.Catalog) {
	t.Helper()
	if err := read(t, path).Run(t.Context(), world(t, catalog)); err != nil {
		t.Fatal(err)
	}
}

// TestNoLeaks: what a story starts in the background is over when the story is.
func TestNoLeaks(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL")
	}
	pgtest.URL(t) // the server itself stays
	before := goleak.IgnoreCurrent()
	t.Run("story", func(t *testing.T) { run(t, "testdata/race_duplicate_commit.txt", scenario.NewPostgres(t)) })
	goleak.VerifyNone(t, before)
}
