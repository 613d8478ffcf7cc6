package fetch

import (
	"os"
	"strings"
	"testing"
)

// TestMetricsAreDocumented reads every metric once, and finds it in the operators' list.
func TestMetricsAreDocumented(t *testing.T) {
	docs, err := os.ReadFile("../../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	inBubble(t, 1, Config{}, func(t *testing.T, r *rig) {
		r.write([][]rec{plain(3)}, 0)
		r.fetch(request(0, 0))
		r.fetch(request(0, 0))
		want := map[string]int64{
			"streamhouse.fetch.records": 6, "streamhouse.fetch.lookups ok": 1, "streamhouse.cache.segments hit": 1, "streamhouse.cache.segments miss": 1,
			"streamhouse.cache.gets first": 1,
		}
		for _, m := range r.measured() {
			if !strings.Contains(string(docs), "`"+m.name+"`") {
				t.Errorf("%s is not in docs/metrics.md", m.name)
			}
			for _, v := range m.values {
				name := strings.TrimSpace(m.name + " " + v.label)
				if expected, ok := want[name]; ok && v.read() != expected {
					t.Errorf("%s is %d, want %d", name, v.read(), expected)
				}
			}
		}
	})
}
