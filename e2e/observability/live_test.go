package observability_test

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/e2e/cluster"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// patience is exceeded by a hang alone.
const patience = 3 * time.Minute

// TestQueriesNameWhatAClusterHas: metrics, labels and values of labels of every query are those of a running cluster, in which something is produced,
// read, and done by jobs. So no panel is empty because of a name, and no alert is silent because of one.
func TestQueriesNameWhatAClusterHas(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := cluster.Start(t, cluster.Options{
		Zones:            []string{"az-a", "az-b"},
		AgentArgs:        []string{"--job-interval", "100ms"},
		ControlPlaneArgs: []string{"--checkpoint-interval", "1s", "--retention-interval", "1s"},
	})
	use(ctx, t, c)
	all := queries(t)
	for {
		missing := scrape(ctx, t, c).missing(t, all)
		if len(missing) == 0 {
			return
		}
		select { // some of it happens a little later
		case <-ctx.Done():
			t.Fatalf("the cluster does not have:\n%s", strings.Join(missing, "\n"))
		case <-time.After(500 * time.Millisecond):
		}
		if t.Failed() {
			return
		}
	}
}

// use produces and consumes, through an agent of each zone, and has a call refused.
func use(ctx context.Context, t *testing.T, c *cluster.Cluster) {
	t.Helper()
	const topic, partitions, records = "orders", 4, 40
	c.CreateTopic(ctx, t, topic, partitions, client.TopicConfig{})
	if _, err := c.Admin(t).CreateTopic(ctx, client.NewTopic{Name: topic, PartitionCount: partitions}); err == nil {
		t.Fatal("a topic was made twice: nothing is refused")
	}
	p, err := c.Client(t, client.WithZone("az-a")).NewProducer()
	if err != nil {
		t.Fatal(err)
	}
	for i := range records {
		if err := p.ProduceSync(ctx, &client.Record{Topic: topic, Key: fmt.Append(nil, i), Value: []byte("value")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
	for _, zone := range c.Options.Zones { // each reads what the other has written, too: from the bucket
		k, err := c.Client(t, client.WithZone(zone)).NewConsumer(ctx, topic, client.From(client.Beginning()))
		if err != nil {
			t.Fatal(err)
		}
		for read := 0; read < records; {
			got, err := k.Poll(ctx)
			if err != nil {
				t.Fatal(err)
			}
			read += len(got)
		}
		_ = k.Close()
	}
}

// served are the series of a cluster's processes, by the name of the metric.
type served map[string][]labels.Labels

func scrape(ctx context.Context, t *testing.T, c *cluster.Cluster) served {
	t.Helper()
	all := served{}
	for _, url := range []string{c.ControlPlanes[0].URL, c.Agents[0].URL, c.Agents[1].URL} {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(response.Body); lines.Scan(); {
			if series, _, found := cutLast(lines.Text()); found && !strings.HasPrefix(series, "#") {
				metric, err := promQL.ParseMetric(series)
				if err != nil {
					t.Fatalf("%s: %v", series, err)
				}
				name := metric.Get(model.MetricNameLabel)
				all[name] = append(all[name], metric)
			}
		}
		_ = response.Body.Close()
	}
	return all
}

func cutLast(line string) (before, after string, found bool) {
	i := strings.LastIndexByte(line, ' ')
	if i < 0 {
		return "", "", false
	}
	return line[:i], line[i+1:], true
}

// scraped are the labels that whoever collects the metrics adds.
var scraped = []string{"job", "instance"}

// missing says what the queries name and the cluster does not have.
func (all served) missing(t *testing.T, queries []query) (faults []string) {
	t.Helper()
	for _, q := range queries {
		expr := q.parsed(t)
		if expr == nil {
			continue
		}
		known := map[string]bool{}
		for _, s := range selectors(expr) {
			if len(all[s.Name]) == 0 {
				faults = append(faults, q.where+": "+s.Name)
				continue
			}
			for _, series := range all[s.Name] {
				series.Range(func(l labels.Label) { known[l.Name] = true })
			}
			if !slices.ContainsFunc(all[s.Name], func(series labels.Labels) bool { return matches(t, s, series) }) {
				faults = append(faults, q.where+": "+s.String())
			}
		}
		for _, name := range named(expr) {
			if !known[name] && !slices.Contains(scraped, name) {
				faults = append(faults, q.where+": label "+name)
			}
		}
	}
	slices.Sort(faults)
	return slices.Compact(faults)
}

// seldom are labels whose values come with what they tell of, which must not have happened: a refusal, a code of failure, a fault of the bucket. Their
// values are checked against what the code can say.
var seldom = map[string]func(value string) bool{
	"streamhouse_rpc_refusals_total reason": func(value string) bool {
		return slices.Contains(slices.Collect(maps.Keys(refusalv1.Reason_value)), "REASON_"+strings.ToUpper(value))
	},
	"streamhouse_rpc_duration_seconds_count code": func(value string) bool {
		for one := range strings.SplitSeq(value, "|") {
			if !slices.Contains([]string{"ok", "internal", "data_loss", "unknown", "unavailable"}, one) {
				return false
			}
		}
		return true
	},
	"streamhouse_s3_requests_total result":    regexp.MustCompile(`^(ok|\d{3})(\|\d{3})*$`).MatchString,
	"streamhouse_s3_requests_total operation": regexp.MustCompile(`^(\w+Object|UploadPart|CompleteMultipartUpload|\|)+$`).MatchString,
}

// matches tells whether a series is one that the selector asks for.
func matches(t *testing.T, s *parser.VectorSelector, series labels.Labels) bool {
	t.Helper()
	for _, m := range s.LabelMatchers {
		if slices.Contains(scraped, m.Name) || m.Name == model.MetricNameLabel {
			continue
		}
		if !series.Has(m.Name) {
			return false
		}
		if possible, is := seldom[s.Name+" "+m.Name]; is {
			if !possible(m.Value) {
				t.Errorf("%s: nothing ever says %s", s, m.Value)
			}
			continue
		}
		if (m.Type == labels.MatchEqual || m.Type == labels.MatchRegexp) && !m.Matches(series.Get(m.Name)) {
			return false
		}
	}
	return true
}

// named are the labels by which a query groups, joins and replaces.
func named(expr parser.Expr) (all []string) {
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.AggregateExpr:
			all = append(all, n.Grouping...)
		case *parser.BinaryExpr:
			if n.VectorMatching != nil {
				all = append(append(all, n.VectorMatching.MatchingLabels...), n.VectorMatching.Include...)
			}
		case *parser.Call:
			if n.Func.Name == "label_replace" {
				all = append(all, n.Args[1].(*parser.StringLiteral).Val, n.Args[3].(*parser.StringLiteral).Val)
			}
		}
		return nil
	})
	return all
}
