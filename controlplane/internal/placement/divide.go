package placement

import "math"

// cost is compared field by field: how uneven seats are, partitions moved.
type cost struct{ uneven, moves int64 }

func (c cost) plus(d cost) cost { return cost{c.uneven + d.uneven, c.moves + d.moves} }

func (c cost) less(d cost) bool {
	if c.uneven != d.uneven {
		return c.uneven < d.uneven
	}
	return c.moves < d.moves
}

// divider divides topics over zones: within the bounds, so that seats are as even as possible.
type divider struct {
	*flow
	// more is by zone what one partition more costs, fewer what one fewer saves.
	more, fewer []int64
	// owed is by zone what rounding has cost it, in units of 1/shareUnit.
	owed []int32
	// cursor remembers by (from, to, class) which topics are known not to fit; again holds by (from, to) those that changed since.
	cursor []int32
	again  [][]int32
}

// divide fills planned and count.
func (f *flow) divide() {
	n := len(f.zones)
	d := &divider{
		flow: f, more: make([]int64, n), fewer: make([]int64, n), owed: make([]int32, n), cursor: make([]int32, n*n*classes), again: make([][]int32, n*n),
	}
	d.start()
	for d.shiftDirectly() || d.shiftAlong() {
	}
}

// start stays as close to what is now as the bounds allow.
func (d *divider) start() {
	for i := range d.planned {
		d.planned[i] = min(max(d.has[i], d.least[i]), d.most[i])
	}
	for t := range d.topics {
		d.even(int32(t))
	}
	total := make([]int32, len(d.zones))
	for seat, z := range d.zone {
		total[z] += d.base[seat]
	}
	for i, n := range d.planned {
		total[i%len(d.zones)] += n
	}
	for z := range d.everywhere {
		d.fill(int32(z), total[z])
		d.reprice(int32(z))
	}
}

// even adds or takes partitions until the topic's zones sum up to its size: where it is farthest from its share. What other topics did
// tells where shares are about equal, so that rounding evens out over the topics.
func (d *divider) even(t int32) {
	missing := d.size(int(t))
	for _, z := range d.everywhere {
		i := d.at(t, z)
		missing -= d.planned[i]
		d.owed[z] += d.share[i] - d.planned[i]*shareUnit
	}
	for ; missing > 0; missing-- {
		d.bump(t, 1, func(i int32) bool { return d.planned[i] < d.most[i] })
	}
	for ; missing < 0; missing++ {
		d.bump(t, -1, func(i int32) bool { return d.planned[i] > d.least[i] })
	}
}

// bump changes the topic's partitions by one in the zone that is owed most (step 1) or least (step -1).
func (d *divider) bump(t, step int32, may func(i int32) bool) {
	best, most := int32(-1), int32(0)
	for _, z := range d.everywhere {
		i := d.at(t, z)
		owed := step * (4*(d.share[i]-d.planned[i]*shareUnit) + d.owed[z])
		if may(i) && (best < 0 || owed > most) {
			best, most = z, owed
		}
	}
	d.planned[d.at(t, best)] += step
	d.owed[best] -= step * shareUnit
}

// reprice says what a change of the zone's total costs.
func (d *divider) reprice(z int32) {
	seat := d.emptiest(z)
	d.more[z], d.fewer[z] = d.price(seat, d.count[seat]+1), math.MinInt64/2
	if seat = d.fullest(z); seat >= 0 {
		d.fewer[z] = d.price(seat, d.count[seat])
	}
}

// shiftDirectly moves one partition of one topic between the two zones where that evens out most.
func (d *divider) shiftDirectly() bool {
	best := int64(0)
	topic, from, to := int32(-1), int32(0), int32(0)
	for a := range d.everywhere {
		for b := range d.everywhere {
			gain := d.fewer[a] - d.more[b]
			if a == b || gain <= best {
				continue
			}
			if t := d.find(int32(a), int32(b)); t >= 0 {
				best, topic, from, to = gain, t, int32(a), int32(b)
			}
		}
	}
	if topic < 0 {
		return false
	}
	d.shift(topic, from, to)
	d.settle(from, to)
	return true
}

// shiftAlong does so over zones between, where no topic fits both ends. The path is a shortest one: no topic is shifted twice on it.
func (d *divider) shiftAlong() bool {
	for a := range d.everywhere {
		before := d.reach(int32(a))
		for b := range d.everywhere {
			if before[b] < 0 || d.fewer[a] <= d.more[b] {
				continue
			}
			for z := int32(b); z != int32(a); z = before[z] {
				d.shift(d.find(before[z], z), before[z], z)
			}
			d.settle(int32(a), int32(b))
			return true
		}
	}
	return false
}

// reach answers for each zone the one before it on a shortest path from this one, or -1.
func (d *divider) reach(from int32) []int32 {
	before := make([]int32, len(d.zones))
	for z := range before {
		before[z] = -1
	}
	queue := []int32{from}
	for len(queue) > 0 {
		a := queue[0]
		queue = queue[1:]
		for _, b := range d.everywhere {
			if b != from && before[b] < 0 && d.find(a, b) >= 0 {
				before[b] = a
				queue = append(queue, b)
			}
		}
	}
	return before
}

// classes of a shift: first by the moves that it takes (it saves one, takes none, takes one), then by whether it brings the topic closer to
// its shares.
const classes = 6

// class answers -1 where the topic cannot give a partition from one zone to the other.
func (d *divider) class(t, from, to int32) int {
	i, j := d.at(t, from), d.at(t, to)
	if d.planned[i] <= d.least[i] || d.planned[j] >= d.most[j] {
		return -1
	}
	class := 2
	if d.planned[i] <= d.has[i] {
		class += 2
	}
	if d.planned[j] < d.has[j] {
		class -= 2
	}
	if (d.planned[i]-d.planned[j])*shareUnit-d.share[i]+d.share[j] < shareUnit {
		class++
	}
	return class
}

// find answers a topic that can give a partition from one zone to the other, of the least class; -1: there is none.
func (d *divider) find(from, to int32) int32 {
	pair := int(from)*len(d.zones) + int(to)
	for class := range classes {
		cursor := &d.cursor[pair*classes+class]
		for ; int(*cursor) < len(d.topics); *cursor++ {
			if d.class(*cursor, from, to) == class {
				return *cursor
			}
		}
	}
	again := d.again[pair]
	for len(again) > 0 && d.class(again[len(again)-1], from, to) < 0 {
		again = again[:len(again)-1]
	}
	d.again[pair] = again
	if len(again) == 0 {
		return -1
	}
	return again[len(again)-1]
}

func (d *divider) shift(t, from, to int32) {
	d.planned[d.at(t, from)]--
	d.planned[d.at(t, to)]++
	for _, a := range d.everywhere {
		for _, b := range d.everywhere {
			if (a == from || a == to || b == from || b == to) && d.class(t, a, b) >= 0 {
				d.again[int(a)*len(d.zones)+int(b)] = append(d.again[int(a)*len(d.zones)+int(b)], t)
			}
		}
	}
}

// settle moves one partition from a seat of one zone to one of the other. Requires: fewer of the one is known.
func (d *divider) settle(from, to int32) {
	d.count[d.fullest(from)]--
	d.count[d.emptiest(to)]++
	d.reprice(from)
	d.reprice(to)
}
