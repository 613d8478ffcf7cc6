package placement

import (
	"fmt"
	"slices"
	"strings"
)

// Explanation says why a partition is where it is. Reasons, WouldMove and verdicts are sentences for operators.
type Explanation struct {
	// Reasons, the weightiest first.
	Reasons []string
	// WouldMove says what would move the partition.
	WouldMove []string
	// Candidates are all agents that have not ended, by zone and id.
	Candidates []Candidate
	// Zones are those where the topic may be led, by name.
	Zones []Zone
}

// Candidate is an agent that might lead the partition.
type Candidate struct {
	// Agent is an index of Input.Agents.
	Agent int32
	// Eligible: it may lead the partition.
	Eligible bool
	Verdict  string
	// TopicPartitions and Partitions are assigned to it: of this topic, and in all.
	TopicPartitions, Partitions int32
	// BytesPerSecond is the observed load of these.
	BytesPerSecond int64
}

// Zone is how the topic lies over a zone.
type Zone struct {
	Name string
	// Agents that are eligible, and the sum of their capacity.
	Agents                 int32
	CapacityBytesPerSecond int64
	// Least and Most are how many of the topic's partitions should be led there. Partitions are assigned there now.
	Least, Most, Partitions int32
}

// Explain says why a partition, an index of Input.Partitions, is where it is. It plans: cost as Plan.
func Explain(in Input, partition int) Explanation {
	e := newExplainer(in, int32(partition))
	return Explanation{Reasons: e.reasons(), WouldMove: e.wouldMove(), Candidates: e.candidates(), Zones: e.zonesOfTopic()}
}

type explainer struct {
	*model
	place   int32
	topic   int
	to      int32 // index of in.Agents, where the plan moves it; or Nobody
	allowed []int32
	spread  *spread
	busy    bool
	// Of each of in.Agents, as assigned now:
	ofTopic, count []int32
	load           []int64
}

func newExplainer(in Input, partition int32) *explainer {
	m := newModel(in)
	n := len(in.Agents)
	e := &explainer{
		model: m, to: Nobody, busy: len(m.agents) > 0 && m.busy(), spread: newSpread(m),
		ofTopic: make([]int32, n), count: make([]int32, n), load: make([]int64, n),
	}
	e.place = int32(slices.Index(m.parts, partition))
	e.topic = int(m.topicOf(e.place))
	e.allowed = m.allowed(e.topic)
	e.addCounts()
	for _, move := range Plan(in).Moves {
		if move.Partition == partition {
			e.to = move.To
		}
	}
	return e
}

func (e *explainer) addCounts() {
	for i, a := range e.in.Agents {
		e.count[i] = a.OtherPartitions
	}
	var size int32
	for place, i := range e.parts {
		p := e.in.Partitions[i]
		ofTopic := e.first[e.topic] <= int32(place) && int32(place) < e.first[e.topic+1]
		if ofTopic && e.owner[place] != held {
			size++
		}
		if p.Agent < 0 {
			continue
		}
		e.count[p.Agent]++
		e.load[p.Agent] += p.BytesPerSecond
		if ofTopic {
			e.ofTopic[p.Agent]++
		}
		if ofTopic && e.stuck(int32(place)) {
			e.spread.fixed[e.zoneOf[e.owner[place]]]++
		}
	}
	if len(e.agents) > 0 {
		e.spread.bounds(size, e.allowed)
	}
}

func (e *explainer) partition() Partition { return e.in.Partitions[e.parts[e.place]] }

func (e *explainer) of() Topic { return e.in.Topics[e.topics[e.topic]] }

// zone answers what the topic may have in a zone, by name; false: nothing.
func (e *explainer) zone(name string) (z Zone, ok bool) {
	i, found := slices.BinarySearch(e.zones, name)
	if !found || !slices.Contains(e.allowed, int32(i)) {
		return Zone{}, false
	}
	z = Zone{Name: name, Agents: int32(len(e.agentsIn[i])), Least: e.spread.least[i], Most: e.spread.most[i]}
	for _, a := range e.agentsIn[i] {
		z.CapacityBytesPerSecond += capacity(e.in.Agents[e.agents[a]])
		z.Partitions += e.ofTopic[e.agents[a]]
	}
	return z, true
}

func (e *explainer) zonesOfTopic() (all []Zone) {
	for _, i := range e.allowed {
		z, _ := e.zone(e.zones[i])
		all = append(all, z)
	}
	return all
}

func (e *explainer) reasons() (all []string) {
	if len(e.agents) == 0 {
		return []string{"No agent of the agent group is eligible, so the partition stays as it is until one registers or recovers."}
	}
	all = append(all, e.fate())
	if a := e.partition().Agent; a >= 0 && e.owner[e.place] >= 0 {
		all = append(all, e.standing(e.in.Agents[a])...)
	}
	return all
}

// fate says what becomes of the partition.
func (e *explainer) fate() string {
	p := e.partition()
	if p.Agent < 0 {
		return fmt.Sprintf("Nobody is assigned; %s is next to get it.", e.in.Agents[e.to].ID)
	}
	a := e.in.Agents[p.Agent]
	switch {
	case e.owner[e.place] == held:
		return fmt.Sprintf("%s is suspect, and the topic allows buffered acks: what it acknowledged may be in its memory alone, so the partition "+
			"waits until the agent is back or its session ends.", a.ID)
	case a.State != Eligible:
		return fmt.Sprintf("%s %s, so the partition goes to %s.", a.ID, a.State.sentence(), e.in.Agents[e.to].ID)
	case p.Pinned:
		return fmt.Sprintf("An operator pinned it to %s: it stays there while that agent can lead.", a.ID)
	case e.to != Nobody:
		return fmt.Sprintf("It is about to move from %s to %s, which makes the topic's spread or the agents more even.", a.ID, e.in.Agents[e.to].ID)
	}
	return fmt.Sprintf("It is at %s, and no placement is better by the rules below; a move without need would cost a hand-off.", a.ID)
}

// sentence continues one that begins with the agent.
func (s State) sentence() string {
	return map[State]string{
		Eligible: "is eligible",
		Suspect:  "is suspect: it has been silent for too long or refuses connections",
		Draining: "is draining",
		Unfit:    "is unfit: it cannot write to the bucket",
		Ended:    "has no live session",
	}[s]
}

// standing weighs the assigned agent by each rule.
func (e *explainer) standing(a Agent) []string {
	all := []string{e.preference(a)}
	if z, ok := e.zone(a.Zone); ok {
		all = append(all, fmt.Sprintf("Zone %s has %s of the capacity, so it should lead %s of the topic's %d partitions; it leads %d.",
			z.Name, e.partOfCapacity(z), between(z.Least, z.Most), e.first[e.topic+1]-e.first[e.topic], z.Partitions))
	}
	return append(all, e.evenness(a))
}

func (e *explainer) preference(a Agent) string {
	preferred := e.of().PreferredZones
	names := strings.Join(preferred, ", ")
	_, allowed := e.zone(a.Zone)
	switch {
	case len(preferred) == 0:
		return "The topic prefers no zone, so any zone with an eligible agent will do."
	case slices.Contains(preferred, a.Zone):
		return fmt.Sprintf("The topic prefers zone %s, and %s is in %s.", names, a.ID, a.Zone)
	case allowed:
		return fmt.Sprintf("The topic prefers zone %s, where no agent is eligible, so any zone will do.", names)
	}
	return fmt.Sprintf("The topic prefers zone %s, and %s is in %s.", names, a.ID, a.Zone)
}

// partOfCapacity of the zones where the topic may be led.
func (e *explainer) partOfCapacity(z Zone) string {
	all := int64(0)
	for _, other := range e.zonesOfTopic() {
		all += other.CapacityBytesPerSecond
	}
	return fmt.Sprintf("%.3g %%", 100*float64(z.CapacityBytesPerSecond)/float64(all))
}

func between(least, most int32) string {
	if least == most {
		return fmt.Sprint(least)
	}
	return fmt.Sprintf("%d to %d", least, most)
}

// evenness says how the agent compares with others.
func (e *explainer) evenness(a Agent) string {
	i := slices.IndexFunc(e.in.Agents, func(other Agent) bool { return other.ID == a.ID })
	if e.busy {
		mean := e.meanLoad(a.Zone)
		return fmt.Sprintf("%s carries %s of its %s; the mean of its zone would be %s, and within a tenth of that nothing moves.",
			a.ID, bytesPerSecond(e.load[i]), bytesPerSecond(capacity(a)), bytesPerSecond(int64(mean*float64(capacity(a)))))
	}
	b := e.bandOf(a)
	return fmt.Sprintf("%s has %d partitions of all topics; by its capacity %s count as even.", a.ID, e.count[i], between(b.least, b.most))
}

// bandOf is how many partitions an eligible agent may have without being uneven.
func (e *explainer) bandOf(a Agent) band {
	all, capacities := int64(0), int64(0)
	for _, other := range e.in.Agents {
		if other.State == Eligible {
			capacities += capacity(other)
			all += int64(other.OtherPartitions)
		}
	}
	for _, owner := range e.owner {
		if owner != held {
			all++
		}
	}
	return bandAround(all, capacity(a), capacities)
}

// meanLoad of a zone's eligible agents, as a part of their capacity.
func (e *explainer) meanLoad(zone string) float64 {
	load, capacities := int64(0), int64(0)
	for i, a := range e.in.Agents {
		if a.Zone == zone && a.State == Eligible {
			load, capacities = load+e.load[i], capacities+capacity(a)
		}
	}
	return float64(load) / float64(max(capacities, 1))
}

func bytesPerSecond(n int64) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB/s", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB/s", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B/s", n)
}
