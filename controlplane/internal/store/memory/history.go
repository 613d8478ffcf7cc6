package memory

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// tenurePage is how many tenures are listed where the request does not say.
const tenurePage = 100

// tenure is a session's time as a partition's leader.
type tenure struct {
	epoch     int32
	holder    *session
	first     int64 // offset
	startedAt time.Time
	endedAt   time.Time // zero: nothing has followed it
	endReason string
}

// endBefore ends the tenure that another one of this session follows.
func (p *partition) endBefore(next *session) {
	switch {
	case p.leader == nil: // it has ended
	case p.leader == next:
		p.endTenure("resigned")
	case !p.leader.lives():
		p.endTenure("session ended")
	default:
		p.endTenure("taken over")
	}
}

// endTenure ends the newest tenure, if it lasts.
func (p *partition) endTenure(reason string) {
	if len(p.tenures) == 0 {
		return
	}
	if t := &p.tenures[len(p.tenures)-1]; t.endReason == "" {
		t.endedAt, t.endReason = time.Now(), reason
	}
}

// end: a tenure ends with its session at the latest.
func (t tenure) end() (at time.Time, reason string) {
	switch {
	case t.holder.lives():
		return t.endedAt, t.endReason
	case t.endReason == "":
		return t.holder.endedAt, "session ended"
	case t.holder.endedAt.Before(t.endedAt):
		return t.holder.endedAt, t.endReason
	default:
		return t.endedAt, t.endReason
	}
}

func (t tenure) message() *controlplanev1.Tenure {
	m := &controlplanev1.Tenure{
		Epoch: t.epoch, AgentId: t.holder.agentID, Zone: t.holder.zone, SessionId: t.holder.id.String(), FirstOffset: t.first,
		StartedAt: timestamppb.New(t.startedAt),
	}
	if at, reason := t.end(); reason != "" {
		m.EndedAt, m.EndReason = timestamppb.New(at), reason
	}
	return m
}

// PartitionHistory lists a page of tenures, newest first.
func (s *Store) PartitionHistory(_ context.Context, bound store.AgentGroup, request *controlplanev1.GetPartitionHistoryRequest) (
	*controlplanev1.GetPartitionHistoryResponse, error,
) {
	last, err := parseToken(request.GetPageToken())
	if err != nil {
		return nil, err
	}
	below, err := strconv.Atoi(cmp.Or(last, "2147483647"))
	if err != nil {
		return nil, invalid("page_token", "is not one that was given out")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.named(bound, request.GetTopic())
	if err != nil {
		return nil, err
	}
	p := t.partition(request.GetPartition())
	if p == nil {
		return nil, store.Refuse(refusalv1.Reason_REASON_UNKNOWN_PARTITION, "there is no such partition")
	}
	response := &controlplanev1.GetPartitionHistoryResponse{}
	for _, t := range slices.Backward(p.tenures) {
		if int(t.epoch) >= below {
			continue
		}
		if n := len(response.Tenures); n == int(cmp.Or(request.GetPageSize(), tenurePage)) {
			response.NextPageToken = pageToken(strconv.Itoa(int(response.Tenures[n-1].Epoch)))
			break
		}
		response.Tenures = append(response.Tenures, t.message())
	}
	return response, nil
}
