package observability_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
	"go.yaml.in/yaml/v3"
)

// story is a case in which an alert fires, and one that looks like it and is none. Series are written as for Prometheus' own tests of rules: a value
// a minute, 0+10x5 is 0, 10, ... 50, _ is none.
type story struct {
	Fires struct {
		Series []string      `yaml:"series"`
		At     time.Duration `yaml:"at"` // the first minute in which it does
	} `yaml:"fires"`
	Silent []string `yaml:"silent"`
}

func stories(t *testing.T) map[string]story {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "stories.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]story
	if err := yaml.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestAlertsFireWhenTheyShould: each has a story in which it does, at a known minute, and one in which it does not.
func TestAlertsFireWhenTheyShould(t *testing.T) {
	t.Parallel()
	all := stories(t)
	for name, rule := range alerts(t) {
		s, told := all[name]
		if !told || len(s.Fires.Series) == 0 || len(s.Silent) == 0 {
			t.Errorf("testdata/stories.yaml has no story in which %s fires, or none in which it is silent", name)
			continue
		}
		delete(all, name)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if at := firing(t, rule, s.Fires.Series); at != s.Fires.At {
				t.Errorf("it fires after %v, and should after %v", at, s.Fires.At)
			}
			if at := firing(t, rule, s.Silent); at >= 0 {
				t.Errorf("it fires after %v of a story in which it should not", at)
			}
		})
	}
	for name := range all {
		t.Errorf("testdata/stories.yaml tells of %s, which is no alert", name)
	}
}

const never = -time.Minute

// firing is the minute in which a rule first fires.
func firing(t *testing.T, rule rulefmt.Rule, texts []string) time.Duration {
	t.Helper()
	engine := promql.NewEngine(promql.EngineOpts{
		MaxSamples: 1e6, Timeout: time.Minute, LookbackDelta: 5 * time.Minute, Parser: promQL,
		NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
	})
	t.Cleanup(func() { _ = engine.Close() })
	data, span := load(t, texts)
	since := map[string]time.Duration{}
	for at := time.Duration(0); at <= span; at += time.Minute {
		active := evaluate(t, engine, data, rule.Expr, at)
		for of := range since {
			if !slices.Contains(active, of) {
				delete(since, of)
			}
		}
		for _, of := range active {
			began, known := since[of]
			if !known {
				since[of], began = at, at
			}
			if at-began >= time.Duration(rule.For) {
				return at
			}
		}
	}
	return never
}

// evaluate returns the label sets for which the expression has a value.
func evaluate(t *testing.T, engine *promql.Engine, data series, expr string, at time.Duration) (active []string) {
	t.Helper()
	q, err := engine.NewInstantQuery(t.Context(), data, nil, expr, time.UnixMilli(at.Milliseconds()))
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	result := q.Exec(t.Context())
	vector, err := result.Vector()
	if err != nil {
		t.Fatal(err)
	}
	for _, sample := range vector {
		active = append(active, sample.Metric.String())
	}
	return active
}

// series are a store of numbers.
type series []storage.Series

// load reads series and returns them with their length.
func load(t *testing.T, texts []string) (all series, span time.Duration) {
	t.Helper()
	for _, text := range texts {
		metric, values, err := parser.NewParser(parser.Options{}).ParseSeriesDesc(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		var numbers []chunks.Sample
		for minute, v := range values {
			if !v.Omitted {
				numbers = append(numbers, number{int64(minute) * time.Minute.Milliseconds(), v.Value})
			}
		}
		all = append(all, storage.NewListSeries(metric, numbers))
		span = max(span, time.Duration(len(values)-1)*time.Minute)
	}
	return all, span
}

// Querier implements storage.Queryable.
func (s series) Querier(int64, int64) (storage.Querier, error) {
	return &storage.MockQuerier{SelectMockFunction: func(_ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
		var found []storage.Series
		for _, one := range s {
			if !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(one.Labels().Get(m.Name)) }) {
				found = append(found, one)
			}
		}
		slices.SortFunc(found, func(a, b storage.Series) int { return labels.Compare(a.Labels(), b.Labels()) })
		return &cursor{found: found, at: -1}
	}}, nil
}

// cursor implements storage.SeriesSet.
type cursor struct {
	found []storage.Series
	at    int
}

func (c *cursor) Next() bool         { c.at++; return c.at < len(c.found) }
func (c *cursor) At() storage.Series { return c.found[c.at] }
func (c *cursor) Err() error         { return nil }

func (c *cursor) Warnings() annotations.Annotations { return nil }

// number implements chunks.Sample.
type number struct {
	at    int64
	value float64
}

func (n number) T() int64                      { return n.at }
func (n number) ST() int64                     { return 0 }
func (n number) F() float64                    { return n.value }
func (n number) H() *histogram.Histogram       { return nil }
func (n number) FH() *histogram.FloatHistogram { return nil }
func (n number) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (n number) Copy() chunks.Sample           { return n }
