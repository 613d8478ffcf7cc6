package store

import (
	"context"
	"time"

	"github.com/google/uuid"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/placement"
)

// DefaultMaxMoves is how many hand-offs may be under way in an agent group at once, unless the operator says otherwise.
const DefaultMaxMoves = 256

// Planning is what decides where partitions should be led, and carries it out; for packages rebalance and rpc. Any number of replicas may
// use it at once: each move has its reason checked where it is made.
type Planning interface {
	// Shapes answers, for every agent group, what tells whether a plan made before still holds.
	Shapes(ctx context.Context) (map[AgentGroup]Shape, error)
	// Reshaped signals (level-triggered, capacity one) after this process itself changed a shape. It has one reader: package rebalance.
	Reshaped() <-chan struct{}
	// PlacementInput reads an agent group in one snapshot, without loads. Refusal: UNKNOWN_AGENT_GROUP.
	PlacementInput(ctx context.Context, agentGroup AgentGroup) (*PlacementInput, error)
	// PartitionLoads answers the bytes per second that agents which live reported last.
	PartitionLoads(ctx context.Context, agentGroup AgentGroup) (map[PartitionID]int64, error)
	// MovePartitions assigns partitions to other agents, in order, as long as fewer hand-offs are under way than there may be at once. What is
	// not as the plan had it any more (assigned otherwise, pinned, the agent cannot lead) is passed over.
	MovePartitions(ctx context.Context, agentGroup AgentGroup, transfers []Transfer) (Moved, error)
	// FindLease answers the lease of a partition and the agent group of its topic. Refusals: UNKNOWN_TOPIC, UNKNOWN_PARTITION.
	FindLease(ctx context.Context, agentGroup AgentGroup, topic string, partition int32) (AgentGroup, *controlplanev1.Lease, error)
	// RequestDrain has the agent drain; it counts as draining at once. Idempotent. It answers the agent's group. Refusal: UNKNOWN_AGENT (never
	// seen, or its session has ended).
	RequestDrain(ctx context.Context, agentID string) (AgentGroup, error)
	// TransferLease assigns and pins a partition, or unpins it. Refusals: UNKNOWN_TOPIC, UNKNOWN_PARTITION, UNKNOWN_AGENT, WRONG_AGENT_GROUP,
	// AGENT_NOT_ELIGIBLE.
	TransferLease(ctx context.Context, request *controlplanev1.TransferLeaseRequest) (*controlplanev1.TransferLeaseResponse, error)
	// Census counts partitions and sessions of all agent groups.
	Census(ctx context.Context) (Census, error)
	// PlacementCandidate makes a candidate for deciding placement, under the name of this replica.
	PlacementCandidate(name string) PlacementCandidate
}

// PlacementCandidate is a replica that would decide placement. One of all replicas does. Not safe for concurrent use.
type PlacementCandidate interface {
	// Leads keeps the lead, or takes it where nobody has it. Who does not call it for CandidateSilence loses it. An error: it does not lead.
	Leads(ctx context.Context) (bool, error)
	// Close gives the lead up, if it has it.
	Close()
}

// CandidateSilence is how long a candidate may be silent before another one may take its lead.
const CandidateSilence = 3 * time.Second

// Shape is what a plan rests on. An equal Changed: no session, topic or pin has changed.
type Shape struct {
	// Revision is the newest of the agent group; Changed the one of the last change that placement may have an answer to.
	Revision, Changed int64
	// ReportedAt is when the newest report of an agent that lives arrived; zero: there is none.
	ReportedAt time.Time
}

// PartitionID names a partition.
type PartitionID struct {
	Topic  uuid.UUID
	Number int32
}

// PlacementInput is an agent group as the planner sees it.
type PlacementInput struct {
	placement.Input
	// Shape is that of the same snapshot, without ReportedAt.
	Shape Shape
	// Leaders has, for each partition, the agent (an index) that would have to hand it over, or placement.Nobody.
	Leaders []int32
}

// ID names a partition of the input by its index.
func (in *PlacementInput) ID(partition int32) PartitionID {
	p := in.Partitions[partition]
	return PartitionID{in.Topics[p.Topic].ID, p.Number}
}

// SetLoads gives the partitions their loads.
func (in *PlacementInput) SetLoads(loads map[PartitionID]int64) {
	if len(loads) == 0 {
		return
	}
	for i := range in.Partitions {
		in.Partitions[i].BytesPerSecond = loads[in.ID(int32(i))]
	}
}

// Agent is the id of an agent of the input by its index; empty: placement.Nobody.
func (in *PlacementInput) Agent(index int32) string {
	if index == placement.Nobody {
		return ""
	}
	return in.Agents[index].ID
}

// Transfer assigns a partition to another agent.
type Transfer struct {
	PartitionID
	// From is the agent id that it is assigned to when the plan is made; empty: nobody.
	From string
	To   string
}

// Moved is how far MovePartitions came.
type Moved struct {
	// Taken of the transfers are dealt with: moved or passed over. The others may be tried again later.
	Taken int
	// Assigned of them have another agent now.
	Assigned int
	// Full: as many hand-offs are under way as there may be.
	Full bool
}

// Census counts, for metrics.
type Census struct {
	Partitions []PartitionTally
	// Sessions that live, by agent group and state.
	Sessions map[AgentGroup]map[controlplanev1.AgentState]int
}

// ClusterView is the cluster as people want to see it, of one agent group or of all.
type ClusterView struct {
	// Agents whose session lives, or ended within the last day, by agent group, zone and id.
	Agents []*controlplanev1.Agent
	// Topics by agent group; each agent group is in it.
	Topics map[AgentGroup]int32
	// Partitions by agent group and zone of the leader.
	Partitions []PartitionTally
	// Traffic of agents that live, as they reported it.
	Traffic []ReportedTraffic
	// Deserted are zones that topics prefer and in which no agent lives.
	Deserted []DesertedZone
	// PlacementBy names the replica that decides placement; empty: none does.
	PlacementBy string
}

// PartitionTally counts partitions.
type PartitionTally struct {
	AgentGroup AgentGroup
	// Zone is the leader's; empty where nobody leads.
	Zone string
	// Led: a session that lives leads them.
	Led bool
	// Partitions in all; of these, Moving have a leader that is not who should lead.
	Partitions, Moving int32
	// Epoch is the greatest of theirs; 0: none of them has ever been led.
	Epoch int32
}

// ReportedTraffic is what one agent reported.
type ReportedTraffic struct {
	AgentGroup AgentGroup
	Zone       string
	Traffic    []*controlplanev1.Traffic
}

// DesertedZone is a zone that a topic prefers.
type DesertedZone struct {
	AgentGroup AgentGroup
	Zone       string
	// Topic is one of those that prefer it.
	Topic string
}
