package memory

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// Acquire is section 3 of the protocol for each partition.
func (s *Store) Acquire(_ context.Context, name store.AgentGroup, request *controlplanev1.AcquireRequest) (*controlplanev1.AcquireResponse, error) {
	id, err := parseSession(request.GetSessionId())
	if err != nil {
		return nil, err
	}
	if err := distinct(request.GetPartitions()); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.group(name); err != nil {
		return nil, err
	}
	if err := s.refuseHalted(); err != nil {
		return nil, err
	}
	response := &controlplanev1.AcquireResponse{}
	for _, entry := range request.GetPartitions() {
		outcome := &controlplanev1.AcquireOutcome{TopicId: entry.GetTopicId(), Partition: entry.GetPartition()}
		if p, refusal := s.acquire(s.known(name, id), name, entry); refusal != nil {
			outcome.Outcome = &controlplanev1.AcquireOutcome_Refusal{Refusal: refusal}
		} else {
			outcome.Outcome = &controlplanev1.AcquireOutcome_Grant{Grant: p.grantMessage()}
		}
		response.Outcomes = append(response.Outcomes, outcome)
	}
	return response, nil
}

// acquire follows the numbers of the protocol.
func (s *Store) acquire(me *session, name store.AgentGroup, entry *controlplanev1.AcquirePartition) (*partition, *refusalv1.Refusal) {
	// 1. The session has not ended and is not draining.
	if refusal := refuseEnded(me); refusal != nil {
		return nil, refusal
	}
	if me.leaving() {
		return nil, &refusalv1.Refusal{Reason: refusalv1.Reason_REASON_AGENT_DRAINING, Message: "a draining agent gets no lease"}
	}
	t, p := s.find(entry.GetTopicId(), entry.GetPartition())
	if t == nil {
		return nil, refuseUnknown(t, entry)
	}
	// 2. The topic's agent group equals the agent's.
	if t.group.name != name {
		return nil, refuseOtherGroup(t, entry)
	}
	if p == nil {
		return nil, refuseUnknown(t, entry)
	}
	// 3. Held by this very session, in an epoch above the last one that it has ended: the same lease again.
	if p.leader == me && p.epoch > entry.GetLastEndedEpoch() {
		return p, nil
	}
	// 4. Held by another session that has neither ended nor is suspect (a suspect keeps what may be buffered).
	if holder := p.leader; holder != nil && holder != me && holder.lives() && (!holder.suspect || t.buffered) {
		return nil, p.refuse(refusalv1.Reason_REASON_LEASE_HELD, holder, p.epoch)
	}
	// 5. Placement has assigned it to another live agent.
	if other := s.live(p.assigned); other != nil && other.agentID != me.agentID && other.present(t) {
		return nil, p.refuse(refusalv1.Reason_REASON_NOT_ASSIGNED, other, 0)
	}
	// 6. Otherwise: a new tenure, unless a catalog that was restarted may have forgotten one.
	if !s.trust.verified {
		return nil, verifying()
	}
	s.grant(p, me)
	return p, nil
}

// grant begins a new tenure: the epoch counts tenures, and nothing else moves it. Whoever leads a partition is assigned to it.
func (s *Store) grant(p *partition, to *session) {
	p.endBefore(to)
	p.epoch++ // from the floor of the incarnation on
	p.leader, p.tenureFirst = to, p.highWatermark
	p.tenures = append(p.tenures, tenure{epoch: p.epoch, holder: to, first: p.tenureFirst, startedAt: time.Now()})
	p.assigned, p.revision = to.agentID, s.stamp(p.topic.group)
}

func (p *partition) grantMessage() *controlplanev1.Grant {
	grant := &controlplanev1.Grant{
		Epoch: p.epoch, TenureFirstOffset: p.tenureFirst, LogStartOffset: p.logStart, HighWatermark: p.highWatermark, ProducersComplete: true,
	}
	for id, state := range p.producers {
		grant.Producers = append(grant.Producers, state.message(id))
	}
	return grant
}

// Release is section 5, rule 2, for each partition.
func (s *Store) Release(_ context.Context, name store.AgentGroup, request *controlplanev1.ReleaseRequest) (*controlplanev1.ReleaseResponse, error) {
	id, err := parseSession(request.GetSessionId())
	if err != nil {
		return nil, err
	}
	if err := distinct(request.GetPartitions()); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.group(name); err != nil {
		return nil, err
	}
	if err := s.refuseHalted(); err != nil {
		return nil, err
	}
	response := &controlplanev1.ReleaseResponse{}
	for _, entry := range request.GetPartitions() {
		outcome := &controlplanev1.ReleaseOutcome{TopicId: entry.GetTopicId(), Partition: entry.GetPartition()}
		if t := s.topics[uuid.UUID(entry.GetTopicId())]; t != nil && t.group.name == name && t.partition(entry.GetPartition()) != nil {
			s.release(id, t.partition(entry.GetPartition()), entry.GetEpoch(), outcome)
		}
		response.Outcomes = append(response.Outcomes, outcome)
	}
	return response, nil
}

func (s *Store) release(id uuid.UUID, p *partition, epoch int32, outcome *controlplanev1.ReleaseOutcome) {
	// A no-op in any epoch but the session's own current one.
	if p.leader != nil && p.leader.id == id && p.epoch == epoch {
		outcome.Released = true
		before := p.leader
		p.leader = nil
		p.endTenure("released")
		// The release grants it to whom it is assigned in the same transaction; gone, or no better: to nobody.
		if next := s.live(p.assigned); next != nil && next.agentID != before.agentID && next.present(p.topic) && !next.suspect && s.trust.verified {
			s.grant(p, next)
		} else {
			p.revision = s.stamp(p.topic.group)
		}
	}
	if p.leader != nil && p.leader.lives() {
		outcome.Leader = p.leader.message(p.epoch)
	}
}

func (n *session) message(epoch int32) *refusalv1.Leader {
	return &refusalv1.Leader{AgentId: n.agentID, Address: n.address, Zone: n.zone, Epoch: epoch}
}

func (p *partition) refuse(reason refusalv1.Reason, leader *session, epoch int32) *refusalv1.Refusal {
	return &refusalv1.Refusal{
		Reason: reason, Message: "agent " + leader.agentID + " has it", Leader: leader.message(epoch),
		Topic: p.topic.name, Partition: new(p.number),
	}
}

// keyed is an entry that names a partition.
type keyed interface {
	GetTopicId() []byte
	GetPartition() int32
}

func refuseUnknown(t *topic, entry keyed) *refusalv1.Refusal {
	refusal := &refusalv1.Refusal{
		Reason: refusalv1.Reason_REASON_UNKNOWN_TOPIC, Message: "there is no such topic", Topic: uuid.UUID(entry.GetTopicId()).String(),
		Partition: new(entry.GetPartition()), Written: refusalv1.Written_WRITTEN_SURELY_NOT,
	}
	if t != nil {
		refusal.Reason, refusal.Message = refusalv1.Reason_REASON_UNKNOWN_PARTITION, "the topic has no such partition"
	}
	return refusal
}

func refuseOtherGroup(t *topic, entry keyed) *refusalv1.Refusal {
	return &refusalv1.Refusal{
		Reason: refusalv1.Reason_REASON_WRONG_AGENT_GROUP, Message: "the topic belongs to another agent group", Topic: t.name,
		Partition: new(entry.GetPartition()),
	}
}

// distinct refuses malformed entries, and a partition that is named twice.
func distinct[T keyed](entries []T) error {
	type place struct {
		topic  uuid.UUID
		number int32
	}
	seen := map[place]bool{}
	for i, entry := range entries {
		id, err := uuid.FromBytes(entry.GetTopicId())
		if err != nil {
			return invalid(fmt.Sprintf("partitions[%d].topic_id", i), "must be 16 bytes")
		}
		if seen[place{id, entry.GetPartition()}] {
			return invalid(fmt.Sprintf("partitions[%d].partition", i), "is named twice")
		}
		seen[place{id, entry.GetPartition()}] = true
	}
	return nil
}
