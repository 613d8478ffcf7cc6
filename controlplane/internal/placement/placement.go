// Package placement chooses agents for partitions. Pure: agents, their loads and partitions in, agent ids out.
//
// Not here: which partitions need an agent, who counts as present (package lease), SQL.
// Promises: none; a bad choice is slow, never wrong.
package placement

import (
	"cmp"
	"slices"

	"github.com/google/uuid"
)

// Agent is a candidate.
type Agent struct {
	ID   string
	Zone string
}

// Partition is a partition that needs an agent.
type Partition struct {
	Topic  uuid.UUID
	Number int32
}

// Loads say how many partitions each agent is assigned already.
type Loads struct {
	// All counts by agent id.
	All map[string]int
	// Topics counts by topic and agent id.
	Topics map[uuid.UUID]map[string]int
}

// Choose answers an agent id for each partition, in the same order: the agent with the fewest partitions of this topic; among these one
// of the zone with the fewest, then the one with the fewest partitions in all, then the least id. Partitions that have an agent stay
// where they are. Empty strings: there are no candidates. Cost: partitions x agents.
func Choose(agents []Agent, loads Loads, partitions []Partition) []string {
	chosen := make([]string, len(partitions))
	if len(agents) == 0 {
		return chosen
	}
	c := newChooser(agents, loads)
	for i, partition := range partitions {
		chosen[i] = c.choose(c.topic(partition.Topic)).ID
	}
	return chosen
}

// candidate is an agent with its load in all.
type candidate struct {
	Agent
	all int
}

// spread is how a topic lies over the candidates, by their index, and over zones.
type spread struct {
	agents []int
	zones  map[string]int
}

type chooser struct {
	candidates []candidate
	loads      Loads
	topics     map[uuid.UUID]*spread
}

func newChooser(agents []Agent, loads Loads) *chooser {
	c := &chooser{loads: loads, topics: map[uuid.UUID]*spread{}}
	for _, a := range agents {
		c.candidates = append(c.candidates, candidate{Agent: a, all: loads.All[a.ID]})
	}
	slices.SortFunc(c.candidates, func(a, b candidate) int { return cmp.Compare(a.ID, b.ID) })
	return c
}

func (c *chooser) topic(id uuid.UUID) *spread {
	if s, known := c.topics[id]; known {
		return s
	}
	s := &spread{agents: make([]int, len(c.candidates)), zones: map[string]int{}}
	for i, a := range c.candidates {
		s.agents[i] = c.loads.Topics[id][a.ID]
		s.zones[a.Zone] += s.agents[i]
	}
	c.topics[id] = s
	return s
}

// choose picks the best candidate for one more partition of the topic, and counts it.
func (c *chooser) choose(s *spread) Agent {
	best := 0
	for i := 1; i < len(c.candidates); i++ {
		if c.compare(s, i, best) < 0 {
			best = i
		}
	}
	a := &c.candidates[best]
	a.all++
	s.agents[best]++
	s.zones[a.Zone]++
	return a.Agent
}

// compare orders two candidates for one topic; the candidates are sorted by id, so that equal ones stay in that order.
func (c *chooser) compare(s *spread, i, j int) int {
	a, b := c.candidates[i], c.candidates[j]
	return cmp.Or(
		cmp.Compare(s.agents[i], s.agents[j]),
		cmp.Compare(s.zones[a.Zone], s.zones[b.Zone]),
		cmp.Compare(a.all, b.all),
	)
}
