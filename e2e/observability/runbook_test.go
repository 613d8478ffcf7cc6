package observability_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// runbook are the sections of docs/runbooks.md, by their heading.
func runbook(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "runbooks.md"))
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for part := range strings.SplitSeq(string(text), "\n### ") {
		heading, body, _ := strings.Cut(part, "\n")
		if sections[heading] != "" {
			t.Errorf("two sections of %s", heading)
		}
		sections[heading], _, _ = strings.Cut(body, "\n## ")
	}
	for heading := range sections {
		if strings.HasPrefix(heading, "#") {
			delete(sections, heading) // what stands before the first
		}
	}
	return sections
}

var (
	// meanings of CloudWatch's alarms stand in one map.
	meanings = regexp.MustCompile(`(?s)\n  means = \{\n(.*?)\n  \}\n`)
	meaning  = regexp.MustCompile(`(?m)^    ([a-z-]+) +=`)
)

// cloudWatchAlarms are the alarms on what AWS measures itself.
func cloudWatchAlarms(t *testing.T) (names []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(module, "alarms.tf"))
	if err != nil {
		t.Fatal(err)
	}
	for _, found := range meaning.FindAllStringSubmatch(string(meanings.Find(text)), -1) {
		names = append(names, found[1])
	}
	if len(names) < 8 {
		t.Fatalf("alarms of CloudWatch: %v", names)
	}
	return names
}

// TestEveryAlertHasARunbook, that says what it means, where to look, what to do and when to worry; and every section has its alert.
func TestEveryAlertHasARunbook(t *testing.T) {
	t.Parallel()
	sections, wanted := runbook(t), cloudWatchAlarms(t)
	for name, r := range alerts(t) {
		wanted = append(wanted, name)
		if link := r.Annotations["runbook_url"]; !strings.HasSuffix(link, "docs/runbooks.md#"+strings.ToLower(name)) {
			t.Errorf("%s points to %q", name, link)
		}
		if r.Annotations["summary"] == "" || !slices.Contains([]string{"page", "ticket"}, r.Labels["severity"]) {
			t.Errorf("%s: no summary, or severity %q", name, r.Labels["severity"])
		}
	}
	for _, name := range wanted {
		body, there := sections[name]
		if !there {
			t.Errorf("docs/runbooks.md has no section of %s", name)
			continue
		}
		for _, part := range []string{"**Means.**", "**Look.**", "**Do.**", "**Worry** "} {
			if !strings.Contains(body, part) {
				t.Errorf("docs/runbooks.md, %s: nothing under %s", name, part)
			}
		}
		delete(sections, name)
	}
	for name := range sections {
		t.Errorf("docs/runbooks.md has a section of %q, which is no alert", name)
	}
}
