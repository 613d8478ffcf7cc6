package placement

// Repair gives every partition without an eligible agent to one, and moves nothing else: what a takeover needs, quickly. Each goes to a zone
// that lacks partitions of its topic, among these to the emptiest; there to the agent that has the least, among these to the one
// with the fewest of the topic. The partitions of a topic that nobody leads yet go to those with the fewest of the topic first: they
// should not all go to an agent that has just joined. Cost: partitions without an agent × agents of a zone.
func Repair(in Input) Result {
	m := newModel(in)
	if len(m.agents) == 0 {
		return Result{Stranded: m.stranded()}
	}
	r := newRepair(m)
	for t := range m.topics {
		r.topic(t)
	}
	return Result{Moves: r.moves}
}

type repair struct {
	*model
	spread   *spread
	count    []int32 // partitions of each agent
	total    []int32 // of each zone
	ofTopic  []int32 // of this topic: of each agent
	assigned []int32 // of this topic: of each zone
	moves    []Move
}

func newRepair(m *model) *repair {
	r := &repair{
		model: m, spread: newSpread(m), count: m.others, total: make([]int32, len(m.zones)),
		ofTopic: make([]int32, len(m.agents)), assigned: make([]int32, len(m.zones)),
	}
	for _, a := range m.owner {
		if a >= 0 {
			r.count[a]++
		}
	}
	for a, n := range r.count {
		r.total[m.zoneOf[a]] += n
	}
	return r
}

func (r *repair) topic(t int) {
	clear(r.ofTopic)
	clear(r.assigned)
	var orphans, led int32
	for place := r.first[t]; place < r.first[t+1]; place++ {
		switch a := r.owner[place]; {
		case a >= 0:
			led++
			r.ofTopic[a]++
			r.assigned[r.zoneOf[a]]++
		case a == orphan:
			orphans++
		}
	}
	if orphans == 0 {
		return
	}
	allowed := r.allowed(t)
	copy(r.spread.fixed, r.assigned)
	r.spread.bounds(led+orphans, allowed)
	for place := r.first[t]; place < r.first[t+1]; place++ {
		if r.owner[place] == orphan {
			r.give(place, r.agent(r.zone(allowed), led == 0))
		}
	}
}

func (r *repair) give(place, a int32) {
	z := r.zoneOf[a]
	r.count[a]++
	r.ofTopic[a]++
	r.total[z]++
	r.assigned[z]++
	i := r.parts[place]
	r.moves = append(r.moves, Move{Partition: i, From: r.in.Partitions[i].Agent, To: r.agents[a]})
}

// zone picks the emptiest of the zones below their least, else of those below their most: the bounds always leave one.
func (r *repair) zone(allowed []int32) int32 {
	best, lacking := int32(-1), false
	for _, z := range allowed {
		lacks := r.assigned[z] < r.spread.least[z]
		if lacking && !lacks || r.assigned[z] >= r.spread.most[z] {
			continue
		}
		if best < 0 || lacks && !lacking || marginal(r.total[z]+1, r.zoneWeight[z]) < marginal(r.total[best]+1, r.zoneWeight[best]) {
			best, lacking = z, lacks
		}
	}
	return best
}

func (r *repair) agent(zone int32, fresh bool) int32 {
	best := r.agentsIn[zone][0]
	for _, a := range r.agentsIn[zone][1:] {
		if r.better(a, best, fresh) {
			best = a
		}
	}
	return best
}

func (r *repair) better(a, b int32, fresh bool) bool {
	if fresh {
		if of, than := marginal(r.ofTopic[a]+1, r.agentWeight[a]), marginal(r.ofTopic[b]+1, r.agentWeight[b]); of != than {
			return of < than
		}
	}
	if of, than := marginal(r.count[a]+1, r.agentWeight[a]), marginal(r.count[b]+1, r.agentWeight[b]); of != than {
		return of < than
	}
	return r.ofTopic[a] < r.ofTopic[b]
}
