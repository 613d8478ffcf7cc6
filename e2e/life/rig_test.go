package life_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/e2e/bucket"
	"github.com/streamhouse/streamhouse/e2e/cluster"
	"github.com/streamhouse/streamhouse/e2e/workload"
)

const partitions = 8

// long says whether to take the time for the long form.
func long() bool { return os.Getenv("STREAMHOUSE_PROVE") != "" }

// rig is a cluster in which everything that takes hours takes seconds.
type rig struct {
	*testing.T
	ctx     context.Context // a story is one bounded piece of work
	cluster *cluster.Cluster
	bucket  *bucket.Bucket
}

// accelerated are settings of control planes.
func accelerated() []string {
	return []string{
		"--retention-interval=200ms", "--checkpoint-interval=1s", "--deletion-grace=1s", "--sweep-interval=8s", "--sweep-age=1s",
		"--compaction-min-age=500ms", "--compaction-target-bytes=9437184",
		"--key-compaction-interval=500ms", "--key-compaction-min-age=200ms",
	}
}

func begin(t *testing.T, limit time.Duration, options cluster.Options) *rig {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	options.AgentArgs = append(options.AgentArgs, "--job-interval=100ms", "--puts-per-second=25", "--linger=20ms")
	options.ControlPlaneArgs = append(options.ControlPlaneArgs, accelerated()...)
	r := &rig{T: t, ctx: ctx, cluster: cluster.Start(t, options)}
	r.bucket = bucket.Of(r.cluster)
	return r
}

// topics makes one of which little is kept, and one of which everything is.
func (r *rig) topics(kept int64) {
	r.Helper()
	r.cluster.CreateTopic(r.ctx, r, "passing", partitions, client.TopicConfig{RetentionBytes: &kept})
	r.cluster.CreateTopic(r.ctx, r, "lasting", partitions, client.TopicConfig{})
}

// trouble makes work until stop is closed: orphans, and topics that are deleted soon. It waits for nobody's restart, and so nobody's restart must wait for it.
func (r *rig) trouble(stop <-chan struct{}) {
	for i := 0; ; i++ {
		r.bucket.Litter(r)
		if i%5 == 3 {
			r.doom(i)
		}
		select {
		case <-stop:
			return
		case <-r.ctx.Done():
			return
		case <-time.After(400 * time.Millisecond):
		}
	}
}

// doom makes a topic with some records, and deletes it.
func (r *rig) doom(number int) {
	name := fmt.Sprintf("doomed-%d", number)
	sdk := r.cluster.Client(r)
	admin := r.cluster.Client(r, client.WithAPIKey(r.cluster.AdminKey)).Admin()
	if _, err := admin.CreateTopic(r.ctx, client.NewTopic{Name: name, PartitionCount: 2}); err != nil {
		r.Errorf("create %s: %v", name, err)
		return
	}
	producer, err := sdk.NewProducer()
	if err != nil {
		r.Error(err)
		return
	}
	for i := range 20 {
		producer.Produce(r.ctx, &client.Record{Topic: name, Key: fmt.Append(nil, i), Value: fmt.Append(nil, i)}, func(_ *client.Record, err error) {
			if err != nil {
				r.Errorf("produce to %s: %v", name, err)
			}
		})
	}
	if err := producer.Close(r.ctx); err != nil {
		r.Error(err)
	}
	if _, err := admin.DeleteTopic(r.ctx, name); err != nil {
		r.Errorf("delete %s: %v", name, err)
	}
}

func (r *rig) sleep(d time.Duration) {
	r.Helper()
	select {
	case <-r.ctx.Done():
		r.Fatal(context.Cause(r.ctx))
	case <-time.After(d):
	}
}

// number runs a query that answers one.
func (r *rig) number(query string) int { r.Helper(); return r.bucket.Number(r.ctx, r, query) }

// judge waits until nothing is left that nobody needs, and reads everything else.
func (r *rig) judge(logs ...*workload.Numbered) {
	r.Helper()
	left := r.bucket.AwaitClean(r.ctx, r)
	if missing := r.bucket.Missing(r.ctx, r); len(missing) > 0 {
		r.Errorf("P8: %d referenced objects are missing: %q", len(missing), missing)
	}
	for _, log := range logs {
		seen := log.Check(r.ctx, r)
		r.Logf("%d records were written, %d are kept", log.Written(), seen.Records)
	}
	r.Logf("in the bucket: %d objects of %d bytes, %d checkpoints; in the catalog: %d segments, %d keys; ever committed: %d", len(left.Objects), left.Bytes,
		len(left.Checkpoints), r.number("SELECT count(*) FROM segments"), r.number("SELECT count(*) FROM object_keys"),
		r.number("SELECT COALESCE(max(object_id), 0) FROM object_keys"))
}

// ended counts the jobs in the agents' logs: by outcome, and those that were taken over from another agent.
func (r *rig) ended() map[string]int {
	r.Helper()
	counts := map[string]int{}
	for _, agent := range r.cluster.Agents {
		log, err := agent.Log()
		if err != nil {
			r.Fatal(err)
		}
		for line := range bytes.Lines(log) {
			if !bytes.Contains(line, []byte(`msg="job ended"`)) {
				continue
			}
			for what, text := range map[string]string{
				"done": " outcome=done ", "lost": " outcome=lost ", "given_up": ` outcome="given up" `, "taken_over": " taken_over=true ",
			} {
				if bytes.Contains(line, []byte(text)) {
					counts[what]++
				}
			}
		}
	}
	return counts
}
