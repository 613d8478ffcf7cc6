package placement

import (
	"cmp"
	"slices"
)

const (
	// idleBytesPerSecond is what a partition weighs at least: an idle one costs its agent something, too.
	idleBytesPerSecond = 64 << 10
	// idlePart of the mean is the other least weight, so that many idle partitions do not all count for nothing beside a few busy ones.
	idlePart = 4
	// tolerated deviation from the zone's mean load, as its part; who is beyond makes the zone even to within settledPart.
	toleratedPart, settledPart = 10, 20
	// a move must lessen the greater load of the two by so large a part of what it moves, and of what the busier one is above the mean.
	clearPartOfMoved, clearPartOfExcess = 4, 50
	// relativeBits is the precision of load relative to weight.
	relativeBits = 10
)

// loads balances agents within zones by observed load. The zones' parts of each topic are given, by a flow among zones.
type loads struct {
	*flow
	idle   int64     // what a partition weighs at least
	agent  []int32   // of each place in parts: the planned agent
	load   []int64   // of each agent, in bytes per second
	having [][]int32 // of each agent: places that may leave
	moved  []int32   // scratch: places without an agent
}

// idleWeight is what each partition weighs at least.
func (m *model) idleWeight() int64 {
	all, n := int64(0), int64(0)
	for place, i := range m.parts {
		if m.owner[place] != held {
			all, n = all+m.in.Partitions[i].BytesPerSecond, n+1
		}
	}
	return max(idleBytesPerSecond, all/max(n, 1)/idlePart)
}

// busy says whether some partition weighs more than an idle one; else load is the same as number.
func (m *model) busy() bool {
	idle := m.idleWeight()
	for place, i := range m.parts {
		if m.owner[place] != held && m.in.Partitions[i].BytesPerSecond > idle {
			return true
		}
	}
	return false
}

// balance turns a flow among zones into moves.
func (f *flow) balance() []Move {
	l := &loads{flow: f, idle: f.idleWeight(), agent: slices.Clone(f.owner), load: make([]int64, len(f.agents)), having: make([][]int32, len(f.agents))}
	l.start()
	for t := range f.topics {
		l.release(t)
	}
	l.giveAll()
	l.index()
	for z := range f.zones {
		l.even(int32(z))
	}
	return l.moves()
}

func (l *loads) weigh(place int32) int64 {
	return max(l.idle, l.in.Partitions[l.parts[place]].BytesPerSecond)
}

func (l *loads) start() {
	for a, n := range l.others {
		l.load[a] = int64(n) * l.idle
	}
	for place, a := range l.agent {
		if a >= 0 {
			l.load[a] += l.weigh(int32(place))
		}
	}
}

// relative is an agent's load relative to its weight, if it had so much more.
func (l *loads) relative(a int32, more int64) int64 {
	return (l.load[a] + more) << relativeBits / l.agentWeight[a]
}

// release takes from zones what they have too many of a topic, from their busiest agents.
func (l *loads) release(t int) {
	for _, c := range l.cellsOfTopic(t) {
		for range c.has - c.keeps {
			best := int32(-1)
			for place := l.first[t]; place < l.first[t+1]; place++ {
				if l.leaves(place, c.seat) && (best < 0 || l.relative(l.agent[place], 0) > l.relative(l.agent[best], 0)) {
					best = place
				}
			}
			l.load[l.agent[best]] -= l.weigh(best)
			l.agent[best] = orphan
		}
	}
	for place := l.first[t]; place < l.first[t+1]; place++ {
		if l.agent[place] == orphan {
			l.moved = append(l.moved, place)
		}
	}
}

func (l *loads) leaves(place, zone int32) bool {
	a := l.agent[place]
	return a >= 0 && l.zoneOf[a] == zone && !l.stuck(place)
}

// giveAll gives what nobody keeps to zones that planned it: the heaviest first, each to the agent that is the least busy with it. Those without
// observed load come last, and keep apart from others of their topic first.
func (l *loads) giveAll() {
	slices.SortStableFunc(l.moved, func(i, j int32) int {
		if a, b := l.unobserved(i), l.unobserved(j); a != b {
			if a {
				return 1
			}
			return -1
		}
		return cmp.Compare(l.weigh(j), l.weigh(i))
	})
	ofTopic, last := make([]int32, len(l.agents)), int32(-1)
	for _, place := range l.moved {
		t := l.topicOf(place)
		if l.unobserved(place) && t != last {
			l.ofAgents(t, ofTopic)
			last = t
		}
		a := l.give(place, t, ofTopic)
		ofTopic[a]++
	}
}

func (l *loads) unobserved(place int32) bool {
	return l.in.Partitions[l.parts[place]].BytesPerSecond == 0
}

// ofAgents counts the topic's partitions by agent.
func (l *loads) ofAgents(t int32, counts []int32) {
	clear(counts)
	for _, a := range l.agent[l.first[t]:l.first[t+1]] {
		if a >= 0 {
			counts[a]++
		}
	}
}

func (l *loads) give(place, t int32, ofTopic []int32) int32 {
	weight, apart := l.weigh(place), l.unobserved(place)
	best := int32(-1)
	for z, agents := range l.agentsIn {
		if l.loose[l.at(t, int32(z))] == 0 {
			continue
		}
		for _, a := range agents {
			if best < 0 || l.fitter(a, best, weight, apart, ofTopic) {
				best = a
			}
		}
	}
	l.loose[l.at(t, l.zoneOf[best])]--
	l.agent[place] = best
	l.load[best] += weight
	return best
}

func (l *loads) fitter(a, b int32, weight int64, apart bool, ofTopic []int32) bool {
	if i, j := marginal(ofTopic[a]+1, l.agentWeight[a]), marginal(ofTopic[b]+1, l.agentWeight[b]); apart && i != j {
		return i < j
	}
	return l.relative(a, weight) < l.relative(b, weight)
}

func (l *loads) index() {
	for place, a := range l.agent {
		if a >= 0 && !l.stuck(int32(place)) {
			l.having[a] = append(l.having[a], int32(place))
		}
	}
}

// even moves partitions within a zone: if an agent deviates by more than is tolerated from the mean, from the busiest agent that a move helps to
// the least busy one, until all are settled or no move makes things clearly better. Every move lessens the greater load of the
// two, so that it ends, and where it ended it begins with nothing to do.
func (l *loads) even(zone int32) {
	mean, tolerated := l.mean(zone), int64(toleratedPart)
	for range len(l.parts) {
		order := slices.Clone(l.agentsIn[zone])
		slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(l.relative(b, 0), l.relative(a, 0)) })
		busiest, least := l.relative(order[0], 0), l.relative(order[len(order)-1], 0)
		if max(busiest-mean, mean-least) <= mean/tolerated || !l.help(order, mean) {
			return
		}
		tolerated = settledPart
	}
}

func (l *loads) mean(zone int32) int64 {
	load, weight := int64(0), int64(0)
	for _, a := range l.agentsIn[zone] {
		load, weight = load+l.load[a], weight+l.agentWeight[a]
	}
	return load << relativeBits / weight
}

// help moves one partition from the busiest agent for which that is clearly better.
func (l *loads) help(order []int32, mean int64) bool {
	to := order[len(order)-1]
	for _, from := range order {
		if l.relative(from, 0) <= mean {
			return false
		}
		if i := l.best(from, to, mean); i >= 0 {
			place := l.having[from][i]
			l.having[from] = slices.Delete(l.having[from], i, i+1)
			l.having[to] = append(l.having[to], place)
			l.load[from] -= l.weigh(place)
			l.load[to] += l.weigh(place)
			l.agent[place] = to
			return true
		}
	}
	return false
}

// best answers which of an agent's partitions makes the two most even; -1: none makes it clearly better.
func (l *loads) best(from, to int32, mean int64) int {
	now := l.relative(from, 0)
	best, least := -1, now-(now-mean)/clearPartOfExcess
	for i, place := range l.having[from] {
		weight := l.weigh(place)
		without := l.relative(from, -weight)
		greater := max(without, l.relative(to, weight))
		if greater < least && now-greater >= (now-without)/clearPartOfMoved {
			best, least = i, greater
		}
	}
	return best
}

func (l *loads) moves() (moves []Move) {
	for place, to := range l.agent {
		if to >= 0 && to != l.owner[place] {
			i := l.parts[place]
			moves = append(moves, Move{Partition: i, From: l.in.Partitions[i].Agent, To: l.agents[to]})
		}
	}
	return moves
}
