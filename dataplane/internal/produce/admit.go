package produce

import (
	"bytes"
	"context"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/ingest"
	"github.com/streamhouse/streamhouse/dataplane/internal/lookup"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

const (
	// gapPatience is how long a batch that is ahead of its producer's sequence waits for the one before it: two requests of a producer may
	// overtake each other on the way, or while both were waiting for a leader.
	gapPatience = time.Second
	// catalogRetry is when a caller should come back while the catalog is out of reach.
	catalogRetry = 500 * time.Millisecond
	// haltedRetry is when a caller should come back to a catalog that waits for an operator.
	haltedRetry = 5 * time.Second
	// fullRetry is when a caller should come back to an agent that holds as much as it may.
	fullRetry = 100 * time.Millisecond
	// lookupTimeout bounds a question to the catalog.
	lookupTimeout = 5 * time.Second
)

// admit hands one entry in. It is left with a pending batch or with an outcome; false: with neither, because this agent does not lead.
func (s *Service) admit(ctx context.Context, p partition.ID, e *entry) (leads bool) {
	patience := time.Now().Add(gapPatience)
	confirmed := partition.Epoch(0)
	for {
		d := s.Desk.Append(p, e.batch)
		e.epoch = d.Epoch
		var again bool
		switch d.Verdict {
		case ingest.NotLeading:
			return false
		case ingest.UnknownProducer:
			again, leads = s.learn(ctx, p, e, d.Epoch)
		case ingest.Undecided:
			again = s.sleep(ctx, d.Changed, lookAgain)
			if !again {
				e.outcome = s.refused(e, noLeaderRefusal("the deadline passed before the next offset was known: try again"))
			}
		case ingest.Doubtful:
			again, leads = s.doubt(ctx, p, e, d, patience, &confirmed)
		default:
			s.taken(e, d)
			return true
		}
		if !again {
			return leads || e.outcome != nil
		}
	}
}

// taken notes a decision that is final as far as admission goes.
func (s *Service) taken(e *entry, d ingest.Decision) {
	switch d.Verdict {
	case ingest.Duplicate:
		e.outcome = s.stored(e, d.BaseOffset, true)
	case ingest.Overloaded:
		s.full.Add(1)
		e.outcome = s.refused(e, overloadedRefusal())
	default:
		e.appended = e.appended || d.Verdict == ingest.Accepted
		e.repeat = d.Verdict == ingest.InFlight
		if e.buffered && s.Desk.Alive() { // only now: the batch is in memory, and the session has not run out meanwhile
			e.outcome = s.bufferedAck(e)
			return
		}
		e.pending = d.Pending
	}
}

// learn asks the catalog for a producer that the tenure does not know.
func (s *Service) learn(ctx context.Context, p partition.ID, e *entry, epoch partition.Epoch) (again, leads bool) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	id := e.batch.Header.Producer.ID
	res, err := s.Catalog.LookupProducers(ctx, &controlplanev1.LookupProducersRequest{
		Lookups: []*controlplanev1.ProducerLookup{{TopicId: bytes.Clone(p.Topic[:]), Partition: p.Number, ProducerId: id}},
	})
	if err != nil || len(res.GetOutcomes()) != 1 {
		e.outcome = s.refused(e, catalogRefusal())
		return false, true
	}
	if res.GetOutcomes()[0].GetEpoch() != epoch {
		return false, false
	}
	s.Desk.Learn(p, epoch, id, res.GetOutcomes()[0].GetState())
	return true, true
}

// doubt deals with a refusal that rests on memory: nobody is told before a lookup that started later has shown the epoch to be current.
func (s *Service) doubt(ctx context.Context, p partition.ID, e *entry, d ingest.Decision, patience time.Time, confirmed *partition.Epoch) (again, leads bool) {
	if d.Refusal.GetReason() == refusalv1.Reason_REASON_SEQUENCE_GAP {
		if wait := time.Until(patience); wait > 0 && s.sleep(ctx, d.Changed, wait) {
			return true, true
		}
	}
	if *confirmed == d.Epoch {
		e.outcome = s.refused(e, d.Refusal)
		return false, true
	}
	current, err := s.current(ctx, p)
	switch {
	case err != nil:
		e.outcome = s.refused(e, catalogRefusal())
		return false, true
	case current != d.Epoch:
		return false, false
	}
	*confirmed = current
	return true, true
}

// current asks the catalog in which epoch this agent's session leads the partition; 0: it does not.
func (s *Service) current(ctx context.Context, p partition.ID) (partition.Epoch, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	answers, err := s.Lookups.Ask(ctx, lookup.Query{Partition: p})
	if err != nil {
		return 0, err
	}
	if answers[0].State.LeaderSession != s.Desk.Session() {
		return 0, nil
	}
	return answers[0].State.Epoch, nil
}

// sleep waits for a change, at most so long; false: ctx ended.
func (s *Service) sleep(ctx context.Context, changed <-chan struct{}, most time.Duration) bool {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-ctx.Done():
		return false
	}
	return true
}
