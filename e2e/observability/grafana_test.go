package observability_test

import (
	"bytes"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/streamhouse/streamhouse/e2e/dashboard"
)

// TestDashboardsAreWhatIsDescribed: what lies there is what `make generate` makes of dashboards.yaml.
func TestDashboardsAreWhatIsDescribed(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(module, "dashboards.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	described, err := dashboard.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	there := dashboards(t)
	if len(described) != len(there) {
		t.Errorf("%d dashboards are described, %d are there", len(described), len(there))
	}
	for _, d := range described {
		want, err := dashboard.Render(d)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(module, "dashboards", d.Name+".json"))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is stale (%v): make generate", d.Name, err)
		}
	}
}

// TestDashboardsAreValid: addresses and ids are unique, panels have what a reader needs and lie side by side, data sources are variables.
func TestDashboardsAreValid(t *testing.T) {
	t.Parallel()
	addresses := map[string]string{}
	for name, d := range dashboards(t) {
		if other, twice := addresses[d.UID]; twice || d.UID == "" || len(d.UID) > 40 {
			t.Errorf("%s has the address %q, as has %q", name, d.UID, other)
		}
		addresses[d.UID] = name
		variables := map[string]string{}
		for _, v := range d.Templating.List {
			variables[v.Name] = v.Type
		}
		if variables["datasource"] != "datasource" || variables["job"] != "query" {
			t.Errorf("%s: variables %v", name, variables)
		}
		checkPanels(t, name, d, variables)
	}
}

func checkPanels(t *testing.T, name string, d grafana, variables map[string]string) {
	t.Helper()
	ids, taken := map[int]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] || p.ID == 0 || p.Title == "" {
			t.Errorf("%s: panel %d %q", name, p.ID, p.Title)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("%s: %q lies over %q, or outside", name, p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Description == "" || p.FieldConfig.Defaults.Unit == "" || p.Datasource.UID != "${datasource}" || len(p.Targets) == 0 {
			t.Errorf("%s, %q: no description, unit, data source or query", name, p.Title)
		}
		for _, target := range p.Targets {
			if target.LegendFormat == "" || target.RefID == "" || target.Datasource.UID != "${datasource}" {
				t.Errorf("%s, %q: %+v", name, p.Title, target)
			}
		}
		for _, link := range p.FieldConfig.Defaults.Links {
			checkTraces(t, name+", "+p.Title, link.URL, variables)
		}
	}
}

// checkTraces: a link to traces opens the chosen data source, at the dashboard's time.
func checkTraces(t *testing.T, where, link string, variables map[string]string) {
	t.Helper()
	filled := strings.NewReplacer("${traces}", "tempo-1", "${__from}", "1000", "${__to}", "2000").Replace(link)
	parsed, err := url.Parse(filled)
	if err != nil || variables["traces"] != "datasource" {
		t.Errorf("%s: %s: %v", where, link, err)
		return
	}
	panes := parsed.Query().Get("panes")
	for _, want := range []string{`"datasource":"tempo-1"`, `"uid":"tempo-1"`, `"from":"1000"`, `"to":"2000"`, `"queryType":"traceql"`} {
		if !strings.Contains(panes, want) {
			t.Errorf("%s: no %s in %s", where, want, panes)
		}
	}
}
