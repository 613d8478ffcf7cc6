package produce

import (
	"context"
	"errors"

	"connectrpc.com/connect/v2"

	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	"github.com/streamhouse/streamhouse/dataplane/internal/route"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

// outcome begins an outcome: whose it is, and who answers.
func (s *Service) outcome(e *entry) *dataplanev1.ProduceOutcome {
	return &dataplanev1.ProduceOutcome{
		TopicId: e.topic.ID.String(), Partition: e.partition.Number, Leader: s.leaderNow(e.partition, e.epoch).Wire(),
	}
}

// leaderNow is the better address for the next request.
func (s *Service) leaderNow(p partition.ID, took partition.Epoch) route.Leader {
	if epoch, leads := s.Desk.Leads(p); leads {
		return route.Leader{Agent: s.Me(), Epoch: epoch}
	}
	leader := s.Table.Leader(p)
	if leader.ID == "" || leader.ID == s.Self || leader.Epoch <= took {
		return route.Leader{Epoch: leader.Epoch}
	}
	return leader
}

func (s *Service) stored(e *entry, baseOffset int64, duplicate bool) *dataplanev1.ProduceOutcome {
	out := s.outcome(e)
	out.Outcome = &dataplanev1.ProduceOutcome_Stored{Stored: &dataplanev1.Stored{BaseOffset: baseOffset, Duplicate: duplicate}}
	return out
}

func (s *Service) bufferedAck(e *entry) *dataplanev1.ProduceOutcome {
	out := s.outcome(e)
	out.Outcome = &dataplanev1.ProduceOutcome_Buffered{Buffered: &dataplanev1.Buffered{}}
	return out
}

// refused completes a refusal: whose it is and, unless it says otherwise, that nothing was written.
func (s *Service) refused(e *entry, r *refusalv1.Refusal) *dataplanev1.ProduceOutcome {
	out := s.outcome(e)
	number := e.partition.Number
	r.Topic, r.Partition = e.topic.Name, &number
	if r.GetWritten() == refusalv1.Written_WRITTEN_UNSPECIFIED {
		r.Written = refusalv1.Written_WRITTEN_SURELY_NOT
	}
	out.Outcome = &dataplanev1.ProduceOutcome_Refusal{Refusal: r}
	return out
}

func (s *Service) notLeader(e *entry, leader route.Leader) *dataplanev1.ProduceOutcome {
	r := refusal.New(refusalv1.Reason_REASON_NOT_LEADER, "agent %q leads this partition: send there", leader.ID)
	r.Leader = leader.Wire()
	out := s.refused(e, r)
	out.Leader = leader.Wire()
	return out
}

func (s *Service) unanswered(e *entry) *dataplanev1.ProduceOutcome {
	r := refusal.New(refusalv1.Reason_REASON_UNANSWERED, "the records may have been written: only an idempotent producer may repeat them safely")
	r.Written = refusalv1.Written_WRITTEN_POSSIBLY
	return s.refused(e, r)
}

// noLeader ends the wait of entries that nobody took.
func (s *Service) noLeader(ctx context.Context, p partition.ID, entries []*entry) {
	why := "nobody leads the partition yet: try again"
	if ctx.Err() == nil {
		why = "this agent is stopping: send to another one"
	}
	leader := s.Table.Leader(p)
	for _, e := range entries {
		r := noLeaderRefusal(why)
		if leader.Address != "" && leader.ID != s.Self {
			r.Leader = leader.Wire()
		}
		e.outcome = s.refused(e, r)
	}
}

func noLeaderRefusal(why string) *refusalv1.Refusal {
	return refusal.New(refusalv1.Reason_REASON_NO_LEADER, "%s", why)
}

func catalogRefusal() *refusalv1.Refusal {
	r := refusal.New(refusalv1.Reason_REASON_CATALOG_UNAVAILABLE, "the catalog is out of reach: try again")
	r.RetryAfterMs = catalogRetry.Milliseconds()
	return r
}

func haltedRefusal() *refusalv1.Refusal {
	r := refusal.New(refusalv1.Reason_REASON_CATALOG_HALTED, "the catalog is halted until an operator has looked at it: try again later")
	r.RetryAfterMs = haltedRetry.Milliseconds()
	return r
}

// fateRefusal words a batch's fate for its producer.
func fateRefusal(reason refusalv1.Reason) *refusalv1.Refusal {
	switch reason {
	case refusalv1.Reason_REASON_UNKNOWN_TOPIC:
		return refusal.New(reason, "the topic does not exist any more")
	case refusalv1.Reason_REASON_WRONG_AGENT_GROUP:
		return refusal.New(reason, "the topic belongs to another agent group")
	default:
		return refusal.New(reason, "%s", refusal.InternalMessage)
	}
}

// callError is the error of a call with a single, refused entry.
func (s *Service) callError(ctx context.Context, r *refusalv1.Refusal) error {
	if r.GetReason() == refusalv1.Reason_REASON_UNANSWERED && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return refusal.ErrorCode(connect.CodeDeadlineExceeded, r)
	}
	return refusal.Error(r)
}
