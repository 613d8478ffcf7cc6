package life_test

import (
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/e2e/bucket"
	"github.com/streamhouse/streamhouse/e2e/cluster"
	"github.com/streamhouse/streamhouse/e2e/workload"
)

// show is a cluster of one agent that behaves as in production but for what a test says.
func show(t *testing.T, agent ...string) *rig {
	t.Helper()
	if !long() {
		t.Skip("measures for minutes: STREAMHOUSE_PROVE=1")
	}
	r := &rig{T: t, ctx: t.Context(), cluster: cluster.Start(t, cluster.Options{Zones: []string{"az-a"}, AgentArgs: append(agent, "--job-interval=200ms")})}
	r.bucket = bucket.Of(r.cluster)
	return r
}

const (
	// catalogRows and catalogBytes are what grows with what is ingested.
	catalogRows  = "SELECT (SELECT count(*) FROM segments) + (SELECT count(*) FROM object_keys)"
	catalogBytes = "SELECT pg_total_relation_size('segments') + pg_total_relation_size('object_keys')"
	storedBytes  = "SELECT sum(size_bytes)::bigint FROM segments"
	uncompacted  = "SELECT count(*) FROM object_keys WHERE compaction_level = 0 AND reference_count > 0"
	tebibyte     = 1 << 40
	// What compaction makes, by default.
	longSegment, targetObject = 2 << 20, 128 << 20
)

// size is what the catalog has for what is stored.
type size struct{ rows, bytes, stored float64 }

func (r *rig) size() size {
	r.Helper()
	// Measured as if autovacuum had just been: what it takes away at once in a test takes it minutes.
	r.cluster.Postgres.SQL(r.ctx, r, "VACUUM FULL segments")
	r.cluster.Postgres.SQL(r.ctx, r, "VACUUM FULL object_keys")
	return size{float64(r.number(catalogRows)), float64(r.number(catalogBytes)), float64(r.number(storedBytes))}
}

// perTebibyte prints rows and bytes of the catalog for a tebibyte of what was stored.
func (r *rig) perTebibyte(what string, s size) {
	r.Helper()
	r.Logf("%s: %.0f rows and %.0f bytes for %.0f MiB stored: %.0f bytes a row; for a TiB %.2f million rows, %.2f GiB", what, s.rows, s.bytes, s.stored/(1<<20),
		s.bytes/s.rows, s.rows/s.stored*tebibyte/1e6, s.bytes/s.stored*tebibyte/(1<<30))
}

// Rows and bytes of the catalog for a tebibyte that came in 4 flushes a second over 1,000 partitions, before and after compaction.
func TestShowTheCatalogOfATebibyte(t *testing.T) {
	const partitions, ticks = 1000, 100
	r := show(t, "--puts-per-second=4", "--put-burst=1")
	p := r.cluster.ControlPlanes[0]
	r.cluster.CreateTopic(r.ctx, t, "wide", partitions, client.TopicConfig{})
	producer, err := r.cluster.Client(t).NewProducer()
	if err != nil {
		t.Fatal(err)
	}
	value := make([]byte, 2048)
	random := rand.NewChaCha8([32]byte{})
	var sent sync.WaitGroup
	for range ticks { // each 250 ms, whatever the agent does meanwhile
		for i := range int32(partitions) {
			_, _ = random.Read(value)
			sent.Add(1)
			record := &client.Record{Topic: "wide", Partition: i, UsePartition: true, Value: slices.Clone(value)}
			producer.Produce(r.ctx, record, func(_ *client.Record, err error) {
				if err != nil {
					t.Errorf("produce: %v", err)
				}
				sent.Done()
			})
		}
		r.sleep(250 * time.Millisecond)
	}
	sent.Wait()
	if err := producer.Close(r.ctx); err != nil {
		t.Error(err)
	}
	objects := r.number(uncompacted)
	before := r.size()
	t.Logf("%d objects of %d partitions, %.1f MiB each", objects, partitions, before.stored/float64(objects)/(1<<20))
	r.perTebibyte("before compaction", before)
	p.Kill()
	p.Start(r.ctx, t, "STREAMHOUSE_COMPACTION_MIN_AGE=10ms", "STREAMHOUSE_CHECKPOINT_INTERVAL=1s", "STREAMHOUSE_DELETION_GRACE=1s")
	for r.number(uncompacted) > 1 {
		r.sleep(time.Second)
	}
	r.bucket.AwaitClean(r.ctx, t)
	after := r.size()
	t.Logf("after compaction: %.0f rows and %.0f bytes, segments of %.0f KiB where the run has %.0f KiB of each partition", after.rows, after.bytes,
		after.stored/after.rows/1024, after.stored/partitions/1024)
	// A run this short cannot fill segments. Compaction joins those of a partition up to twice the length at which it leaves them alone.
	whole := size{rows: tebibyte/longSegment + tebibyte/targetObject, stored: tebibyte}
	whole.bytes = whole.rows * before.bytes / before.rows
	r.perTebibyte("with segments of 2 MiB in objects of 128 MiB, at as many bytes a row as before", whole)
	if after.rows > before.rows/10 || after.stored != before.stored {
		t.Errorf("%+v, before compaction %+v", after, before)
	}
}

// What producers feel of compaction and retention: phases with and without them take turns under the same load. With STREAMHOUSE_QUIET=1, on a machine that
// does nothing else, the 99th percentiles must lie within a fifth of each other.
func TestShowProducersBesideCompaction(t *testing.T) {
	const rounds, length = 3, 20 * time.Second
	r := show(t)
	r.topics(1 << 20)
	// Bulk makes what is compacted and removed; the other is measured.
	r.cluster.CreateTopic(r.ctx, t, judgedTopic, judgedPartitions, client.TopicConfig{})
	bulk := workload.StartNumbered(r.ctx, t, r.cluster, workload.NumberedOptions{Topic: "passing", Partitions: partitions, Bytes: 100_000, Pause: 100 * time.Millisecond})
	load := workload.Start(t, r.cluster, workload.Options{Topic: judgedTopic, Rate: 100, Readers: 1})
	p := r.cluster.ControlPlanes[0]
	var took [2][]time.Duration
	for range rounds {
		for with, settings := range [][]string{
			{"STREAMHOUSE_COMPACTION=false", "STREAMHOUSE_RETENTION_INTERVAL=24h"},
			{
				"STREAMHOUSE_COMPACTION_MIN_AGE=1s", "STREAMHOUSE_COMPACTION_TARGET_BYTES=16777216", "STREAMHOUSE_RETENTION_INTERVAL=1s",
				"STREAMHOUSE_CHECKPOINT_INTERVAL=2s", "STREAMHOUSE_DELETION_GRACE=2s",
			},
		} {
			p.Kill()
			p.Start(r.ctx, t, settings...)
			r.sleep(5 * time.Second) // agents have found it again
			load.TakeLatencies()
			r.sleep(length)
			took[with] = append(took[with], load.TakeLatencies()...)
		}
	}
	bulk.Stop()
	if err := load.Stop(r.ctx, t).Err(); err != nil {
		t.Error(err)
	}
	compacted, removed := r.number("SELECT count(*) FROM object_keys WHERE compaction_level BETWEEN 1 AND 2"), r.logStart("passing")
	without, with := percentile(took[0], 0.99), percentile(took[1], 0.99)
	ratio := float64(with) / float64(without)
	t.Logf("acknowledgements of %d and %d records: p50 %v without, %v with compaction and retention; p99 %v and %v: ratio %.2f; %d objects are compacted, %d records were removed",
		len(took[0]), len(took[1]), percentile(took[0], 0.5), percentile(took[1], 0.5), without, with, ratio, compacted, removed)
	if compacted == 0 || removed == 0 {
		t.Error("nothing was compacted, or nothing removed")
	}
	if os.Getenv("STREAMHOUSE_QUIET") != "" && ratio > 1.2 {
		t.Errorf("the ratio is %.2f, more than 1.2", ratio)
	}
}

// logStart adds up the log starts of a topic.
func (r *rig) logStart(topic string) int {
	r.Helper()
	return r.number("SELECT sum(log_start_offset)::bigint FROM partitions JOIN topics USING (topic_id) WHERE name = '" + strings.ReplaceAll(topic, "'", "''") + "'")
}

func percentile(took []time.Duration, share float64) time.Duration {
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[min(len(took)-1, int(share*float64(len(took))))].Round(10 * time.Microsecond)
}
