package workspace

import (
	"slices"
	"strings"
	"testing"
)

// edges are the imports between modules that are allowed, tests included. The direction is
// gen ← client ← dataplane, cli, e2e; gen ← serve ← controlplane, dataplane; gen, sql ← controlplane.
var edges = map[string][]string{
	"gen":          {},
	"sql":          {},
	"devs3":        {},
	"images":       {},
	"client":       {"gen"},
	"serve":        {"gen"},
	"controlplane": {"gen", "serve", "sql"},
	"dataplane":    {"client", "gen", "serve"},
	"cli":          {"client", "gen"},
	"e2e":          {"client", "controlplane", "dataplane", "gen", "serve"},
}

// doors are the only packages that may be imported from a module by another, where not all may: a service is used
// through its package service, and agents share the batch codec with the SDK, not the SDK.
var doors = []struct{ from, to, only string }{
	{"dataplane", "client", "client/recordbatch"},
	{"e2e", "controlplane", "controlplane/service"},
	{"e2e", "dataplane", "dataplane/service"},
}

// fences keep foreign code in the modules that may know it. `direct` may import it; `linked` may also end up with
// it because they import one of those.
var fences = []struct {
	name           string
	paths          []string
	direct, linked []string
}{
	{"PostgreSQL", []string{"github.com/jackc/pgx", "github.com/pressly/goose"}, []string{"controlplane"}, []string{"e2e"}},
	{"the bucket", []string{"github.com/aws/aws-sdk-go-v2"}, []string{"dataplane", "devs3"}, []string{"e2e"}},
	{"the S3 server", []string{"github.com/versity"}, []string{"devs3"}, nil},
}

// sdkModules are the foreign modules that the SDK may bring into its users' builds. Think twice before adding one:
// every one of them is a version conflict that a stranger's program may have.
var sdkModules = []string{
	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go",
	"connectrpc.com/connect/v2",
	// OpenTelemetry's API, which the SDK takes part in traces by; what it needs itself. Without the SDK of a program it does nothing.
	"go.opentelemetry.io/otel",
	"go.opentelemetry.io/otel/trace",
	"github.com/cespare/xxhash/v2",
	"github.com/pierrec/lz4/v4",
	"google.golang.org/protobuf",
}

func TestModulesImportOnlyWhatTheyMay(t *testing.T) {
	t.Parallel()
	packages := loadGraph(t)
	for _, p := range packages {
		from := p.module()
		if from == "" {
			continue
		}
		allowed, known := edges[from]
		if !known {
			t.Errorf("module %s is in go.work, and the table of edges does not know it", from)
		}
		for _, path := range p.Imports {
			target := packages[path]
			to := target.module()
			if to != "" && to != from && !slices.Contains(allowed, to) {
				t.Errorf("%s imports %s: %s may import %v alone", p.ImportPath, path, from, allowed)
			}
			checkDoor(t, p, target)
		}
	}
}

func checkDoor(t *testing.T, p, target pkg) {
	t.Helper()
	for _, door := range doors {
		if p.module() == door.from && target.module() == door.to && target.plain() != prefix+door.only {
			t.Errorf("%s imports %s: of %s it may import %s alone", p.ImportPath, target.plain(), door.to, door.only)
		}
	}
}

func TestForeignCodeStaysBehindItsFence(t *testing.T) {
	t.Parallel()
	packages := loadGraph(t)
	for _, fence := range fences {
		for _, p := range packages {
			if p.module() == "" {
				continue
			}
			for _, path := range p.Imports {
				if below(path, fence.paths) && !slices.Contains(fence.direct, p.module()) {
					t.Errorf("%s imports %s: only %v may know %s", p.ImportPath, path, fence.direct, fence.name)
				}
			}
			if p.isTest() || slices.Contains(fence.direct, p.module()) || slices.Contains(fence.linked, p.module()) {
				continue
			}
			if chain := reach(packages, p.ImportPath, fence.paths); chain != nil {
				t.Errorf("%s is linked with %s: %s", p.ImportPath, fence.name, strings.Join(chain, " → "))
			}
		}
	}
}

func TestSDKBringsFewModules(t *testing.T) {
	t.Parallel()
	packages := loadGraph(t)
	said := map[string]bool{}
	for _, p := range packages {
		if p.module() != "client" || p.isTest() {
			continue
		}
		for path := range closure(packages, p.ImportPath) {
			dependency := packages[path]
			if dependency.Standard || dependency.Module == nil || dependency.module() != "" {
				continue
			}
			if m := dependency.Module.Path; !slices.Contains(sdkModules, m) && !said[m] {
				said[m] = true
				t.Errorf("%s brings %s of module %s into its users' programs", p.ImportPath, path, dependency.Module.Path)
			}
		}
	}
}

// A service is a process and one package to run it in-process; whatever else it has is its own business.
func TestServicesAreInternal(t *testing.T) {
	t.Parallel()
	for _, p := range loadGraph(t) {
		m := p.module()
		if m != "controlplane" && m != "dataplane" || p.isTest() {
			continue
		}
		rest := strings.TrimPrefix(p.ImportPath, prefix+m+"/")
		if rest != "service" && !strings.HasPrefix(rest, "cmd/") && !strings.HasPrefix(rest, "internal/") {
			t.Errorf("%s can be imported by others: move it below %s/internal", p.ImportPath, m)
		}
	}
}

// below says whether the import path is one of the paths, a package of it or a later major version.
func below(path string, paths []string) bool {
	return slices.ContainsFunc(paths, func(p string) bool { return path == p || strings.HasPrefix(path, p+"/") })
}

// closure is everything that the package imports, however indirectly, with the package that led there.
func closure(packages map[string]pkg, from string) map[string]string {
	seen := map[string]string{from: ""}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		for _, path := range packages[queue[0]].Imports {
			if _, known := seen[path]; !known {
				seen[path] = queue[0]
				queue = append(queue, path)
			}
		}
	}
	return seen
}

// reach returns a chain of imports from a package to one below the paths, or nil.
func reach(packages map[string]pkg, from string, paths []string) []string {
	seen := closure(packages, from)
	for path := range seen {
		if !below(path, paths) {
			continue
		}
		var chain []string
		for ; path != ""; path = seen[path] {
			chain = append([]string{path}, chain...)
		}
		return chain
	}
	return nil
}
