package placement

// placer turns counts into moves: which partitions leave a cell, and which agent gets which of those that nobody keeps.
type placer struct {
	*flow
	ofTopic []int32 // of this topic: partitions of each agent
	keeps   []int32 // of this topic: partitions that each agent may still keep
	free    []int32 // of this topic: places in parts that nobody keeps
	moves   []Move
}

func (f *flow) place() []Move {
	p := &placer{flow: f, ofTopic: make([]int32, len(f.agents)), keeps: make([]int32, len(f.agents))}
	for t := range f.topics {
		p.topic(t)
	}
	return p.moves
}

func (p *placer) topic(t int) {
	p.release(t)
	for z := range p.zones {
		for range p.loose[p.at(int32(t), int32(z))] {
			p.give(int32(z))
		}
	}
}

// release finds what nobody keeps. Of a cell those of the least numbers stay, after those that must.
func (p *placer) release(t int) {
	clear(p.ofTopic)
	clear(p.keeps)
	p.free = p.free[:0]
	for _, c := range p.cellsOfTopic(t) {
		p.ofTopic[c.seat], p.keeps[c.seat] = c.keeps, c.keeps-c.stuck
	}
	for place := p.first[t]; place < p.first[t+1]; place++ {
		switch a := p.owner[place]; {
		case a == held || a >= 0 && p.stuck(place):
		case a >= 0 && p.keeps[a] > 0:
			p.keeps[a]--
		default:
			p.free = append(p.free, place)
		}
	}
}

// give gives the next free partition to an agent of the zone that gains: to one with the fewest of the topic, among these to the one that
// gains most.
func (p *placer) give(zone int32) {
	best := int32(-1)
	for _, a := range p.agentsIn[zone] {
		if p.gains[a] > 0 && (best < 0 || p.ofTopic[a] < p.ofTopic[best] || p.ofTopic[a] == p.ofTopic[best] && p.gains[a] > p.gains[best]) {
			best = a
		}
	}
	place := p.free[0]
	p.free = p.free[1:]
	p.gains[best]--
	p.ofTopic[best]++
	if p.owner[place] != best {
		i := p.parts[place]
		p.moves = append(p.moves, Move{Partition: i, From: p.in.Partitions[i].Agent, To: p.agents[best]})
	}
}
