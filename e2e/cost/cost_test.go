// Package cost_test compares what `streamhouse cost` says of requests to the bucket, of which a bill is made, with what the agents of a real cluster
// count while it does the work that was described.
// Read: cost_test.go.
package cost_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/e2e/cluster"
)

const (
	topic = "orders"
	// What the cluster is set to and does, and what the calculator is told.
	partitions        = 6
	putsPerSecond     = 2
	valueBytes        = 1000
	recordsPerSecond  = 40 // in each zone
	warmUp, measuring = 5 * time.Second, 25 * time.Second
	// tolerance is how far a count may be from the calculation.
	tolerance = 0.05
	// minAge is how old an object is that is compacted; jobs come in intervals of eleven times that, and when they begin is a matter of chance. What
	// compaction rewrites once more waits for minutes: a fifth of its PUTs is not in what is counted.
	minAge, jobs, getTolerance, putTolerance = "1s", 4, 0.15, 0.35
)

var zones = []string{"az-a", "az-b", "az-c"}

// TestTheBillIsWhatAgentsCount: producers and readers in three zones for half a minute. PUTs and GETs of all agents are what the calculator says,
// within 5 %, and hedges, which are not in it, are at most as many again. Compaction's GETs are what it says within 15 %, its PUTs within 35 %.
func TestTheBillIsWhatAgentsCount(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	c := cluster.Start(t, cluster.Options{
		Zones: zones, SessionDuration: 30 * time.Second, ControlPlaneArgs: []string{"--compaction-min-age=" + minAge},
		AgentArgs: []string{"--puts-per-second", strconv.Itoa(putsPerSecond), "--put-burst", "2", "--job-interval=100ms"},
	})
	c.CreateTopic(ctx, t, topic, partitions, client.TopicConfig{})
	load(ctx, t, c)
	rest(ctx, t, warmUp)
	before, began := count(ctx, t, c), time.Now()
	rest(ctx, t, measuring)
	after, took := count(ctx, t, c), time.Since(began).Seconds()

	said := calculate(t, "--compaction-min-age", minAge)
	compare(t, "PUTs a second", (after.puts-before.puts)/took, said.PutsPerSecond)
	compare(t, "GETs a second", (after.gets-before.gets)/took, said.GetsPerSecond)
	ended, gets := compaction(ctx, t, c)
	compareWithin(t, putTolerance, "PUTs of compaction a second", ended, said.CompactionPutsPerSecond)
	compareWithin(t, getTolerance, "GETs of compaction a second", gets, said.CompactionGetsPerSecond)
	if hedges := after.hedges - before.hedges; hedges > tolerance*(after.puts-before.puts+after.gets-before.gets)+2 {
		t.Errorf("%v hedges beside %v PUTs and %v GETs", hedges, after.puts-before.puts, after.gets-before.gets)
	}
}

// compaction is how many jobs the agents end a second, each of which puts one object here, and how many GETs these take. Between two of them, so that no
// job counts in part.
func compaction(ctx context.Context, t *testing.T, c *cluster.Cluster) (ended, gets float64) {
	t.Helper()
	var seen []float64 // GETs when a job had ended
	var first, last time.Time
	for len(seen) <= jobs {
		rest(ctx, t, 100*time.Millisecond)
		sum := 0.0
		for _, agent := range c.Agents {
			sum += must(t, metrics(ctx, t, agent.URL), "streamhouse_compaction_gets_total")
		}
		switch now := time.Now(); {
		case len(seen) == 0:
			seen = append(seen, sum)
		case sum > seen[len(seen)-1]:
			if len(seen) == 1 {
				first = now
			}
			seen, last = append(seen, sum), now
		}
	}
	took := last.Sub(first).Seconds()
	return (jobs - 1) / took, (seen[jobs] - seen[1]) / took
}

func compare(t *testing.T, what string, counted, said float64) {
	t.Helper()
	compareWithin(t, tolerance, what, counted, said)
}

func compareWithin(t *testing.T, tolerance float64, what string, counted, said float64) {
	t.Helper()
	off := counted/said - 1
	t.Logf("%s: counted %.3f, calculated %.3f (%+.1f %%)", what, counted, said, 100*off)
	if math.IsNaN(off) || math.Abs(off) > tolerance {
		t.Errorf("%s: counted %.3f, calculated %.3f", what, counted, said)
	}
}

// load keeps a producer and a reader busy in each zone until the test ends.
func load(ctx context.Context, t *testing.T, c *cluster.Cluster) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	var running []chan struct{}
	t.Cleanup(func() {
		cancel()
		for _, done := range running {
			<-done
		}
	})
	start := func(f func()) {
		done := make(chan struct{})
		running = append(running, done)
		go func() { defer close(done); f() }()
	}
	for _, zone := range zones {
		sdk := c.Client(t, client.WithZone(zone))
		consumer, err := sdk.NewConsumer(ctx, topic, client.From(client.Beginning()))
		if err != nil {
			t.Fatal(err)
		}
		producer, err := sdk.NewProducer(client.WithLinger(5*time.Millisecond), client.WithoutCompression())
		if err != nil {
			t.Fatal(err)
		}
		start(func() { consume(ctx, t, consumer) })
		start(func() { produce(ctx, t, producer) })
	}
}

func consume(ctx context.Context, t *testing.T, consumer *client.Consumer) {
	t.Helper()
	defer func() { _ = consumer.Close() }()
	for _, err := range consumer.Records(ctx) {
		if err != nil && ctx.Err() == nil {
			t.Errorf("consume: %v", err)
			return
		}
	}
}

func produce(ctx context.Context, t *testing.T, producer *client.Producer) {
	t.Helper()
	value := make([]byte, valueBytes)
	for tick := time.NewTicker(time.Second / recordsPerSecond); ctx.Err() == nil; {
		select {
		case <-ctx.Done():
			tick.Stop()
		case <-tick.C:
			producer.Produce(ctx, &client.Record{Topic: topic, Value: value}, func(_ *client.Record, err error) {
				if err != nil && ctx.Err() == nil {
					t.Errorf("produce: %v", err)
				}
			})
		}
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	_ = producer.Close(closing)
}

func rest(ctx context.Context, t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-ctx.Done():
		t.Fatal(context.Cause(ctx))
	case <-time.After(d):
	}
}

// counts of requests to the bucket, of all agents.
type counts struct{ puts, gets, hedges float64 }

func count(ctx context.Context, t *testing.T, c *cluster.Cluster) counts {
	t.Helper()
	var sum counts
	for _, agent := range c.Agents {
		text := metrics(ctx, t, agent.URL)
		sum.puts += must(t, text, "streamhouse_flush_object_size_bytes_count")
		sum.gets += must(t, text, "streamhouse_cache_gets_total", `result="first"`)
		gets, _ := value(t, text, "streamhouse_cache_gets_total", `result="hedge"`)
		puts, _ := value(t, text, "streamhouse_flush_put_hedges_total") // not there before the first
		sum.hedges += gets + puts
	}
	return sum
}

// must is value of a metric that cannot be missing: a name that is wrong here is no 0.
func must(t *testing.T, text, name string, labels ...string) float64 {
	t.Helper()
	sum, known := value(t, text, name, labels...)
	if !known {
		t.Fatalf("no metric %s %v", name, labels)
	}
	return sum
}

// value sums the samples of a metric whose labels have all of these.
func value(t *testing.T, text, name string, labels ...string) (sum float64, known bool) {
	t.Helper()
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		line := lines.Text()
		if !strings.HasPrefix(line, name+"{") && !strings.HasPrefix(line, name+" ") || !hasAll(line, labels) {
			continue
		}
		n, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		sum, known = sum+n, true
	}
	return sum, known
}

func hasAll(line string, labels []string) bool {
	for _, label := range labels {
		if !strings.Contains(line, label) {
			return false
		}
	}
	return true
}

func metrics(ctx context.Context, t *testing.T, url string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// requests are what the calculator says.
type requests struct {
	PutsPerSecond           float64 `json:"puts_per_second"`
	GetsPerSecond           float64 `json:"gets_per_second"`
	CompactionPutsPerSecond float64 `json:"compaction_puts_per_second"`
	CompactionGetsPerSecond float64 `json:"compaction_gets_per_second"`
}

// calculate tells the calculator what the cluster does.
func calculate(t *testing.T, more ...string) requests {
	t.Helper()
	write := float64(len(zones)*recordsPerSecond*valueBytes) / 1e6
	command := exec.CommandContext(t.Context(), filepath.Join(cluster.Binaries(t), "streamhouse"), append([]string{
		"cost", "-o", "json", "--compression", "1", "--zones", strconv.Itoa(len(zones)), "--agents-per-zone", "1",
		"--write-mb", fmt.Sprint(write), "--partitions", strconv.Itoa(partitions), "--puts-per-second", strconv.Itoa(putsPerSecond),
	}, more...)...)
	out, err := command.Output()
	if err != nil {
		t.Fatalf("streamhouse cost: %v", err)
	}
	var said requests
	if err := json.Unmarshal(out, &said); err != nil {
		t.Fatal(err)
	}
	return said
}
