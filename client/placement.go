package client

import (
	"context"
	"time"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

// Lease is who leads a partition.
type Lease struct {
	Topic           string
	TopicID         string // UUID
	Partition       int32
	LeaderAgentID   string // empty: nobody leads it
	LeaderZone      string
	Epoch           int32     // of the newest tenure; 0: never led
	ExpiresAt       time.Time // when the leader's session ends without a further heartbeat; zero: nobody leads it
	AssignedAgentID string    // who should lead it; empty: nobody
	HighWatermark   int64
	Pinned          bool // an operator pinned it to its assigned agent (TransferLease)
}

func leaseFrom(l *controlplanev1.Lease) Lease {
	return Lease{
		Topic: l.GetTopic(), TopicID: l.GetTopicId(), Partition: l.GetPartition(), LeaderAgentID: l.GetLeader(),
		LeaderZone: l.GetZone(), Epoch: l.GetEpoch(), ExpiresAt: timeFrom(l.GetExpiresAt()),
		AssignedAgentID: l.GetAssignedAgentId(), HighWatermark: l.GetHighWatermark(), Pinned: l.GetPinned(),
	}
}

// LeaseFilter narrows ListLeases; the zero value lists all that the key may see.
type LeaseFilter struct {
	Topic         string // only this topic
	LeaderAgentID string // only those led by this agent
}

// ListLeases returns a lease for each partition, by topic name and partition.
func (a *Admin) ListLeases(ctx context.Context, f LeaseFilter) ([]Lease, error) {
	var all []Lease
	err := pages(func(token string) (string, error) {
		var page *controlplanev1.ListLeasesResponse
		err := a.call(ctx, true, func(ctx context.Context, s controlPlane) (err error) {
			page, err = s.cluster.ListLeases(ctx, &controlplanev1.ListLeasesRequest{
				Topic: f.Topic, LeaderAgentId: f.LeaderAgentID, PageSize: adminPage, PageToken: token,
			})
			return err
		})
		for _, l := range page.GetLeases() {
			all = append(all, leaseFrom(l))
		}
		return page.GetNextPageToken(), err
	})
	return all, err
}

// Move is a partition that changes its agent.
type Move struct {
	Topic       string
	TopicID     string // UUID
	Partition   int32
	FromAgentID string // empty: it was assigned to nobody
	ToAgentID   string // empty: nobody can take it
}

// Drain is where the partitions of an agent that leaves go.
type Drain struct {
	// Moves by topic and partition, at most 10,000.
	Moves []Move
	// MoveCount is the number of all moves.
	MoveCount int32
}

// DrainAgent asks an agent to hand over all that it leads and to exit, and returns where its partitions go. It does not wait for that. With
// dryRun it only says what would move. Refused with ReasonUnknownAgent: never seen, or its session has ended.
func (a *Admin) DrainAgent(ctx context.Context, agentID string, dryRun bool) (Drain, error) {
	var d Drain
	err := a.call(ctx, true, func(ctx context.Context, s controlPlane) error {
		answer, err := s.cluster.DrainAgent(ctx, &controlplanev1.DrainAgentRequest{AgentId: agentID, DryRun: dryRun})
		d = Drain{MoveCount: answer.GetMoveCount(), Moves: make([]Move, 0, len(answer.GetMoves()))}
		for _, m := range answer.GetMoves() {
			d.Moves = append(d.Moves, Move{
				Topic: m.GetTopic(), TopicID: m.GetTopicId(), Partition: m.GetPartition(),
				FromAgentID: m.GetFromAgentId(), ToAgentID: m.GetToAgentId(),
			})
		}
		return err
	})
	return d, err
}

// TransferLease pins a partition to an agent, which leads it from then on while it can; toAgentID empty: placement decides again. The
// present leader hands over without an error for clients; the call does not wait for that, so the lease that it returns may still name it.
// Refused with ReasonUnknownTopic, ReasonUnknownPartition, ReasonUnknownAgent, ReasonWrongAgentGroup or ReasonAgentNotEligible.
func (a *Admin) TransferLease(ctx context.Context, topic string, partition int32, toAgentID string) (Lease, error) {
	var l Lease
	err := a.call(ctx, true, func(ctx context.Context, s controlPlane) error {
		answer, err := s.cluster.TransferLease(ctx, &controlplanev1.TransferLeaseRequest{Topic: topic, Partition: partition, ToAgentId: toAgentID})
		l = leaseFrom(answer.GetLease())
		return err
	})
	return l, err
}

// Placement says why a partition is where it is.
type Placement struct {
	Lease Lease
	// Reasons why it is assigned where it is, a sentence each, the weightiest first.
	Reasons []string
	// WouldMove says what would move it, a sentence each.
	WouldMove []string
	// Candidates are the agents of the agent group whose session lives.
	Candidates []PlacementCandidate
	// Zones with agents that may lead the topic.
	Zones []PlacementZone
	// Pinned: an operator pinned it (TransferLease).
	Pinned bool
}

// PlacementCandidate is an agent that might lead the partition.
type PlacementCandidate struct {
	AgentID, Zone          string
	Eligible               bool   // may lead it at all
	Verdict                string // why not, or what speaks for or against it; a sentence
	TopicPartitions        int32  // of this topic, assigned to it
	Partitions             int32  // of all topics, assigned to it
	BytesPerSecond         int64  // of these, as far as reported
	CapacityBytesPerSecond int64
}

// PlacementZone is a zone, as the topic lies over it.
type PlacementZone struct {
	Zone                            string
	Agents                          int32 // that may lead the topic
	CapacityBytesPerSecond          int64 // of these
	LeastPartitions, MostPartitions int32 // of the topic, that it should lead
	Partitions                      int32 // of the topic, that are assigned there
}

// ExplainPlacement says why a partition is where it is, and what would move it. Refused with ReasonUnknownTopic or ReasonUnknownPartition.
func (a *Admin) ExplainPlacement(ctx context.Context, topic string, partition int32) (Placement, error) {
	var p Placement
	err := a.call(ctx, true, func(ctx context.Context, s controlPlane) error {
		answer, err := s.cluster.ExplainPlacement(ctx, &controlplanev1.ExplainPlacementRequest{Topic: topic, Partition: partition})
		p = placementFrom(answer)
		return err
	})
	return p, err
}

func placementFrom(m *controlplanev1.ExplainPlacementResponse) Placement {
	p := Placement{Lease: leaseFrom(m.GetLease()), Reasons: m.GetReasons(), WouldMove: m.GetWouldMove(), Pinned: m.GetPinned()}
	for _, c := range m.GetCandidates() {
		p.Candidates = append(p.Candidates, PlacementCandidate{
			AgentID: c.GetAgentId(), Zone: c.GetZone(), Eligible: c.GetEligible(), Verdict: c.GetVerdict(),
			TopicPartitions: c.GetTopicPartitions(), Partitions: c.GetPartitions(),
			BytesPerSecond: c.GetBytesPerSecond(), CapacityBytesPerSecond: c.GetCapacityBytesPerSecond(),
		})
	}
	for _, z := range m.GetZones() {
		p.Zones = append(p.Zones, PlacementZone{
			Zone: z.GetZone(), Agents: z.GetAgents(), CapacityBytesPerSecond: z.GetCapacityBytesPerSecond(),
			LeastPartitions: z.GetLeastPartitions(), MostPartitions: z.GetMostPartitions(), Partitions: z.GetPartitions(),
		})
	}
	return p
}
