package conformance

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/pgtest"
	"github.com/streamhouse/streamhouse/controlplane/internal/scenario"
	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres"
)

const (
	racers     = 4
	partitions = 3
	// producerID writes everything; its sequence is the offset, so that a sequence that follows is an offset that follows.
	producerID = 77
)

// success is a segment that was answered as committed.
type success struct {
	key         string
	partition   int32
	base, count int64
	epoch       int32
}

// race is many sessions on one catalog.
type race struct {
	t        *testing.T
	replicas []*postgres.Store
	catalog  *scenario.OnPostgres
	topic    uuid.UUID

	mu sync.Mutex // guards what follows
	// answers are the first to each commit, by key, with the request.
	answers map[string]*answered
	dead    map[string]bool
	counts  map[string]int
}

type answered struct {
	request *controlplanev1.CommitRequest
	outcome *controlplanev1.ObjectOutcome
}

// TestP1P2P3P5_ManySessionsLeaveOneLog lets sessions acquire, commit, release, register anew, lose answers, send twice at once and go on
// after their end, while judges, sweepers and watchers are at work on two replicas. Then all answers must tell one log, and the catalog the same.
func TestP1P2P3P5_ManySessionsLeaveOneLog(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL")
	}
	t.Parallel()
	rounds := 500
	if proving {
		rounds = 3000
	}
	seed, err := strconv.ParseUint(flag.Lookup("rapid.seed").Value.String(), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	r := newRace(t)
	ctx, stop := context.WithCancel(t.Context())
	var aside, running sync.WaitGroup
	aside.Go(func() { r.judge(ctx, rand.New(rand.NewPCG(seed, 100))) })
	aside.Go(func() { r.watch(ctx) })
	for i := range racers {
		running.Go(func() { newRacer(r, i, seed).run(rounds) })
	}
	running.Wait()
	stop()
	aside.Wait()
	t.Logf("seed %d: %v", seed, r.counts)
	r.verify()
}

func newRace(t *testing.T) *race {
	catalog := scenario.NewPostgres(t)
	r := &race{t: t, catalog: catalog, answers: map[string]*answered{}, dead: map[string]bool{}, counts: map[string]int{}}
	r.replicas = []*postgres.Store{catalog.Store, pgtest.OpenURL(t, postgres.Config{
		URL: catalog.Pool.Config().ConnString(), SessionDuration: scenario.SessionDuration, Logger: slog.New(slog.DiscardHandler),
	})}
	response, err := catalog.CreateTopic(t.Context(), &controlplanev1.CreateTopicRequest{Name: "orders", PartitionCount: partitions})
	if err != nil {
		t.Fatal(err)
	}
	r.topic = uuid.MustParse(response.GetTopic().GetTopicId())
	return r
}

func (r *race) count(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[what]++
}

// judge lets sessions fall silent and judges them.
func (r *race) judge(ctx context.Context, random *rand.Rand) {
	for ctx.Err() == nil {
		silence := []float64{0, scenario.SuspectAfter.Seconds() * 1.5, scenario.SessionDuration.Seconds() * 1.5}[random.IntN(3)]
		_, _ = r.catalog.Pool.Exec(ctx, `UPDATE sessions SET last_heartbeat_at = last_heartbeat_at - make_interval(secs => $1)
			WHERE session_id = (SELECT session_id FROM sessions WHERE ended_at IS NULL ORDER BY random() LIMIT 1)`, silence)
		_, _ = r.catalog.Pool.Exec(ctx, `UPDATE pulse SET quiet_until = to_timestamp(0)`)
		s := r.replicas[random.IntN(2)]
		_, _ = s.Beat(ctx)
		_, _ = s.EndSilent(ctx)
		_, _ = s.SuspectSilent(ctx, scenario.SuspectAfter)
		_, _, _ = s.AssignOrphans(ctx, store.DefaultAgentGroup)
		pause(ctx, 15*time.Millisecond)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// watch follows the placement by small pages; at the end it must know all.
func (r *race) watch(ctx context.Context) {
	bounded := context.WithoutCancel(ctx) // a page that is cut off is no page
	w, err := scenario.NewWorld(bounded, r.catalog)
	for i := 0; err == nil && ctx.Err() == nil; i++ {
		_, err = w.Do(bounded, fmt.Sprintf("watch w%d limit=%d", i%3, i%3+1))
	}
	if err == nil {
		err = w.CheckWatchers(bounded)
	}
	if err != nil {
		r.t.Error(err)
	}
}

// answer keeps the first answer to a key; a later one must be the same.
func (r *race) answer(request *controlplanev1.CommitRequest, response *controlplanev1.CommitResponse) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, outcome := range response.GetObjects() {
		for _, s := range outcome.GetSegments() {
			r.counts[s.GetResult().String()]++
		}
		before := r.answers[outcome.GetKey()]
		if before == nil {
			r.answers[outcome.GetKey()] = &answered{
				request: &controlplanev1.CommitRequest{SessionId: request.GetSessionId(), Objects: request.GetObjects()[i : i+1]}, outcome: outcome,
			}
			continue
		}
		if !proto.Equal(before.outcome, outcome) {
			r.t.Errorf("P6: %s was answered %v, then %v", outcome.GetKey(), before.outcome, outcome)
		}
	}
}

// verify holds the answers against each other, and the catalog against the answers.
func (r *race) verify() {
	r.t.Helper()
	if err := NewWatchman(r.catalog.Pool).Check(r.t.Context()); err != nil {
		r.t.Error(err)
	}
	for _, a := range r.answers { // P6: at any later time, too
		response, err := r.catalog.Commit(r.t.Context(), store.DefaultAgentGroup, a.request)
		if err != nil {
			r.t.Fatal(err)
		}
		r.answer(a.request, response)
	}
	total := 0
	for partition := range int32(partitions) {
		total += r.verifyLog(partition)
	}
	if total < racers*5 {
		r.t.Errorf("only %d commits succeeded", total)
	}
}

func (r *race) verifyLog(partition int32) int {
	r.t.Helper()
	log := r.successes(partition)
	var next int64
	var epoch int32
	for _, s := range log {
		if s.base != next {
			r.t.Errorf("P2: partition %d: %+v was acknowledged where offset %d comes next", partition, s, next)
		}
		if s.epoch < epoch {
			r.t.Errorf("P3: partition %d: %+v was acknowledged after epoch %d", partition, s, epoch)
		}
		if r.dead[s.key] {
			r.t.Errorf("P8: partition %d: %+v was acknowledged and killed", partition, s)
		}
		next, epoch = s.base+s.count, s.epoch
	}
	if stored := r.stored(partition); !slices.Equal(stored, log) {
		r.t.Errorf("P1: partition %d: the catalog has\n%v\nacknowledged was\n%v", partition, stored, log)
	}
	return len(log)
}

func (r *race) successes(partition int32) (log []success) {
	for key, a := range r.answers {
		for i, s := range a.outcome.GetSegments() {
			entry := a.request.GetObjects()[0].GetSegments()[i]
			if s.GetResult() == controlplanev1.SegmentResult_SEGMENT_RESULT_COMMITTED && entry.GetPartition() == partition {
				log = append(log, success{key, partition, entry.GetBaseOffset(), int64(entry.GetRecordCount()), entry.GetEpoch()})
			}
		}
	}
	slices.SortFunc(log, func(a, b success) int { return cmp.Compare(a.base, b.base) })
	return log
}

// stored is what readers find, by pages.
func (r *race) stored(partition int32) (log []success) {
	var offset int64
	for {
		response, err := r.catalog.Lookup(r.t.Context(), store.DefaultAgentGroup, &controlplanev1.LookupRequest{Partitions: []*controlplanev1.LookupPartition{
			{TopicId: r.topic[:], Partition: partition, Position: &controlplanev1.LookupPartition_Offset{Offset: offset}},
		}})
		if err != nil {
			r.t.Fatal(err)
		}
		found := response.GetOutcomes()[0]
		for _, s := range found.GetSegments() {
			log = append(log, success{s.GetObjectKey(), partition, s.GetBaseOffset(), int64(s.GetRecordCount()), s.GetEpoch()})
			offset = s.GetBaseOffset() + int64(s.GetRecordCount())
		}
		if len(found.GetSegments()) == 0 || offset >= found.GetHighWatermark() {
			return log
		}
	}
}
