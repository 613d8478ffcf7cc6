package dashboard

import (
	"bytes"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Dashboard as people write it.
type Dashboard struct {
	Name  string `yaml:"name"` // of its file, and in its address
	Title string `yaml:"title"`
	About string `yaml:"about"`
	Rows  []Row  `yaml:"rows"`
}

// Row of panels, side by side.
type Row struct {
	Title  string  `yaml:"title"`
	Height int     `yaml:"height"` // in Grafana's units; 0: 8
	Panels []Panel `yaml:"panels"`
}

// Panel shows some queries, or the percentiles of one histogram.
type Panel struct {
	Title       string   `yaml:"title"`
	About       string   `yaml:"about"`
	Unit        string   `yaml:"unit"` // an id of Grafana's
	Kind        string   `yaml:"kind"` // stat, or empty: lines over time
	Stack       bool     `yaml:"stack"`
	BadAbove    *float64 `yaml:"bad_above"`
	BadBelow    *float64 `yaml:"bad_below"`
	Queries     []Query  `yaml:"queries"`
	Percentiles string   `yaml:"percentiles"` // a histogram without its suffix, e.g. streamhouse_commit_duration_seconds{}
	Traces      string   `yaml:"traces"`      // TraceQL; empty: there are none behind it
}

// Query is a legend, empty for the only one, and PromQL.
type Query struct{ Legend, Expr string }

// UnmarshalYAML takes [legend, expression].
func (q *Query) UnmarshalYAML(node *yaml.Node) error {
	var pair []string
	if err := node.Decode(&pair); err != nil {
		return err
	}
	if len(pair) != 2 {
		return fmt.Errorf("line %d: a query is [legend, expression]", node.Line)
	}
	q.Legend, q.Expr = pair[0], pair[1]
	return nil
}

// Parse reads a description. What it does not know is an error.
func Parse(text []byte) ([]Dashboard, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	var all []Dashboard
	if err := decoder.Decode(&all); err != nil {
		return nil, fmt.Errorf("dashboards: %w", err)
	}
	return all, nil
}

// percentiles that are shown of a histogram.
var percentiles = []struct{ legend, quantile string }{{"half", "0.5"}, {"19 of 20", "0.95"}, {"99 of 100", "0.99"}}

// queries of a panel as Grafana will send them.
func (p Panel) queries() ([]Query, error) {
	all := p.Queries
	if p.Percentiles != "" {
		metric, matchers, found := strings.Cut(p.Percentiles, "{")
		if !found || len(p.Queries) > 0 {
			return nil, fmt.Errorf("%s: percentiles of one histogram{...}, and no queries beside it", p.Title)
		}
		for _, q := range percentiles {
			all = append(all, Query{q.legend, fmt.Sprintf("histogram_quantile(%s, sum by (le) (rate(%s_bucket{%s[$__rate_interval])))", q.quantile, metric, matchers)})
		}
	}
	chosen := make([]Query, len(all))
	for i, q := range all {
		chosen[i] = Query{q.Legend, ofJob(q.Expr)}
	}
	return chosen, nil
}

// ofJob restricts every selector, which has braces, to the jobs that are chosen at the top of the dashboard.
func ofJob(expr string) string {
	return strings.NewReplacer("{}", `{job=~"$job"}`, "{", `{job=~"$job",`).Replace(expr)
}
