package setting

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/streamhouse/streamhouse/cli/internal/datadir"
	"github.com/streamhouse/streamhouse/cli/internal/output"
)

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFlagsGoBeforeTheFile(t *testing.T) {
	t.Parallel()
	config := write(t, "server: http://s1\nagent: [http://a1, http://a2]\napi-key: k1\noutput: yaml\ndata-dir: d1\n")
	for name, c := range map[string]struct {
		flags Flags
		want  Settings
	}{
		"nothing": {Flags{}, Settings{Output: output.Table}},
		"file": {Flags{Config: config}, Settings{
			Server: []string{"http://s1"}, Agent: []string{"http://a1", "http://a2"}, APIKey: "k1", Output: output.YAML, DataDir: "d1",
		}},
		"both": {Flags{Config: config, Server: []string{"http://s2"}, APIKey: "k2", Output: "json", DataDir: "d2"}, Settings{
			Server: []string{"http://s2"}, Agent: []string{"http://a1", "http://a2"}, APIKey: "k2", Output: output.JSON, DataDir: "d2",
		}},
		"empty file": {Flags{Config: write(t, "")}, Settings{Output: output.Table}},
	} {
		got, err := c.flags.Resolve()
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, c.want)
		}
	}
}

func TestWrongFilesAreRefused(t *testing.T) {
	t.Parallel()
	for content, want := range map[string]string{
		"servre: x\n": "servre", "server: {a: b}\n": "line 1", "output: xml\n": "xml", "- a\n": "line 1", "\t": "read",
	} {
		if _, err := (Flags{Config: write(t, content)}).Resolve(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want one about %q", content, err, want)
		}
	}
	if _, err := (Flags{Config: "/no/such/file"}).Resolve(); err == nil || !strings.Contains(err.Error(), "--config") {
		t.Errorf("got %v", err)
	}
}

func runningDev(t *testing.T) string {
	t.Helper()
	dir, err := datadir.At(filepath.Join(t.TempDir(), "dev"))
	if err == nil {
		err = dir.Create()
	}
	if err == nil {
		err = dir.WriteCluster(datadir.Cluster{
			ControlPlanes: []datadir.ControlPlane{{URL: "http://127.0.0.1:1"}, {URL: "http://127.0.0.1:2"}},
			Agents:        []datadir.Agent{{URL: "http://127.0.0.1:3"}, {URL: "http://127.0.0.1:4"}}, APIKey: "dev-key",
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir.Path()
}

func TestRunningDevIsFound(t *testing.T) {
	t.Parallel()
	dev := runningDev(t)
	all := Connection{
		Server: []string{"http://127.0.0.1:1", "http://127.0.0.1:2"}, Agent: []string{"http://127.0.0.1:3", "http://127.0.0.1:4"}, APIKey: "dev-key",
	}
	oneAgent := all
	oneAgent.Agent = []string{"http://localhost:4/"}
	ownKey := all
	ownKey.APIKey = "own"
	for name, c := range map[string]struct {
		given Settings
		want  Connection
	}{
		"nothing given":   {Settings{}, all},
		"its agent":       {Settings{Agent: []string{"http://localhost:4/"}}, oneAgent},
		"a key":           {Settings{APIKey: "own"}, ownKey},
		"another cluster": {Settings{Server: []string{"http://example.com"}}, Connection{Server: []string{"http://example.com"}}},
		"one of each":     {Settings{Agent: []string{"http://127.0.0.1:3", "http://example.com"}}, Connection{Agent: []string{"http://127.0.0.1:3", "http://example.com"}}},
	} {
		c.given.DataDir = dev
		got, err := c.given.Connection()
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, %v, want %+v: the dev's key is for the dev's servers alone", name, got, err, c.want)
		}
	}
}

func TestNoClusterKnown(t *testing.T) {
	t.Parallel()
	if _, err := (Settings{DataDir: t.TempDir()}).Connection(); err == nil || !strings.Contains(err.Error(), "streamhouse dev --data-dir") {
		t.Errorf("got %v, want what to do", err)
	}
	complete := Settings{DataDir: t.TempDir(), Server: []string{"http://s"}, Agent: []string{"http://a"}, APIKey: "k"}
	if c, err := complete.Connection(); err != nil || c.APIKey != "k" {
		t.Errorf("got %+v, %v", c, err)
	}
}

func TestDirIsTheNearest(t *testing.T) { // not parallel: it changes the working directory
	root := t.TempDir()
	if resolved, err := filepath.EvalSymlinks(root); err == nil {
		root = resolved
	}
	below := filepath.Join(root, "a", "b")
	if err := os.MkdirAll(below, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(below)
	dir, err := (Settings{}).Dir()
	if err != nil || dir.Path() != filepath.Join(below, datadir.DefaultName) {
		t.Errorf("with none there: %v, %v", dir.Path(), err)
	}
	used, err := datadir.At(filepath.Join(root, datadir.DefaultName))
	if err == nil {
		err = used.Create()
	}
	if err != nil {
		t.Fatal(err)
	}
	lock, err := used.Lock()
	if err != nil {
		t.Fatal(err)
	}
	lock.Release()
	if dir, err := (Settings{}).Dir(); err != nil || dir != used {
		t.Errorf("with one above: %v, %v", dir.Path(), err)
	}
	if dir, err := (Settings{}).NewDir(); err != nil || dir.Path() != filepath.Join(below, datadir.DefaultName) {
		t.Errorf("a new dev goes to %v, %v, not here", dir.Path(), err)
	}
}
