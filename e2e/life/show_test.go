package life_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/e2e/bucket"
	"github.com/streamhouse/streamhouse/e2e/cluster"
	"github.com/streamhouse/streamhouse/e2e/process"
	"github.com/streamhouse/streamhouse/e2e/workload"
)

// show is a cluster of one agent that behaves as in production but for what a test says.
func show(t *testing.T, agent ...string) *rig {
	t.Helper()
	if !long() {
		t.Skip("measures for minutes: STREAMHOUSE_PROVE=1")
	}
	r := &rig{T: t, ctx: t.Context(), cluster: cluster.Start(t, cluster.Options{Zones: []string{"az-a"}, AgentArgs: agent})}
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
	r := show(t, "--job-interval=200ms", "--puts-per-second=4", "--put-burst=1")
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

// beside is how much goes on beside the producers that are measured.
type beside struct {
	without, with []string // settings of the control plane
	bulk          workload.NumberedOptions
	// backlog is produced before each phase with compaction, for so long.
	backlog time.Duration
}

// phases of each kind, their length, and how much longer one may be.
const (
	rounds      = 2
	phaseLength = 12 * time.Second
	maxLonger   = 60 * time.Second
)

// What producers feel of compaction and retention: phases with and without them take turns under the same load. With STREAMHOUSE_QUIET=1, on a machine that
// does nothing else, the 99th percentiles must lie within a fifth of each other where things take the time that they usually take.
func TestShowProducersBesideCompaction(t *testing.T) {
	bulk := workload.NumberedOptions{Topic: "passing", Partitions: partitions, Bytes: 100_000, Pause: 100 * time.Millisecond}
	// An agent asks for jobs every 5 s, reads as much as it may by default, and writes objects of the usual size. What is there to be compacted came in
	// just before, as fast as it could be sent, so that compaction does not pause for want of work. Ten times the usual budget of PUTs: at the usual one, records wait
	// for a quarter of a second whatever else goes on, and nobody would feel anything.
	t.Run("to scale", func(t *testing.T) {
		bulk := bulk
		bulk.Pause = time.Second
		ratio := show(t, "--puts-per-second=40").beside(beside{
			without: []string{"STREAMHOUSE_COMPACTION=false", "STREAMHOUSE_RETENTION_INTERVAL=24h", "STREAMHOUSE_CHECKPOINT_INTERVAL=24h"},
			with: []string{
				"STREAMHOUSE_COMPACTION_MIN_AGE=1s", "STREAMHOUSE_RETENTION_INTERVAL=5s", "STREAMHOUSE_CHECKPOINT_INTERVAL=10s", "STREAMHOUSE_DELETION_GRACE=10s",
			},
			bulk: bulk, backlog: 10 * time.Second,
		})
		if os.Getenv("STREAMHOUSE_QUIET") != "" && ratio > 1.2 {
			t.Errorf("the ratio is %.2f, more than 1.2", ratio)
		}
	})
	// What takes minutes and hours takes seconds, and the number of requests is that of a busy cluster on the two cores of one agent.
	t.Run("in a hurry", func(t *testing.T) {
		show(t, "--job-interval=200ms").beside(beside{
			without: []string{"STREAMHOUSE_COMPACTION=false", "STREAMHOUSE_RETENTION_INTERVAL=24h"},
			with: []string{
				"STREAMHOUSE_COMPACTION_MIN_AGE=1s", "STREAMHOUSE_COMPACTION_TARGET_BYTES=16777216", "STREAMHOUSE_RETENTION_INTERVAL=1s",
				"STREAMHOUSE_CHECKPOINT_INTERVAL=2s", "STREAMHOUSE_DELETION_GRACE=2s",
			},
			bulk: bulk,
		})
	})
}

// beside measures, and answers the 99th percentile with compaction and retention over that without.
func (r *rig) beside(b beside) (ratio float64) {
	r.Helper()
	r.topics(1 << 20)
	r.cluster.CreateTopic(r.ctx, r, judgedTopic, judgedPartitions, client.TopicConfig{})
	r.cluster.CreateTopic(r.ctx, r, "wide", widePartitions, client.TopicConfig{})
	bulk := workload.StartNumbered(r.ctx, r, r.cluster, b.bulk)
	load := workload.Start(r, r.cluster, workload.Options{Topic: judgedTopic, Rate: 100, Readers: 1})
	p := r.cluster.ControlPlanes[0]
	var took [2][]time.Duration
	var wide *workload.Numbered
	for range rounds {
		for with, settings := range [][]string{b.without, b.with} {
			p.Kill()
			p.Start(r.ctx, r, b.without...)
			for r.number(compactions) > 0 { // of the phase before
				r.sleep(200 * time.Millisecond)
			}
			if with > 0 {
				wide = r.fill(wide, b.backlog)
				p.Kill()
				p.Start(r.ctx, r, settings...)
			}
			r.sleep(5 * time.Second) // agents have found it again
			took[with] = append(took[with], r.phase(load, with > 0)...)
		}
	}
	bulk.Stop()
	if err := load.Stop(r.ctx, r).Err(); err != nil {
		r.Error(err)
	}
	without, with := percentile(took[0], 0.99), percentile(took[1], 0.99)
	ratio = float64(with) / float64(without)
	r.Logf("acknowledgements of %d and %d records: p50 %v without, %v with compaction and retention; p99 %v and %v: ratio %.2f",
		len(took[0]), len(took[1]), percentile(took[0], 0.5), percentile(took[1], 0.5), without, with, ratio)
	return ratio
}

const (
	widePartitions = 64
	compactions    = "SELECT count(*) FROM jobs WHERE kind = 4"
	newestObject   = "SELECT COALESCE(max(object_id), 0) FROM object_keys"
)

// fill makes a backlog of objects in which each of many partitions has a little.
func (r *rig) fill(log *workload.Numbered, length time.Duration) *workload.Numbered {
	r.Helper()
	switch {
	case length == 0:
		return nil
	case log == nil:
		log = workload.StartNumbered(r.ctx, r, r.cluster, workload.NumberedOptions{Topic: "wide", Partitions: widePartitions, Bytes: 60_000, Pause: time.Millisecond})
	default:
		log.Resume(r.ctx, r)
	}
	r.sleep(length)
	log.Stop()
	return log
}

// phase takes the times of acknowledgements. Compaction and retention must get on meanwhile, or they must not: it goes on until a compaction has ended, since
// one of large objects takes longer than a phase.
func (r *rig) phase(load *workload.Workload, busy bool) []time.Duration {
	r.Helper()
	newest, start, read := r.number(newestObject), r.logStart("passing"), r.compacted()
	agent, s3 := r.used(r.cluster.Agents[0].Process), r.used(r.cluster.S3.Process)
	load.TakeLatencies()
	r.sleep(phaseLength)
	compacted := fmt.Sprintf("SELECT count(*) FROM object_keys WHERE compaction_level BETWEEN 1 AND 2 AND object_id > %d", newest)
	for more := time.Duration(0); busy && more < maxLonger && r.number(compacted) == 0; more += time.Second {
		r.sleep(time.Second)
	}
	took := load.TakeLatencies()
	agent, s3 = r.used(r.cluster.Agents[0].Process)-agent, r.used(r.cluster.S3.Process)-s3
	written, removed := r.number(compacted), r.logStart("passing")-start
	r.Logf("compaction and retention %t: p50 %v, p99 %v; %d objects were compacted, %d records removed; CPU of the agent %v, of the S3 server %v; %v", busy,
		percentile(took, 0.5), percentile(took, 0.99), written, removed, agent, s3, r.compacted().since(read))
	if busy != (written > 0) || busy != (removed > 0) {
		r.Errorf("%d objects were compacted and %d records removed", written, removed)
	}
	return took
}

// used is the CPU time of a process.
func (r *rig) used(p *process.Process) time.Duration {
	r.Helper()
	usage, err := p.Usage()
	if err != nil {
		r.Fatal(err)
	}
	return usage.CPU
}

// reading is what compactions that ended had read.
type reading struct{ jobs, gets, bytes int }

func (r reading) since(before reading) reading {
	return reading{r.jobs - before.jobs, r.gets - before.gets, r.bytes - before.bytes}
}

func (r reading) String() string {
	return fmt.Sprintf("%d compactions ended, after %d GETs of %.1f MiB in all", r.jobs, r.gets, float64(r.bytes)/(1<<20))
}

var compactionLine = regexp.MustCompile(` kind=compact outcome=done .* gets=(\d+) bytes_read=(\d+)`)

// compacted adds up what the agents' logs say.
func (r *rig) compacted() (sum reading) {
	r.Helper()
	for _, agent := range r.cluster.Agents {
		log, err := agent.Log()
		if err != nil {
			r.Fatal(err)
		}
		for _, found := range compactionLine.FindAllSubmatch(log, -1) {
			gets, _ := strconv.Atoi(string(found[1])) // digits
			bytes, _ := strconv.Atoi(string(found[2]))
			sum.jobs, sum.gets, sum.bytes = sum.jobs+1, sum.gets+gets, sum.bytes+bytes
		}
	}
	return sum
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
