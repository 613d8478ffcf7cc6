package observability_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

// module is where dashboards and alerts live.
var module = filepath.Join("..", "..", "terraform", "modules", "observability")

var promQL = parser.NewParser(parser.Options{})

// alerts are all rules, by name; they are checked as Prometheus does when it loads them, templates included.
func alerts(t *testing.T) map[string]rulefmt.Rule {
	t.Helper()
	groups, faults := rulefmt.ParseFile(filepath.Join(module, "alerts.yaml"), false, model.LegacyValidation, promQL, slog.New(slog.DiscardHandler))
	for _, fault := range faults {
		t.Error(fault)
	}
	if groups == nil {
		t.FailNow()
	}
	all := map[string]rulefmt.Rule{}
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			if _, twice := all[r.Alert]; twice || r.Alert == "" {
				t.Errorf("%q is there twice, or has no name", r.Alert)
			}
			all[r.Alert] = r
		}
	}
	return all
}

// grafana is what is read of a dashboard's JSON.
type grafana struct {
	UID, Title string
	Templating struct {
		List []struct{ Name, Type string }
	}
	Panels []struct {
		ID                       int
		Type, Title, Description string
		Datasource               struct{ Type, UID string }
		GridPos                  struct{ X, Y, W, H int }
		Targets                  []struct {
			RefID, Expr, LegendFormat string
			Datasource                struct{ Type, UID string }
		}
		FieldConfig struct {
			Defaults struct {
				Unit  string
				Links []struct{ Title, URL string }
			}
		}
	}
}

// dashboards by the name of their file.
func dashboards(t *testing.T) map[string]grafana {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(module, "dashboards", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no dashboards: %v", err)
	}
	all := map[string]grafana{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var d grafana
		if err := json.Unmarshal(text, &d); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		all[strings.TrimSuffix(filepath.Base(file), ".json")] = d
	}
	return all
}

// rated stands for Grafana's idea of a good window.
var rated = strings.NewReplacer("$__rate_interval", "5m")

// query is a query of a dashboard or of an alert.
type query struct {
	where, text string
	dashboard   bool
}

func queries(t *testing.T) []query {
	t.Helper()
	var all []query
	for name, d := range dashboards(t) {
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				all = append(all, query{fmt.Sprintf("dashboard %s, %q", name, p.Title), rated.Replace(target.Expr), true})
			}
		}
	}
	for name, r := range alerts(t) {
		all = append(all, query{"alert " + name, r.Expr, false})
	}
	return all
}

// parsed is a query's tree; nil: it has none.
func (q query) parsed(t *testing.T) parser.Expr {
	t.Helper()
	expr, err := promQL.ParseExpr(q.text)
	if err != nil {
		t.Errorf("%s: %v\n%s", q.where, err, q.text)
		return nil
	}
	return expr
}

// selectors are the series that a query asks for.
func selectors(expr parser.Expr) (all []*parser.VectorSelector) {
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if s, ok := node.(*parser.VectorSelector); ok {
			all = append(all, s)
		}
		return nil
	})
	return all
}

// TestEveryQueryParses: by Prometheus' own parser; and those of dashboards ask for the jobs that are chosen alone.
func TestEveryQueryParses(t *testing.T) {
	t.Parallel()
	all := queries(t)
	if len(all) < 80 {
		t.Errorf("only %d queries were found", len(all))
	}
	for _, q := range all {
		expr := q.parsed(t)
		if expr == nil {
			continue
		}
		for _, s := range selectors(expr) {
			if q.dashboard && !asksForJob(s) {
				t.Errorf("%s: %s is not of the chosen job", q.where, s)
			}
		}
	}
}

func asksForJob(s *parser.VectorSelector) bool {
	for _, m := range s.LabelMatchers {
		if m.Name == "job" && m.Type == labels.MatchRegexp && m.Value == "$job" {
			return true
		}
	}
	return false
}
