package placement

import (
	"slices"

	"github.com/google/uuid"
)

// Wanted is a partition that needs an agent.
type Wanted struct {
	Topic  uuid.UUID
	Number int32
}

// Loads say how many partitions each agent is assigned already.
type Loads struct {
	// All counts by agent id.
	All map[string]int
	// Topics counts by topic and agent id, for the topics of the wanted partitions.
	Topics map[uuid.UUID]map[string]int
}

// Choose is Repair for a caller that has counts only, of topics that prefer no zone: an agent id for each partition, in the same order;
// empty strings: there are no candidates.
func Choose(agents []Agent, loads Loads, wanted []Wanted) []string {
	chosen := make([]string, len(wanted))
	in := Input{Agents: slices.Clone(agents)}
	topics := map[uuid.UUID]int32{}
	for _, w := range wanted {
		if _, known := topics[w.Topic]; !known {
			topics[w.Topic] = int32(len(in.Topics))
			in.Topics = append(in.Topics, Topic{ID: w.Topic})
		}
		in.Partitions = append(in.Partitions, Partition{Topic: topics[w.Topic], Number: w.Number, Agent: Nobody})
	}
	in.addLoads(loads)
	for _, move := range Repair(in).Moves { // of wanted partitions only: the others are assigned to candidates
		chosen[move.Partition] = agents[move.To].ID
	}
	return chosen
}

// addLoads turns counts into partitions; their numbers matter to nobody.
func (in *Input) addLoads(loads Loads) {
	for i := range in.Agents {
		agent := &in.Agents[i]
		agent.OtherPartitions = int32(loads.All[agent.ID])
		for t := range in.Topics {
			n := loads.Topics[in.Topics[t].ID][agent.ID]
			agent.OtherPartitions -= int32(n)
			for range n {
				in.Partitions = append(in.Partitions, Partition{Topic: int32(t), Number: -1, Agent: int32(i)})
			}
		}
	}
}
