package wire_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/e2e/cluster"
	"github.com/streamhouse/streamhouse/e2e/process"
)

func sha256Of(key string) string {
	hash := sha256.Sum256([]byte(key))
	return base64.StdEncoding.EncodeToString(hash[:])
}

// block is a fenced block of commands, and the one without a language right after it, if there is: lines that the commands print.
var block = regexp.MustCompile("(?ms)^```sh\n(.*?)^```\n(?:\n```\n(.*?)^```)?")

// documented runs the commands of docs/api.md from top to bottom, each block in a shell of its own, as a reader who has set the three variables.
func documented(ctx context.Context, t *testing.T, s *suite) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "api.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := block.FindAllStringSubmatch(string(text), -1)
	if len(blocks) < 8 {
		t.Fatalf("docs/api.md has %d blocks of commands", len(blocks))
	}
	path := cluster.Binaries(t) + ":" + os.Getenv("PATH")
	buf, noBuf := findBuf()
	if noBuf == nil {
		path = filepath.Dir(buf) + ":" + path
	}
	dir := process.Folder(t)
	for _, b := range blocks {
		if noBuf != nil && strings.Contains(b[1], "buf ") {
			t.Log("no buf: not run:", b[1])
			continue
		}
		cmd := exec.CommandContext(ctx, "bash", "-eu", "-c", b[1])
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH="+path, "STREAMHOUSE_SERVER="+s.ControlPlanes[0].URL, "STREAMHOUSE_AGENT="+s.Agents[0].URL, "STREAMHOUSE_API_KEY="+s.AdminKey)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s%v: %s", b[1], err, out)
		}
		for line := range strings.Lines(b[2]) {
			if want := strings.TrimSpace(line); want != "…" && !strings.Contains(squeezed(string(out)), squeezed(want)) {
				t.Errorf("%sprinted %s\nwithout %s", b[1], out, want)
			}
		}
	}
	s.expectDocumented(ctx, t)
}

// squeezed drops what printers of JSON differ in.
func squeezed(s string) string { return strings.NewReplacer(" ", "", "\n", "").Replace(s) }

// expectDocumented expects the document's commands to have left what it says: two records of its own.
func (s *suite) expectDocumented(ctx context.Context, t *testing.T) {
	t.Helper()
	if _, _, err := s.Admin(t).DescribeTopic(ctx, "letters"); err == nil {
		t.Error("the document's last command deletes its topic")
	}
	keys, err := s.Admin(t).ListKeys(ctx)
	if err != nil {
		t.Fatal(err)
	}
	made := 0
	for _, k := range keys {
		if k.Name == "a service" && k.Role == client.RoleClient {
			made++
		}
	}
	if made != 1 {
		t.Errorf("the document's commands made %d keys", made)
	}
}

// health is answered without a key, by plain GETs.
func health(ctx context.Context, t *testing.T, s *suite) {
	for _, base := range []string{s.Agents[0].URL, s.ControlPlanes[0].URL} {
		for _, path := range []string{"/healthz", "/readyz"} {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			if response.StatusCode != http.StatusOK {
				t.Errorf("GET %s: %s", path, response.Status)
			}
		}
	}
}
