package compaction_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/e2e/cluster"
)

const (
	topic      = "orders"
	partitions = 8
	writers    = 4
)

// story is a cluster with a topic whose record n of partition p has the value "<p> <n> <padding>".
type story struct {
	*testing.T
	ctx     context.Context // a story is one bounded piece of work
	cluster *cluster.Cluster
	written atomic.Int64
	read    atomic.Int64
}

func begin(t *testing.T, limit, minAge time.Duration, options cluster.Options) *story {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	options.AgentArgs = append(options.AgentArgs, "--job-interval=100ms", "--puts-per-second=25", "--linger=20ms")
	options.ControlPlaneArgs = append(options.ControlPlaneArgs, "--compaction-min-age="+minAge.String(), "--compaction-target-bytes=1048576",
		"--checkpoint-interval=1s", "--deletion-grace=1s", "--sweep-interval=20s", "--sweep-age=10s")
	s := &story{T: t, ctx: ctx, cluster: cluster.Start(t, options)}
	s.cluster.CreateTopic(ctx, t, topic, partitions, client.TopicConfig{})
	return s
}

// write fills the partitions of one writer, in order, until told to stop.
func (s *story) write(stop <-chan struct{}, number int) {
	producer, err := s.cluster.Client(s).NewProducer()
	if err != nil {
		s.Error(err)
		return
	}
	defer func() { _ = producer.Close(s.ctx) }()
	random := rand.New(rand.NewPCG(uint64(number), 1))
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		default:
		}
		var sent sync.WaitGroup
		for p := int32(number); p < partitions; p += writers {
			sent.Add(1)
			value := fmt.Sprintf("%d %d %s", p, n, strings.Repeat("x", random.IntN(1000)))
			producer.Produce(s.ctx, &client.Record{Topic: topic, Partition: p, UsePartition: true, Value: []byte(value)}, func(_ *client.Record, err error) {
				if err != nil {
					s.Errorf("produce %d of partition %d: %v", n, p, err)
				}
				sent.Done()
			})
		}
		sent.Wait()
		s.written.Add(partitions / writers)
		time.Sleep(time.Duration(random.IntN(10)) * time.Millisecond)
	}
}

// readAll reads every partition from the start to where it ends now: record n is at offset n.
func (s *story) readAll(options ...client.Option) (records int64) {
	s.Helper()
	consumer, err := s.cluster.Client(s, options...).NewConsumer(s.ctx, topic, client.From(client.Beginning()), client.UntilEnd())
	if err != nil {
		s.Errorf("consume: %v", err)
		return 0
	}
	defer func() { _ = consumer.Close() }()
	var next [partitions]int64
	for record, err := range consumer.Records(s.ctx) {
		if err != nil {
			s.Errorf("consume: %v", err)
			return records
		}
		p, n := record.Partition, next[record.Partition]
		if want := fmt.Sprintf("%d %d ", p, n); record.Offset != n || !strings.HasPrefix(string(record.Value), want) {
			s.Errorf("partition %d, offset %d (want %d): %.20q", p, record.Offset, n, record.Value)
			return records
		}
		next[p]++
		records++
	}
	s.read.Add(records)
	return records
}

func (s *story) number(query string) int {
	s.Helper()
	n, err := strconv.Atoi(s.cluster.Postgres.SQL(s.ctx, s, query))
	if err != nil {
		s.Fatal(err)
	}
	return n
}

// await waits for a query to answer what is wanted.
func (s *story) await(what, query string, want func(int) bool) {
	s.Helper()
	for {
		n := s.number(query)
		if want(n) {
			return
		}
		select {
		case <-s.ctx.Done():
			s.Fatalf("%s: %d", what, n)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

const (
	rewritten   = "SELECT count(*) FROM object_keys WHERE compaction_level BETWEEN 1 AND 2 AND reference_count > 0"
	small       = "SELECT count(*) FROM object_keys WHERE compaction_level = 0 AND reference_count > 0"
	segments    = "SELECT count(*) FROM segments"
	miscounted  = "SELECT count(*) FROM object_keys o WHERE o.reference_count <> (SELECT count(*) FROM segments s WHERE s.object_id = o.object_id)"
	committed   = "SELECT COALESCE(max(object_id), 0) FROM object_keys"
	storyLength = 15 * time.Second
)

// Records are written and read from the start all the time, objects are compacted and deleted, and agents are killed in the middle of it.
func TestP1_P2_P8_NobodySeesCompaction(t *testing.T) {
	t.Parallel()
	s := begin(t, 4*time.Minute, 200*time.Millisecond, cluster.Options{Zones: []string{"az-a", "az-b"}, SuspectAfter: 2 * time.Second})
	stop := make(chan struct{})
	var busy sync.WaitGroup
	for i := range writers {
		busy.Go(func() { s.write(stop, i) })
	}
	for range 2 {
		busy.Go(func() {
			for {
				s.readAll()
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	s.await("nothing is compacted", rewritten, func(n int) bool { return n > 0 })
	for i := range 2 {
		time.Sleep(storyLength / 3)
		victim := s.cluster.Agents[i]
		victim.Kill()
		victim.Start(s.ctx, t)
	}
	time.Sleep(storyLength / 3)
	close(stop)
	busy.Wait()
	s.await("small objects are left", small, func(n int) bool { return n < 2 })
	if got, want := s.readAll(), s.written.Load(); got != want {
		t.Errorf("%d records, %d were written", got, want)
	}
	if n := s.number(miscounted); n != 0 {
		t.Errorf("references of %d objects are miscounted", n)
	}
	t.Logf("%d records in %d objects, now %d segments; %d records read from the start meanwhile",
		s.written.Load(), s.number(committed), s.number(segments), s.read.Load())
}

// cost is what a reader of everything cost a new agent.
type cost struct{ gets, bytes float64 }

// catchUp reads everything through an agent that has read nothing yet.
func (s *story) catchUp(id string) (c cost) {
	s.Helper()
	zone := "az-" + id // of its own: the others have much in memory
	agent := s.cluster.StartAgent(s.ctx, s, id, zone)
	before := s.cost(agent.URL)
	if got, want := s.readAll(client.WithAgents(agent.URL), client.WithZone(zone)), s.written.Load(); got != want {
		s.Errorf("%d records, %d were written", got, want)
	}
	c = s.cost(agent.URL)
	c.gets, c.bytes = c.gets-before.gets, c.bytes-before.bytes
	return c
}

func (s *story) cost(url string) (c cost) {
	s.Helper()
	request, err := http.NewRequestWithContext(s.ctx, http.MethodGet, url+"/metrics", nil)
	if err != nil {
		s.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		s.Fatal(err)
	}
	defer response.Body.Close()
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		n, _ := strconv.ParseFloat(value, 64)
		switch {
		case strings.HasPrefix(name, "streamhouse_cache_gets"):
			c.gets += n
		case strings.HasPrefix(name, "streamhouse_cache_get_bytes"):
			c.bytes += n
		}
	}
	return c
}

// What a full catch-up costs before and after compaction, and what is left in the catalog.
func TestACatchUpCostsLessAfterCompaction(t *testing.T) {
	t.Parallel()
	s := begin(t, 4*time.Minute, time.Hour, cluster.Options{Zones: []string{"az-a"}})
	stop := make(chan struct{})
	var busy sync.WaitGroup
	for i := range writers {
		busy.Go(func() { s.write(stop, i) })
	}
	s.await("objects are written", committed, func(n int) bool { return n > 200 })
	close(stop)
	busy.Wait()
	rows, before := s.number(segments), s.catchUp("before")
	s.cluster.Postgres.SQL(s.ctx, t, "UPDATE object_keys SET created_at = created_at - interval '20 hours'")
	s.await("small objects are left", small, func(n int) bool { return n < 2 })
	after := s.catchUp("after")
	t.Logf("%d records: %d segments, %.0f GETs of %.0f bytes; after compaction %d segments, %.0f GETs of %.0f bytes", s.written.Load(),
		rows, before.gets, before.bytes, s.number(segments), after.gets, after.bytes)
	if n := s.number(segments); n > rows/5 {
		t.Errorf("%d of %d segments are left", n, rows)
	}
	if after.gets > before.gets/2 || before.gets == 0 {
		t.Errorf("%.0f GETs, before %.0f", after.gets, before.gets)
	}
}
