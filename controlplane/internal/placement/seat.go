package placement

import (
	"math/bits"
	"slices"
)

// seats are among whom partitions are divided by counts: the agents; or whole zones, where load decides within.
type seats struct {
	of      []int32   // of each agent
	members [][]int32 // of each zone

	// Of each seat:
	zone   []int32
	weight []int64
	base   []int32 // partitions that are not in the Input
	low    []int32 // partitions that cannot leave, base included
	now    []int32 // partitions now, base included, without those that have been released
	count  []int32 // partitions in the plan, base included
	gains  []int32 // partitions in the plan that it does not have now
	band   []band
}

// band is how many partitions a seat may have without being uneven.
type band struct{ least, most int32 }

// slack is the part of its share that a seat may have more or fewer: two seats differ by at most about a tenth.
const slack = 20

func (m *model) agentSeats() *seats {
	of := make([]int32, len(m.agents))
	for a := range of {
		of[a] = int32(a)
	}
	return newSeats(of, m.agentsIn, m.zoneOf, m.agentWeight, m.others)
}

func (m *model) zoneSeats() *seats {
	base, members := make([]int32, len(m.zones)), make([][]int32, len(m.zones))
	for a, z := range m.zoneOf {
		base[z] += m.others[a]
	}
	for z := range members {
		members[z] = m.everywhere[z : z+1]
	}
	return newSeats(m.zoneOf, members, m.everywhere, m.zoneWeight, base)
}

func newSeats(of []int32, members [][]int32, zone []int32, weight []int64, base []int32) *seats {
	n := len(zone)
	return &seats{
		of: of, members: members, zone: zone, weight: weight, base: base, low: slices.Clone(base), now: slices.Clone(base),
		count: make([]int32, n), gains: make([]int32, n), band: make([]band, n),
	}
}

// addBands: a seat's share of all partitions is in proportion to its weight.
func (f *flow) addBands() {
	all, weight := int64(0), int64(0)
	for seat, w := range f.weight {
		weight += w
		all += int64(f.base[seat])
	}
	for t := range f.topics {
		all += int64(f.size(t))
	}
	for seat, w := range f.weight {
		f.band[seat] = bandAround(all, w, weight)
	}
}

// bandAround is the band of who has a part of a weight, where there are all partitions.
func bandAround(all, part, weight int64) band {
	hi, lo := bits.Mul64(uint64(all), uint64(part))
	share, rest := bits.Div64(hi, lo, uint64(weight)) // part <= weight: no overflow
	spare := int32(share / slack)
	least, most := int32(share), int32(share)
	if rest > 0 {
		most++
	}
	return band{least - spare, most + spare}
}

// price is what the seat's k-th partition costs. Within the band nothing; outside more and more, by the number relative to the weight.
func (s *seats) price(seat, k int32) int64 {
	w, b := s.weight[seat], s.band[seat]
	switch {
	case k <= b.least:
		return marginal(k, w) - marginal(b.least+1, w)
	case k > b.most:
		return marginal(k, w) - marginal(b.most, w)
	}
	return 0
}

// emptiest is the seat of the zone that should get the next partition: by price, then one that has it already, then by number relative
// to weight.
func (s *seats) emptiest(z int32) int32 {
	best := s.members[z][0]
	for _, seat := range s.members[z][1:] {
		if s.emptier(seat, best) {
			best = seat
		}
	}
	return best
}

func (s *seats) emptier(i, j int32) bool {
	k, l := s.count[i]+1, s.count[j]+1
	if a, b := s.price(i, k), s.price(j, l); a != b {
		return a < b
	}
	if a, b := s.now[i] >= k, s.now[j] >= l; a != b {
		return a
	}
	return marginal(k, s.weight[i]) < marginal(l, s.weight[j])
}

// fullest is the seat of the zone that should give one up, likewise; -1: none can.
func (s *seats) fullest(z int32) int32 {
	best := int32(-1)
	for _, seat := range s.members[z] {
		if s.count[seat] > s.low[seat] && (best < 0 || s.fuller(seat, best)) {
			best = seat
		}
	}
	return best
}

func (s *seats) fuller(i, j int32) bool {
	k, l := s.count[i], s.count[j]
	if a, b := s.price(i, k), s.price(j, l); a != b {
		return a > b
	}
	if a, b := s.now[i] < k, s.now[j] < l; a != b {
		return a
	}
	return marginal(k, s.weight[i]) > marginal(l, s.weight[j])
}

// fill divides a zone's total over its seats: starting from what they have, with no more change than the total and the prices want.
func (s *seats) fill(z, total int32) {
	if s.stays(z, total) {
		return
	}
	rest := s.start(z, total)
	s.level(z, total, rest >= 0)
	for _, seat := range s.members[z] {
		total -= s.count[seat]
	}
	for ; total > 0; total-- {
		s.count[s.emptiest(z)]++
	}
	for ; total < 0; total++ {
		s.count[s.fullest(z)]--
	}
	for s.exchange(z) {
	}
}

// stays sets the counts to what the seats have, and says whether nothing is better: so what was planned once is left alone.
func (s *seats) stays(z, total int32) bool {
	for _, seat := range s.members[z] {
		s.count[seat] = s.now[seat]
		total -= s.now[seat]
	}
	from, to := s.fullest(z), s.emptiest(z)
	return total == 0 && (from < 0 || s.price(from, s.count[from]) <= s.price(to, s.count[to]+1))
}

// start sets the counts to what the seats have, as far as it is within their bands, and answers how much is missing to the total.
func (s *seats) start(z, total int32) (missing int32) {
	for _, seat := range s.members[z] {
		b := s.band[seat]
		s.count[seat] = max(s.low[seat], b.least, min(s.now[seat], b.most))
		total -= s.count[seat]
	}
	return total
}

// level does most of fill at once: it raises the emptiest, or lowers the fullest, to one level that does not pass the total.
func (s *seats) level(z, total int32, raise bool) {
	weight, start := int64(0), make([]int32, 0, len(s.members[z]))
	for _, seat := range s.members[z] {
		weight += s.weight[seat]
		start = append(start, s.count[seat])
	}
	at := func(level int64) (sum int64) {
		for i, seat := range s.members[z] {
			if share := int32(level * s.weight[seat] / weight); raise {
				s.count[seat] = max(start[i], share)
			} else {
				s.count[seat] = max(s.low[seat], min(start[i], share))
			}
			sum += int64(s.count[seat])
		}
		return sum
	}
	low, high := int64(0), int64(total)+1 // the level at low does not pass
	for high-low > 1 {
		if middle := (low + high) / 2; at(middle) <= int64(total) {
			low = middle
		} else {
			high = middle
		}
	}
	at(low)
}

// exchange makes one improvement between two seats of the zone.
func (s *seats) exchange(z int32) bool {
	from, to := s.fullest(z), s.emptiest(z)
	if from < 0 || s.price(from, s.count[from]) <= s.price(to, s.count[to]+1) {
		return false
	}
	s.count[from]--
	s.count[to]++
	return true
}
