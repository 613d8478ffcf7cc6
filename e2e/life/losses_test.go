package life_test

import (
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/e2e/cluster"
	"github.com/streamhouse/streamhouse/e2e/workload"
)

// Two agents do the same jobs at the same time. Their heartbeats come so late, and so many answers to them are lost, that each is taken for silent while it works: its jobs
// are taken over, and it goes on with them, with calls to the bucket that were sent long ago. What it does then must have been right for ever when it was begun: no
// referenced object is deleted at any moment, and nothing unreferenced is left in the end. The seed of what is lost is printed; STREAMHOUSE_SEED sets it.
func TestP1_P8_JobsOfTwoOwnersAndLostAnswers(t *testing.T) {
	t.Parallel()
	runs, length := 1, 15*time.Second
	if long() {
		runs, length = 20, 60*time.Second
	}
	for i := range runs {
		t.Run("run "+strconv.Itoa(i+1), func(t *testing.T) { losses(t, length) })
	}
}

func seed(t *testing.T) uint64 {
	t.Helper()
	n := rand.Uint64()
	if text := os.Getenv("STREAMHOUSE_SEED"); text != "" {
		var err error
		if n, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("STREAMHOUSE_SEED=%d", n)
	return n
}

// aboutJobs tells calls about jobs, heartbeats, and what jobs ask of the bucket, from the way of records, which goes on beside them.
func aboutJobs(r *http.Request) bool {
	switch {
	case strings.Contains(r.URL.Path, ".JobService/"), strings.HasSuffix(r.URL.Path, "/Heartbeat"):
		return true
	default:
		return r.Method == http.MethodDelete || (r.Method == http.MethodPost && r.URL.Query().Has("delete")) || r.URL.Query().Has("list-type")
	}
}

func losses(t *testing.T, length time.Duration) {
	lossy := &cluster.Losses{
		Seed: seed(t), Requests: 0.02, Answers: 0.06, Delay: 5 * time.Millisecond, Late: 0.25, LateDelay: 1500 * time.Millisecond, Slow: aboutJobs,
	}
	r := begin(t, length+4*time.Minute, cluster.Options{
		Zones: []string{"az-a", "az-b"}, Losses: lossy, SuspectAfter: 400 * time.Millisecond, SessionDuration: 3 * time.Second,
		ControlPlaneArgs: []string{"--heartbeat-interval=150ms"},
	})
	r.topics(1 << 15)
	passing := workload.StartNumbered(r.ctx, t, r.cluster, workload.NumberedOptions{Topic: "passing", Partitions: partitions, Producers: partitions, Bytes: 5000, Pause: 50 * time.Millisecond})
	lasting := workload.StartNumbered(r.ctx, t, r.cluster, workload.NumberedOptions{Topic: "lasting", Partitions: partitions, Producers: partitions, Bytes: 5000, Pause: 50 * time.Millisecond})
	enough := make(chan struct{})
	byKey := r.startKeyed(enough)
	stop, looks := make(chan struct{}), make(chan int)
	go func() { looks <- r.bucket.Watch(r.ctx, t, stop) }()
	var trouble sync.WaitGroup
	trouble.Go(func() { r.trouble(enough) })
	r.sleep(length)
	close(enough)
	passing.Stop()
	lasting.Stop()
	lost := lossy.End()
	trouble.Wait()
	r.cluster.AwaitLeaders(r.ctx, t, "lasting", func(l client.Lease) bool { return l.LeaderAgentID != "" })
	ended := r.ended()
	byKey.check()
	r.judge(passing, lasting)
	close(stop)
	t.Logf("%d calls were lost; jobs: %v; the catalog was compared with the bucket %d times", lost, ended, <-looks)
	if ended["taken_over"] == 0 || ended["lost"] == 0 {
		t.Errorf("no job had two owners: %v", ended)
	}
}
