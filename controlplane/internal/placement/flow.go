package placement

import "slices"

// cell is the partitions of one topic that one seat has.
type cell struct {
	topic, seat int32
	has         int32 // now
	stuck       int32 // of these, those that cannot leave
	keeps       int32 // in the plan. Invariant: stuck <= keeps <= has.
}

// flow is a placement in the making, by counts: partitions flow from topics over (topic, zone) to seats. What a seat keeps flows through
// cells; what it newly gets, through its zone's pool, where topics do not matter.
// Invariants: the zones of a topic sum up to its partitions, within its bounds; planned = cells + loose; count = base + cells + gains; the
// loose of a zone sum up to the gains of its seats.
type flow struct {
	*model
	*seats

	cells    []cell
	cellsOf  []int32 // of each topic its first cell; one more at the end
	seatCell []int32 // cells by seat
	seatFrom []int32 // of each seat its first place in seatCell; one more at the end

	// By (topic, zone), that is, topic × zones + zone.
	least, most []int32
	share       []int32 // in units of 1/shareUnit
	planned     []int32 // partitions in the plan
	has         []int32 // partitions now
	loose       []int32 // partitions in the plan that no cell keeps
}

func newFlow(m *model, s *seats) *flow {
	pairs := len(m.topics) * len(m.zones)
	f := &flow{
		model: m, seats: s, cellsOf: make([]int32, len(m.topics)+1), seatFrom: make([]int32, len(s.count)+1),
		least: make([]int32, pairs), most: make([]int32, pairs), share: make([]int32, pairs),
		planned: make([]int32, pairs), has: make([]int32, pairs), loose: make([]int32, pairs),
	}
	f.addCells()
	f.indexSeats()
	f.addBounds()
	f.addBands()
	return f
}

// addCells counts; a topic's cells come in the order of its partitions.
func (f *flow) addCells() {
	at := make([]int32, len(f.count)) // one more than the seat's cell, if it is of this topic
	for t := range f.topics {
		from := int32(len(f.cells))
		f.cellsOf[t] = from
		for place := f.first[t]; place < f.first[t+1]; place++ {
			if f.owner[place] < 0 {
				continue
			}
			seat := f.of[f.owner[place]]
			if at[seat] <= from {
				f.cells = append(f.cells, cell{topic: int32(t), seat: seat})
				at[seat] = int32(len(f.cells))
			}
			f.addPartition(&f.cells[at[seat]-1], place)
		}
	}
	f.cellsOf[len(f.topics)] = int32(len(f.cells))
}

func (f *flow) addPartition(c *cell, place int32) {
	c.has++
	f.now[c.seat]++
	f.has[f.at(c.topic, f.zone[c.seat])]++
	if f.stuck(place) {
		c.stuck++
		f.low[c.seat]++
	}
}

func (f *flow) at(topic, zone int32) int32 { return topic*int32(len(f.zones)) + zone }

func (f *flow) indexSeats() {
	f.seatCell = make([]int32, len(f.cells))
	for i := range f.cells {
		f.seatFrom[f.cells[i].seat+1]++
	}
	for seat := range f.seatFrom[1:] {
		f.seatFrom[seat+1] += f.seatFrom[seat]
	}
	next := slices.Clone(f.seatFrom)
	for i := range f.cells {
		seat := f.cells[i].seat
		f.seatCell[next[seat]] = int32(i)
		next[seat]++
	}
}

func (f *flow) addBounds() {
	s := newSpread(f.model)
	for t := range f.topics {
		clear(s.fixed)
		for _, c := range f.cellsOfTopic(t) {
			s.fixed[f.zone[c.seat]] += c.stuck
		}
		s.bounds(f.size(t), f.allowed(t))
		from := f.at(int32(t), 0)
		copy(f.least[from:], s.least)
		copy(f.most[from:], s.most)
		copy(f.share[from:], s.share)
	}
}

func (f *flow) cellsOfTopic(t int) []cell { return f.cells[f.cellsOf[t]:f.cellsOf[t+1]] }

func (f *flow) cellsOfSeat(seat int32) []int32 {
	return f.seatCell[f.seatFrom[seat]:f.seatFrom[seat+1]]
}

// size counts the topic's partitions, without those that wait for a suspect.
func (f *flow) size(t int) (n int32) {
	for _, owner := range f.owner[f.first[t]:f.first[t+1]] {
		if owner != held {
			n++
		}
	}
	return n
}
