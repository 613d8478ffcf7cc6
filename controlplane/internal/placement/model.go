package placement

import (
	"bytes"
	"cmp"
	"math/bits"
	"slices"
	"sort"
)

const (
	// orphan is the owner of a partition without an eligible agent.
	orphan = -1
	// held is the owner of a partition that waits for a suspect: out of the problem.
	held = -2
)

// weightBits is the precision of relative capacity, scaleBits that of cost: (2·partitions)·2^scaleBits must fit in an int64.
const (
	weightBits = 20
	scaleBits  = 36
)

// model is the Input with small integers in canonical order, so that the order of the Input means nothing. Eligible agents by id, zones
// with eligible agents by name, topics by id, their partitions by number.
type model struct {
	in Input

	agents      []int32 // indices of in.Agents
	agentWeight []int64 // of each agent: relative capacity
	zoneOf      []int32
	others      []int32 // partitions of each agent that are not in the Input

	zones      []string
	zoneWeight []int64
	agentsIn   [][]int32 // agents of each zone
	everywhere []int32   // all zones

	topics []int32 // indices of in.Topics
	first  []int32 // of each topic its first place in parts; one more at the end
	parts  []int32 // indices of in.Partitions
	owner  []int32 // of each place in parts: agent, orphan or held
}

func newModel(in Input) *model {
	m := &model{in: in}
	eligible := m.addAgents()
	m.addTopics()
	m.owner = make([]int32, len(m.parts))
	for place, i := range m.parts {
		m.owner[place] = m.ownerOf(in.Partitions[i], eligible)
	}
	m.others = make([]int32, len(m.agents))
	for a, i := range m.agents {
		m.others[a] = in.Agents[i].OtherPartitions
	}
	return m
}

// addAgents answers for each of in.Agents its place among the eligible ones, or orphan.
func (m *model) addAgents() (eligible []int32) {
	eligible = make([]int32, len(m.in.Agents))
	most := int64(1)
	for i, a := range m.in.Agents {
		eligible[i] = orphan
		if a.State == Eligible {
			m.agents = append(m.agents, int32(i))
			m.zones = append(m.zones, a.Zone)
			most = max(most, capacity(a))
		}
	}
	slices.SortFunc(m.agents, func(i, j int32) int { return cmp.Compare(m.in.Agents[i].ID, m.in.Agents[j].ID) })
	slices.Sort(m.zones)
	m.zones = slices.Compact(m.zones)
	m.zoneWeight, m.agentsIn = make([]int64, len(m.zones)), make([][]int32, len(m.zones))
	for z := range m.zones {
		m.everywhere = append(m.everywhere, int32(z))
	}
	for a, i := range m.agents {
		eligible[i] = int32(a)
		z, _ := slices.BinarySearch(m.zones, m.in.Agents[i].Zone)
		w := relative(capacity(m.in.Agents[i]), most)
		m.agentWeight, m.zoneOf = append(m.agentWeight, w), append(m.zoneOf, int32(z))
		m.zoneWeight[z] += w
		m.agentsIn[z] = append(m.agentsIn[z], int32(a))
	}
	return eligible
}

func capacity(a Agent) int64 { return cmp.Or(max(a.CapacityBytesPerSecond, 0), DefaultCapacity) }

// relative is a/most in units of 2^-weightBits, at least one.
func relative(a, most int64) int64 {
	hi, lo := bits.Mul64(uint64(a), 1<<weightBits)
	q, _ := bits.Div64(hi, lo, uint64(most)) // a <= most: no overflow
	return max(int64(q), 1)
}

// addTopics sorts the partitions: by topic by counting, then each topic's, which are mostly in order already.
func (m *model) addTopics() {
	m.topics = make([]int32, len(m.in.Topics))
	for i := range m.topics {
		m.topics[i] = int32(i)
	}
	slices.SortFunc(m.topics, func(i, j int32) int { return bytes.Compare(m.in.Topics[i].ID[:], m.in.Topics[j].ID[:]) })
	rank := make([]int32, len(m.topics))
	for t, i := range m.topics {
		rank[i] = int32(t)
	}
	m.first = make([]int32, len(m.topics)+1)
	for i := range m.in.Partitions {
		m.first[rank[m.in.Partitions[i].Topic]+1]++
	}
	for t := range m.topics {
		m.first[t+1] += m.first[t]
	}
	m.parts = make([]int32, len(m.in.Partitions))
	next := slices.Clone(m.first)
	for i := range m.in.Partitions {
		t := rank[m.in.Partitions[i].Topic]
		m.parts[next[t]] = int32(i)
		next[t]++
	}
	byNumber := func(i, j int32) int { return cmp.Compare(m.in.Partitions[i].Number, m.in.Partitions[j].Number) }
	for t := range m.topics {
		if of := m.parts[m.first[t]:m.first[t+1]]; !slices.IsSortedFunc(of, byNumber) {
			slices.SortFunc(of, byNumber)
		}
	}
}

func (m *model) ownerOf(p Partition, eligible []int32) int32 {
	if p.Agent < 0 {
		return orphan
	}
	if m.in.Agents[p.Agent].State == Suspect && m.in.Topics[p.Topic].AllowBufferedAcks {
		return held
	}
	return eligible[p.Agent]
}

// stuck says whether the partition at this place must stay with its owner.
func (m *model) stuck(place int32) bool {
	return m.owner[place] >= 0 && m.in.Partitions[m.parts[place]].Pinned
}

// topicOf is the topic of a place in parts.
func (m *model) topicOf(place int32) int32 {
	after := sort.Search(len(m.topics), func(t int) bool { return m.first[t+1] > place })
	return int32(after)
}

// allowed are the zones where the topic may be led, in order.
func (m *model) allowed(t int) []int32 {
	var zones []int32
	for _, name := range m.in.Topics[m.topics[t]].PreferredZones {
		if z, found := slices.BinarySearch(m.zones, name); found {
			zones = append(zones, int32(z))
		}
	}
	if len(zones) == 0 {
		return m.everywhere
	}
	slices.Sort(zones)
	return slices.Compact(zones)
}

// marginal is what the k-th partition costs whoever has this weight: the sum over all k is about (partitions)²/weight, so that the least
// sum is the most even one, and equal weights tie exactly.
func marginal(k int32, weight int64) int64 { return (2*int64(k) - 1) << scaleBits / weight }

// stranded are the places of partitions that need an agent.
func (m *model) stranded() (all []int32) {
	for place, owner := range m.owner {
		if owner == orphan {
			all = append(all, m.parts[place])
		}
	}
	return all
}

// sorted puts takeovers first; the moves come in canonical order.
func (m *model) sorted(moves []Move) []Move {
	takeovers := make([]Move, 0, len(moves))
	var others []Move
	for _, move := range moves {
		if move.From < 0 || m.in.Agents[move.From].State != Eligible {
			takeovers = append(takeovers, move)
		} else {
			others = append(others, move)
		}
	}
	return append(takeovers, others...)
}
