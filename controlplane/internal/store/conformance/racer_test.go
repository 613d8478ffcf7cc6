package conformance

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres"
)

// tenure is what a racer believes of a partition.
type tenure struct {
	epoch int32
	next  int64
}

// racer is an agent in a hurry, with a session of its own. It makes mistakes on purpose.
type racer struct {
	*race
	id       string
	random   *rand.Rand
	session  string
	earlier  []*controlplanev1.CommitRequest // sent once, for doubles
	tenures  map[int32]tenure
	objects  int
	previous string // the session before this one, which knows nothing of its end
	old      map[int32]tenure
}

func newRacer(r *race, i int, seed uint64) *racer {
	return &racer{race: r, id: fmt.Sprintf("agent-%d", i), random: rand.New(rand.NewPCG(seed, uint64(i))), tenures: map[int32]tenure{}}
}

func (a *racer) replica() *postgres.Store { return a.replicas[a.random.IntN(len(a.replicas))] }

func (a *racer) run(rounds int) {
	a.register()
	for range rounds {
		switch n := a.random.IntN(100); {
		case n < 4:
			a.register()
		case n < 15:
			a.heartbeat()
		case n < 20 || len(a.tenures) == 0:
			a.acquire()
		case n < 30:
			a.release()
		case n < 35:
			a.tombstone()
		case n < 45 && len(a.earlier) > 0:
			a.commitTwice(a.earlier[a.random.IntN(len(a.earlier))])
		case n < 55 && len(a.old) > 0:
			a.settle(a.draft(a.previous, a.old), a.old)
		default:
			a.settle(a.draft(a.session, a.tenures), a.tenures)
		}
	}
}

// register begins a session; the one before is superseded, and goes on all the same.
func (a *racer) register() {
	response, err := a.replica().Register(a.t.Context(), store.DefaultAgentGroup, &controlplanev1.RegisterRequest{
		AgentId: a.id, AgentGroup: string(store.DefaultAgentGroup), Zone: "z", Address: "http://" + a.id,
	})
	if err != nil {
		a.t.Errorf("register: %v", err)
		return
	}
	a.previous, a.old = a.session, a.tenures
	a.session, a.tenures = response.GetSessionId(), map[int32]tenure{}
	a.count("registered")
}

func (a *racer) heartbeat() {
	_, err := a.replica().Heartbeat(a.t.Context(), store.DefaultAgentGroup, &controlplanev1.HeartbeatRequest{SessionId: a.session})
	var refused *store.Refused
	switch {
	case errors.As(err, &refused) && refused.Refusal.GetReason() == refusalv1.Reason_REASON_SESSION_EXPIRED:
		a.register()
	case err != nil:
		a.t.Errorf("heartbeat: %v", err)
	}
}

func (a *racer) acquire() {
	request := &controlplanev1.AcquireRequest{SessionId: a.session}
	for partition := range int32(partitions) {
		request.Partitions = append(request.Partitions, &controlplanev1.AcquirePartition{TopicId: a.topic[:], Partition: partition})
	}
	response, err := a.replica().Acquire(a.t.Context(), store.DefaultAgentGroup, request)
	if err != nil {
		a.t.Errorf("acquire: %v", err)
		return
	}
	for _, outcome := range response.GetOutcomes() {
		if g := outcome.GetGrant(); g != nil {
			if known := a.tenures[outcome.GetPartition()]; known.epoch == g.GetEpoch() && g.GetHighWatermark() != known.next {
				a.t.Errorf("P2: %s knows %+v of partition %d, and is granted %v", a.id, known, outcome.GetPartition(), g)
			}
			a.tenures[outcome.GetPartition()] = tenure{g.GetEpoch(), g.GetHighWatermark()}
			a.count("granted")
		} else {
			a.count(outcome.GetRefusal().GetReason().String())
			if outcome.GetRefusal().GetReason() == refusalv1.Reason_REASON_SESSION_EXPIRED {
				a.register()
				return
			}
		}
	}
}

func (a *racer) release() {
	for partition, known := range a.tenures {
		_, err := a.replica().Release(a.t.Context(), store.DefaultAgentGroup, &controlplanev1.ReleaseRequest{
			SessionId: a.session, Partitions: []*controlplanev1.ReleasePartition{{TopicId: a.topic[:], Partition: partition, Epoch: known.epoch}},
		})
		if err != nil {
			a.t.Errorf("release: %v", err)
		}
		delete(a.tenures, partition)
		return
	}
}

func (a *racer) key(session string, n int) string {
	return fmt.Sprintf("%s/0a/0-%s-%d", store.DefaultAgentGroup, session, n)
}

// tombstone kills the key of an object to come.
func (a *racer) tombstone() {
	dead, err := a.replica().Tombstone(a.t.Context(), []string{a.key(a.session, a.objects+1+a.random.IntN(3)), a.key(a.session, a.objects)})
	if err != nil {
		a.t.Errorf("tombstone: %v", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, key := range dead {
		a.dead[key] = true
	}
}

// draft is an object with a segment of each partition that is believed to be led; sometimes with a wrong offset, epoch or sequence.
func (a *racer) draft(session string, believed map[int32]tenure) *controlplanev1.CommitRequest {
	a.objects++
	object := &controlplanev1.ObjectCommit{Key: a.key(session, a.objects), SizeBytes: 1 << 20}
	for partition := range int32(partitions) {
		known, leads := believed[partition]
		if !leads || a.random.IntN(4) == 0 {
			continue
		}
		count := int32(1 + a.random.IntN(9))
		base, epoch, sequence := known.next, known.epoch, int32(known.next)
		switch a.random.IntN(20) {
		case 0:
			base = max(0, base-int64(count))
		case 1:
			epoch++
		case 2:
			sequence++
		}
		object.Segments = append(object.Segments, &controlplanev1.SegmentCommit{
			TopicId: a.topic[:], Partition: partition, Epoch: epoch, BaseOffset: base, RecordCount: count, SizeBytes: 10,
			ProducerBatches: []*controlplanev1.ProducerBatch{{ProducerId: producerID, BaseSequence: sequence, RecordCount: count, BaseOffset: base}},
		})
	}
	return &controlplanev1.CommitRequest{SessionId: session, Objects: []*controlplanev1.ObjectCommit{object}}
}

// settle commits until there is a definite answer, and learns from it. Now and then it hangs up in the middle.
func (a *racer) settle(request *controlplanev1.CommitRequest, believed map[int32]tenure) {
	if len(request.GetObjects()[0].GetSegments()) == 0 {
		return
	}
	a.earlier = append(a.earlier, request)
	response := a.commit(request)
	if response == nil {
		return
	}
	outcome := response.GetObjects()[0]
	for i, entry := range request.GetObjects()[0].GetSegments() {
		if outcome.GetRefusal() == nil && outcome.GetSegments()[i].GetResult() == controlplanev1.SegmentResult_SEGMENT_RESULT_COMMITTED {
			believed[entry.GetPartition()] = tenure{entry.GetEpoch(), entry.GetBaseOffset() + int64(entry.GetRecordCount())}
		} else if outcome.GetSegments() != nil && outcome.GetSegments()[i].GetResult() == controlplanev1.SegmentResult_SEGMENT_RESULT_FENCED {
			delete(believed, entry.GetPartition())
		}
	}
}

// hangUps is how often a racer hangs up on one commit.
const hangUps = 3

func (a *racer) commit(request *controlplanev1.CommitRequest) *controlplanev1.CommitResponse {
	for i := 0; ; i++ {
		ctx, cancel := context.WithCancel(a.t.Context())
		if i < hangUps && a.random.IntN(4) == 0 {
			ctx, cancel = context.WithTimeout(a.t.Context(), time.Duration(a.random.IntN(8000))*time.Microsecond)
		}
		response, err := a.replica().Commit(ctx, store.DefaultAgentGroup, request)
		hungUp := ctx.Err() != nil
		cancel()
		switch {
		case err == nil:
			a.answer(request, response)
			return response
		case hungUp:
			a.count("hung up")
		default:
			a.t.Errorf("commit: %v", err)
			return nil
		}
	}
}

// commitTwice sends the same commit to both replicas at once.
func (a *racer) commitTwice(request *controlplanev1.CommitRequest) {
	var both sync.WaitGroup
	for _, replica := range a.replicas {
		both.Go(func() {
			response, err := replica.Commit(a.t.Context(), store.DefaultAgentGroup, request)
			if err != nil {
				a.t.Errorf("commit: %v", err)
				return
			}
			a.answer(request, response)
		})
	}
	both.Wait()
}
