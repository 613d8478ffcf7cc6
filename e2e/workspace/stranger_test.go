package workspace

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// outside are the settings of a build that knows nothing of this workspace.
var outside = []string{"GOWORK=off", "GOFLAGS=-mod=mod"}

// Every module's go.mod and go.sum are complete by themselves: go.work hides what is missing, a release does not.
func TestModulesAreCompleteWithoutTheWorkspace(t *testing.T) {
	t.Parallel()
	for _, module := range modules(t) {
		t.Run(module, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(root(), module)
			if _, err := goCommand(dir, []string{"GOWORK=off", "GOFLAGS=-mod=readonly"}, "list", "-deps", "-test", "./..."); err != nil {
				t.Errorf("run `go mod tidy` in %s: %v", module, err)
			}
		})
	}
}

// A stranger's program imports the SDK, in a module of its own, with nothing of this checkout but client and gen.
func TestStrangersProgramBuildsAgainstTheSDK(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "main.go", strangersProgram)
	write(t, dir, "go.mod", strangersModule(t))
	write(t, dir, "go.sum", read(t, "client/go.sum")+read(t, "gen/go.sum"))
	binary := filepath.Join(dir, "stranger")
	if _, err := goCommand(dir, outside, "build", "-buildvcs=false", "-o", binary, "."); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(binary).CombinedOutput(); err != nil || string(out) != "in zone az-a\n" {
		t.Errorf("the program says %q, %v", out, err)
	}
	linked, err := goCommand(dir, outside, "version", "-m", binary)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(linked), prefix+"client") {
		t.Errorf("the program was built without the SDK:\n%s", linked)
	}
	graph, err := goCommand(dir, outside, "list", "-m", "all")
	if err != nil {
		t.Fatal(err)
	}
	for _, fence := range fences {
		for line := range strings.Lines(string(linked) + string(graph)) {
			for _, path := range fence.paths {
				if strings.Contains(line, path) {
					t.Errorf("the SDK brings %s into a stranger's module: %s", fence.name, strings.TrimSpace(line))
				}
			}
		}
	}
}

// strangersModule is what a user's go.mod says before the first release: the SDK alone is required, and since no
// version can be fetched yet, it and what it requires of ours are taken from here.
func strangersModule(t *testing.T) string {
	t.Helper()
	var text strings.Builder
	text.WriteString("module example.com/stranger\n\ngo 1.26.0\n\nrequire " + prefix + "client v0.0.0\n")
	for _, module := range []string{"client", "gen"} {
		text.WriteString("\nreplace " + prefix + module + " => " + filepath.Join(root(), module) + "\n")
	}
	return text.String()
}

// strangersProgram uses what every program uses of the SDK, as far as it goes without a cluster.
const strangersProgram = `package main

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/streamhouse/streamhouse/client"
)

func main() {
	c, err := client.New(client.WithAgents("http://127.0.0.1:1"), client.WithAPIKey("key"), client.WithZone("az-a"))
	if err != nil {
		log.Fatal(err)
	}
	p, err := c.NewProducer(client.WithLinger(time.Millisecond))
	if err != nil {
		log.Fatal(err)
	}
	if err := p.Close(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Println("in zone", c.Zone())
	if err := c.Close(); err != nil {
		log.Fatal(err)
	}
}
`

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
