package life_test

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/e2e/cluster"
	"github.com/streamhouse/streamhouse/e2e/command"
	"github.com/streamhouse/streamhouse/e2e/history"
	"github.com/streamhouse/streamhouse/e2e/workload"
)

// judgedTopic keeps everything, and all that is asked and told of it is judged as one history.
const (
	judgedTopic      = "judged"
	judgedPartitions = 4
)

// life is a cluster with all that goes on in one.
type life struct {
	*rig
	judged           *workload.Workload
	passing, lasting *workload.Numbered
	byKey            *keyed
	stopTrouble      chan struct{}
	stopReading      context.CancelFunc
	busy             sync.WaitGroup // trouble, and readers from the start
	following        sync.WaitGroup

	mu    sync.Mutex // guards tails
	tails map[string][]workload.Seen
}

// All of it together, in seconds instead of hours: producers, consumers from the start and from the tail, checkpoints, compaction of both kinds, retention, sweeping,
// topics that are deleted, agents that are killed. Then the database is dropped, and the catalog made anew from the bucket: it has the same records at the same
// offsets, and producers go on behind them.
func TestP1_P2_P8_P9_TheWholeLife(t *testing.T) {
	t.Parallel()
	length, kills := 12*time.Second, 3
	if long() {
		length, kills = 10*time.Minute, 100
	}
	l := &life{
		rig:         begin(t, length+6*time.Minute, cluster.Options{ControlPlanes: 2, SuspectAfter: 2 * time.Second}),
		stopTrouble: make(chan struct{}), tails: map[string][]workload.Seen{},
	}
	l.start()
	for range kills {
		l.sleep(length / time.Duration(kills))
		victim := l.cluster.Agents[rand.IntN(len(l.cluster.Agents))]
		victim.Kill()
		victim.Start(l.ctx, t)
	}
	l.stop()
	before := l.state()
	if kept := before.passing.Records; kept == l.passing.Written() {
		t.Errorf("retention has removed none of %d records", kept)
	}
	l.sound()
	l.cluster.LoseCatalog(l.ctx, t)
	l.recover()
	after := l.state()
	l.same(before, after)
	l.sound()
	l.goesOn(before)
}

func (l *life) start() {
	l.Helper()
	l.topics(1 << 16)
	l.cluster.CreateTopic(l.ctx, l, judgedTopic, judgedPartitions, client.TopicConfig{})
	l.byKey = l.startKeyed(l.stopTrouble)
	l.judged = workload.Start(l, l.cluster, workload.Options{Topic: judgedTopic, Rate: 50, Probes: true})
	l.passing = workload.StartNumbered(l.ctx, l, l.cluster, workload.NumberedOptions{Topic: "passing", Partitions: partitions, Bytes: 10_000, Pause: 50 * time.Millisecond})
	l.lasting = workload.StartNumbered(l.ctx, l, l.cluster, workload.NumberedOptions{Topic: "lasting", Partitions: partitions, Bytes: 10_000, Pause: 50 * time.Millisecond})
	l.busy.Go(func() { l.trouble(l.stopTrouble) })
	l.busy.Go(func() { l.bucket.Watch(l.ctx, l, l.stopTrouble) })
	reading, stopReading := context.WithCancel(l.ctx)
	l.stopReading = stopReading
	for name, log := range map[string]*workload.Numbered{"passing": l.passing, "lasting": l.lasting} {
		l.busy.Go(func() { l.readAgain(log) })
		l.following.Go(func() { l.follow(reading, name, log, client.Beginning()) })
		l.following.Go(func() { l.follow(reading, name, log, client.End()) })
	}
}

// readAgain reads from the start to the end, again and again.
func (l *life) readAgain(log *workload.Numbered) {
	for {
		log.Read(l.ctx, l, client.Beginning(), false)
		select {
		case <-l.stopTrouble:
			return
		case <-l.ctx.Done():
			return
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (l *life) follow(ctx context.Context, name string, log *workload.Numbered, from client.Position) {
	seen := log.Read(ctx, l, from, true)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tails[name] = append(l.tails[name], seen)
}

// stop ends producers and readers, and judges what they have seen.
func (l *life) stop() {
	l.Helper()
	l.passing.Stop()
	l.lasting.Stop()
	close(l.stopTrouble)
	l.busy.Wait()
	report := l.judged.Stop(l.ctx, l)
	if err := report.Err(); err != nil {
		l.Error(err)
	}
	l.Log(report)
	l.byKey.check()
	l.judge(l.passing, l.lasting)
	l.stopReading() // who follows has had long enough to come to the end
	l.following.Wait()
	for name, log := range map[string]*workload.Numbered{"passing": l.passing, "lasting": l.lasting} {
		for _, seen := range l.tails[name] {
			for p := range seen.Next {
				if seen.Next[p] != log.WrittenTo(int32(p)) {
					l.Errorf("who follows %s/%d has come to %d, it ends at %d", name, p, seen.Next[p], log.WrittenTo(int32(p)))
				}
			}
			if name == "lasting" && seen.Jumps > 0 {
				l.Errorf("who follows %s has missed something %d times", name, seen.Jumps)
			}
		}
	}
}

// state is what readers can see.
type state struct {
	topics           []string
	passing, lasting workload.Seen
	judged           []history.Read
}

func (l *life) state() (s state) {
	l.Helper()
	topics, err := l.cluster.Admin(l).ListTopics(l.ctx)
	if err != nil {
		l.Fatal(err)
	}
	for _, t := range topics {
		s.topics = append(s.topics, t.Name)
	}
	slices.Sort(s.topics)
	s.passing, s.lasting = l.passing.Check(l.ctx, l), l.lasting.Check(l.ctx, l)
	s.judged = workload.NewAgent(l.cluster.Agents[0].URL, l.cluster.ClientKey).ReadLog(l.ctx, l, judgedTopic)
	l.byKey.check()
	return s
}

func (l *life) same(before, after state) {
	l.Helper()
	if !slices.Equal(before.topics, after.topics) || len(after.topics) != 4 {
		l.Errorf("topics were %q and are %q", before.topics, after.topics)
	}
	for name, pair := range map[string][2]workload.Seen{"passing": {before.passing, after.passing}, "lasting": {before.lasting, after.lasting}} {
		if pair[0].Records != pair[1].Records || !slices.Equal(pair[0].First, pair[1].First) || !slices.Equal(pair[0].Next, pair[1].Next) {
			l.Errorf("%s was %+v and is %+v", name, pair[0], pair[1])
		}
	}
	if !slices.Equal(before.judged, after.judged) {
		l.Errorf("%s had %d records, which are not the %d that it has now", judgedTopic, len(before.judged), len(after.judged))
	}
}

// recover makes the catalog from the bucket.
func (l *life) recover() {
	l.Helper()
	began := time.Now()
	out := command.Of(l, l.cluster, l.cluster.AdminKey).Must(l.ctx, l, "recover", "--bucket", l.cluster.S3.Bucket, "-o", "json")
	var made struct {
		Incarnation, Records, Objects, Topics int64
		Lost                                  int64 `json:"lost_records"`
		Damaged                               int64 `json:"damaged_segments"`
	}
	if err := json.Unmarshal(out, &made); err != nil {
		l.Fatalf("recover printed %q: %v", out, err)
	}
	if made.Incarnation < 1 || made.Lost != 0 || made.Damaged != 0 {
		l.Errorf("recovered: %s", out)
	}
	l.Logf("recovered in %v: %+v", time.Since(began).Round(100*time.Millisecond), made)
	for _, topic := range []string{"passing", "lasting", judgedTopic, keyedTopic} {
		l.cluster.AwaitLeaders(l.ctx, l, topic, func(lease client.Lease) bool { return lease.LeaderAgentID != "" })
	}
}

// sound has the catalog compared with the bucket by the program that operators have for it, every byte.
func (l *life) sound() {
	l.Helper()
	found := command.Of(l, l.cluster, l.cluster.AdminKey).Run(l.ctx, l, nil, "fsck", "--deep", "--orphan-age", "10m", "-o", "json")
	var checked struct {
		Clean      bool  `json:"clean"`
		BytesRead  int64 `json:"bytes_read"`
		Referenced int64 `json:"referenced_objects"`
	}
	if err := json.Unmarshal(found.Stdout, &checked); err != nil || found.Status != 0 || !checked.Clean || checked.BytesRead == 0 {
		l.Errorf("fsck --deep: %s: %s", found, found.Stdout)
	}
	l.Logf("fsck --deep: %+v", checked)
}

// goesOn: new records come behind the old ones.
func (l *life) goesOn(before state) {
	l.Helper()
	written := l.lasting.Written()
	l.passing.Resume(l.ctx, l)
	l.lasting.Resume(l.ctx, l)
	for l.lasting.Written() < written+100 {
		l.sleep(50 * time.Millisecond)
	}
	l.passing.Stop()
	l.lasting.Stop()
	if seen := l.lasting.Check(l.ctx, l); !slices.Equal(seen.First, before.lasting.First) || seen.Records <= before.lasting.Records {
		l.Errorf("lasting was %+v and is %+v", before.lasting, seen)
	}
}
