package tracing_test

import (
	"bufio"
	"context"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// rows are the first cells of a document's tables, and what stands in backticks in the others.
func rows(t *testing.T, name string) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	quoted := regexp.MustCompile("`([^`]+)`")
	all := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		var others []string
		for _, found := range quoted.FindAllStringSubmatch(strings.Join(cells[2:], "|"), -1) {
			others = append(others, found[1])
		}
		for _, found := range quoted.FindAllStringSubmatch(cells[1], -1) {
			all[found[1]] = others
		}
	}
	return all
}

// documented: every span that our processes and the SDK export is in the document, with its attributes; and every span of the document's was seen
// here, but for those that take what this test does not do.
func documented(_ context.Context, t *testing.T, s *suite) {
	known := rows(t, "tracing.md")
	seen := map[string]bool{}
	spans, _ := s.collector.all()
	for _, span := range spans {
		name := spanName(span)
		if name == "" {
			continue
		}
		seen[name] = true
		attributes, ok := known[name]
		if !ok {
			t.Errorf("docs/tracing.md does not know %v", span)
			continue
		}
		for _, a := range span.GetAttributes() {
			if !slices.Contains(attributes, a.GetKey()) {
				t.Errorf("docs/tracing.md does not know the attribute %s of %s", a.GetKey(), name)
			}
		}
	}
	for name := range known {
		if elsewhere := []string{"lease.release"}; !seen[name] && !slices.Contains(elsewhere, name) {
			t.Errorf("docs/tracing.md tells of %q, which nothing exported", name)
		}
	}
}

// spanName is the name under which the document knows a span; empty: it is the test's own.
func spanName(s span) string {
	name, _, topic := strings.Cut(s.GetName(), " ")
	switch {
	case s.GetName() == "order placed" || s.GetName() == "item":
		return ""
	case topic && (name == "send" || name == "receive"):
		return name + " TOPIC"
	case strings.HasPrefix(name, "job."):
		return "job.KIND"
	case strings.HasPrefix(name, "S3/"):
		return "S3/OPERATION"
	case strings.HasPrefix(name, "streamhouse."):
		return "SERVICE/METHOD"
	}
	if _, sql := s.attribute("db.system.name"); sql && s.GetName() != "round trip" {
		return "QUERY"
	}
	return s.GetName()
}

// metricName finds names, and the attribute that is made with one.
var metricName = regexp.MustCompile(`(attribute\.\w+\()?"((?:streamhouse|db|process)(?:\.[a-z0-9_]+)+)"`)

// instruments are the names that stand at the making of an instrument, anywhere in the services.
func instruments(t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for _, module := range []string{"serve", "dataplane", "controlplane"} {
		err := filepath.WalkDir(filepath.Join("..", "..", module), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil || !strings.Contains(string(text), "otel/metric") {
				return err
			}
			for _, found := range metricName.FindAllStringSubmatch(string(text), -1) {
				if found[1] == "" {
					all[found[2]] = true
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// metricsDocumented: the document knows every instrument and no other, and whatever a live process serves.
func metricsDocumented(ctx context.Context, t *testing.T, s *suite) {
	known, made := rows(t, "metrics.md"), instruments(t)
	for name := range made {
		if _, ok := known[name]; !ok {
			t.Errorf("docs/metrics.md does not know %s", name)
		}
	}
	exposed := map[string]string{}
	for name := range known {
		if !made[name] && name != "go.*" {
			t.Errorf("docs/metrics.md tells of %s, which nothing makes", name)
		}
		exposed[strings.ReplaceAll(name, ".", "_")] = name
	}
	served := 0
	for _, url := range []string{s.Agents[0].URL, s.ControlPlanes[0].URL} {
		for _, family := range families(ctx, t, url) {
			served++
			if family == "target_info" || strings.HasPrefix(family, "go_") {
				continue
			}
			if !slices.ContainsFunc(suffixes, func(suffix string) bool { return exposed[strings.TrimSuffix(family, suffix)] != "" }) {
				t.Errorf("%s serves %s, which is not in docs/metrics.md", url, family)
			}
		}
	}
	if served < len(known)/2 {
		t.Errorf("only %d families were served", served)
	}
}

// suffixes of units and counters in Prometheus' names.
var suffixes = []string{"", "_total", "_seconds", "_seconds_total", "_bytes", "_bytes_total", "_USD_total", "_ratio"}

// families lists the metrics that a process serves.
func families(ctx context.Context, t *testing.T, url string) []string {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var all []string
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "# TYPE "); ok {
			name, _, _ := strings.Cut(rest, " ")
			all = append(all, name)
		}
	}
	return all
}
