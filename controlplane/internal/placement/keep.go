package placement

// keep decides by counts which partitions stay, so that neither a zone nor a seat keeps more than it should. First those leave that a
// topic has too many of in a zone, from its fullest seat; then those that a seat has too many of, where it has most of a topic. Greedy;
// improve does the rest.
func (f *flow) keep() {
	for i := range f.cells {
		f.cells[i].keeps = f.cells[i].has
	}
	for t := range f.topics {
		for z := range f.everywhere {
			at := f.at(int32(t), int32(z))
			for n := f.has[at] - f.planned[at]; n > 0; n-- {
				f.release(t, int32(z))
			}
		}
	}
	f.refill()
	for seat, now := range f.now {
		f.thin(f.cellsOfSeat(int32(seat)), now-f.count[seat])
	}
	f.balanceBooks()
}

// release takes one of the topic's partitions from the zone.
func (f *flow) release(t int, zone int32) {
	var best *cell
	for i := f.cellsOf[t]; i < f.cellsOf[t+1]; i++ {
		c := &f.cells[i]
		if f.zone[c.seat] == zone && c.keeps > c.stuck && (best == nil ||
			marginal(f.now[c.seat], f.weight[c.seat]) > marginal(f.now[best.seat], f.weight[best.seat])) {
			best = c
		}
	}
	best.keeps--
	f.now[best.seat]--
}

// refill divides the zones' totals again: from what is left now.
func (f *flow) refill() {
	total := make([]int32, len(f.zones))
	for seat, z := range f.zone {
		total[z] += f.count[seat]
	}
	for z, n := range total {
		f.fill(int32(z), n)
	}
}

// thin takes n partitions from a seat's cells, always from the topics of which it has most.
func (f *flow) thin(cells []int32, n int32) {
	for n > 0 {
		most, next := f.greatest(cells)
		for _, i := range cells {
			if c := &f.cells[i]; c.keeps == most && c.keeps > c.stuck {
				take := min(most-next, c.keeps-c.stuck, n)
				c.keeps -= take
				n -= take
			}
		}
	}
}

// greatest answers the greatest number that one of these keeps and may lose, and a lower level to which all of that number may fall.
func (f *flow) greatest(cells []int32) (most, next int32) {
	for _, i := range cells {
		c := f.cells[i]
		switch {
		case c.keeps == c.stuck:
		case c.keeps > most:
			most, next = c.keeps, most
		case c.keeps < most:
			next = max(next, c.keeps)
		}
	}
	return most, min(next, most-1)
}

// balanceBooks computes what flows past the cells.
func (f *flow) balanceBooks() {
	copy(f.loose, f.planned)
	for seat := range f.gains {
		f.gains[seat] = f.count[seat] - f.base[seat]
	}
	for _, c := range f.cells {
		f.loose[f.at(c.topic, f.zone[c.seat])] -= c.keeps
		f.gains[c.seat] -= c.keeps
	}
}
