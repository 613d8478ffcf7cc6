package placement

// effort bounds improve: so many arcs are looked at for each (topic, zone), cell and seat, and at least. Plans of up to about a thousand
// partitions are always optimal.
const (
	leastEffort = 4 << 20
	effortEach  = 30
)

// kind is what one partition more along an arc of the residual network does.
type kind int32

const (
	toZone     kind = iota // the topic has one more in the zone
	fromZone               // one fewer
	toPool                 // one more of the topic in the zone is kept by nobody
	fromPool               // one fewer
	toSeat                 // the seat gains one more
	fromSeat               // one fewer
	intoAll                // the seat has one more
	outOfAll               // one fewer
	keepOne                // the cell keeps one more
	releaseOne             // one fewer
)

// arc is a kind and, for keepOne and releaseOne, a cell.
type arc struct {
	from int32
	kind kind
	cell int32
}

// improver looks for negative cycles in the residual network of the flow: what they cost is what they change. Once there is none, the plan
// is optimal in all of cost, that is, has the fewest moves, since the evenness is optimal from the start.
// Nodes in order: (topic, zone); topics; seats; pools of zones; all.
type improver struct {
	*flow
	topicNode, seatNode, poolNode, allNode int32

	dist    []cost
	by      []arc // how the node was reached last; from is -1 for none
	queued  []bool
	queue   []int32
	effort  int
	visited []int32
}

func (f *flow) improve() {
	topicNode := int32(len(f.planned))
	seatNode := topicNode + int32(len(f.topics))
	poolNode := seatNode + int32(len(f.count))
	p := &improver{flow: f, topicNode: topicNode, seatNode: seatNode, poolNode: poolNode, allNode: poolNode + int32(len(f.zones))}
	n := int(p.allNode) + 1
	p.dist, p.by, p.queued, p.visited = make([]cost, n), make([]arc, n), make([]bool, n), make([]int32, n)
	p.effort = max(leastEffort, effortEach*(n+len(f.cells)))
	for p.effort > 0 && p.search() {
	}
}

// search is Bellman and Ford's, from all nodes at once, round by round; it applies the cycles that it finds. False: there is none.
func (p *improver) search() bool {
	clear(p.dist)
	p.queue = p.queue[:0]
	for n := range p.by {
		p.by[n].from = -1
		p.queued[n] = true
		p.queue = append(p.queue, int32(n))
	}
	for len(p.queue) > 0 && p.effort > 0 {
		round := p.queue
		p.queue = make([]int32, 0, len(round)/4)
		for _, n := range round {
			p.queued[n] = false
			p.relaxFrom(n)
		}
		if p.applyCycles() {
			return true
		}
	}
	return false
}

func (p *improver) relax(from, to int32, c cost, kind kind, cell int32) {
	p.effort--
	d := p.dist[from].plus(c)
	if !d.less(p.dist[to]) {
		return
	}
	p.dist[to], p.by[to] = d, arc{from, kind, cell}
	if !p.queued[to] {
		p.queued[to] = true
		p.queue = append(p.queue, to)
	}
}

func (p *improver) relaxFrom(n int32) {
	switch {
	case n < p.topicNode:
		p.fromPair(n)
	case n < p.seatNode:
		p.fromTopic(n, n-p.topicNode)
	case n < p.poolNode:
		p.fromSeat(n, n-p.seatNode)
	case n < p.allNode:
		p.fromPool(n, n-p.poolNode)
	default:
		p.fromAll(n)
	}
}

func (p *improver) fromPair(n int32) {
	zones := int32(len(p.zones))
	t, z := n/zones, n%zones
	if p.planned[n] > p.least[n] {
		p.relax(n, p.topicNode+t, cost{}, fromZone, 0)
	}
	p.relax(n, p.poolNode+z, cost{}, toPool, 0)
	for i := p.cellsOf[t]; i < p.cellsOf[t+1]; i++ {
		if c := &p.cells[i]; p.zone[c.seat] == z && c.keeps < c.has {
			p.relax(n, p.seatNode+c.seat, cost{moves: -1}, keepOne, i)
		}
	}
}

func (p *improver) fromTopic(n, t int32) {
	for i := p.at(t, 0); i < p.at(t+1, 0); i++ {
		if p.planned[i] < p.most[i] {
			p.relax(n, i, cost{}, toZone, 0)
		}
	}
}

func (p *improver) fromSeat(n, seat int32) {
	z := p.zone[seat]
	if p.gains[seat] > 0 {
		p.relax(n, p.poolNode+z, cost{}, fromSeat, 0)
	}
	p.relax(n, p.allNode, cost{uneven: p.price(seat, p.count[seat]+1)}, intoAll, 0)
	for _, i := range p.cellsOfSeat(seat) {
		if c := &p.cells[i]; c.keeps > c.stuck {
			p.relax(n, p.at(c.topic, z), cost{moves: 1}, releaseOne, i)
		}
	}
}

func (p *improver) fromPool(n, z int32) {
	for _, seat := range p.members[z] {
		p.relax(n, p.seatNode+seat, cost{}, toSeat, 0)
	}
	for i := z; i < p.topicNode; i += int32(len(p.zones)) {
		if p.loose[i] > 0 {
			p.relax(n, i, cost{}, fromPool, 0)
		}
	}
}

func (p *improver) fromAll(n int32) {
	for seat := range p.count {
		if i := int32(seat); p.count[i] > p.low[i] {
			p.relax(n, p.seatNode+i, cost{uneven: -p.price(i, p.count[i])}, outOfAll, 0)
		}
	}
}

// applyCycles applies every cycle among the arcs by which nodes were reached last. Each of them is negative; they share no node.
func (p *improver) applyCycles() (found bool) {
	clear(p.visited)
	for n := range p.by {
		start := int32(n) + 1 // marks this walk
		at := int32(n)
		for at >= 0 && p.visited[at] == 0 {
			p.visited[at] = start
			at = p.by[at].from
		}
		if at >= 0 && p.visited[at] == start {
			p.applyCycle(at)
			found = true
		}
	}
	p.effort -= len(p.by)
	return found
}

func (p *improver) applyCycle(start int32) {
	for at := start; ; {
		by := p.by[at]
		p.apply(by, at)
		if at = by.from; at == start {
			return
		}
	}
}

func (p *improver) apply(by arc, to int32) {
	switch by.kind {
	case toZone:
		p.planned[to]++
	case fromZone:
		p.planned[by.from]--
	case toPool:
		p.loose[by.from]++
	case fromPool:
		p.loose[to]--
	case toSeat:
		p.gains[to-p.seatNode]++
	case fromSeat:
		p.gains[by.from-p.seatNode]--
	case intoAll:
		p.count[by.from-p.seatNode]++
	case outOfAll:
		p.count[to-p.seatNode]--
	case keepOne:
		p.cells[by.cell].keeps++
	case releaseOne:
		p.cells[by.cell].keeps--
	}
}
