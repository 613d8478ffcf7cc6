package placement

import "github.com/google/uuid"

// State says whether an agent may lead.
type State uint8

// An agent is given partitions only while it is Eligible. A Suspect keeps those of topics that allow buffered acks.
const (
	Eligible State = iota
	Suspect
	Draining
	Unfit
	Ended
)

// DefaultCapacity is what an agent counts for that names no capacity, in bytes per second.
const DefaultCapacity = 100 << 20

// Nobody stands for no agent.
const Nobody = -1

// Agent is an agent of the agent group.
type Agent struct {
	// ID is unique.
	ID   string
	Zone string
	// CapacityBytesPerSecond is its weight; 0: DefaultCapacity.
	CapacityBytesPerSecond int64
	State                  State
	// OtherPartitions is how many partitions it is assigned that are not in the Input: they count, and stay.
	OtherPartitions int32
}

// Topic is a topic of the agent group.
type Topic struct {
	ID   uuid.UUID
	Name string
	// PreferredZones are where its partitions go while one of them has an eligible agent. None: any zone.
	PreferredZones []string
	// AllowBufferedAcks: what a suspect acknowledged may be in its memory alone, so it keeps its partitions.
	AllowBufferedAcks bool
}

// Partition is a partition and its assignment.
type Partition struct {
	// Topic is an index of Input.Topics.
	Topic int32
	// Number is unique in the topic.
	Number int32
	// Agent is an index of Input.Agents, or Nobody.
	Agent int32
	// Pinned: it stays while its agent is eligible. A move ends it.
	Pinned bool
	// BytesPerSecond is its observed load; 0: none was reported.
	BytesPerSecond int64
}

// Input is all of one agent group; of each topic in it, all partitions. The order of each list means nothing.
type Input struct {
	Agents     []Agent
	Topics     []Topic
	Partitions []Partition
}

// Move assigns a partition to another agent. From and To are indices of Input.Agents; From may be Nobody.
type Move struct {
	// Partition is an index of Input.Partitions.
	Partition int32
	From, To  int32
}

// Result is a plan.
type Result struct {
	// Moves are ordered: first partitions without an eligible agent, then by topic id and number.
	Moves []Move
	// Stranded are partitions (indices of Input.Partitions) that need an agent while none is eligible.
	Stranded []int32
}

// Apply assigns as the plan says. A move ends a pin: it bound the partition to an agent that can lead no longer.
func (in *Input) Apply(moves []Move) {
	for _, m := range moves {
		in.Partitions[m.Partition].Agent, in.Partitions[m.Partition].Pinned = m.To, false
	}
}
