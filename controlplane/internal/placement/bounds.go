package placement

// spread finds how many partitions of a topic each zone should lead.
type spread struct {
	m *model
	// fixed counts by zone the partitions that cannot leave; zones that are not allowed keep just these.
	fixed []int32
	// least and most are the answer, and the exact share between them in units of 1/shareUnit.
	least, most, share []int32
	active             []int32
}

// shareUnit: a million partitions fit in an int32.
const shareUnit = 1 << 8

func newSpread(m *model) *spread {
	n := len(m.zones)
	return &spread{m: m, fixed: make([]int32, n), least: make([]int32, n), most: make([]int32, n), share: make([]int32, n), active: make([]int32, 0, n)}
}

// bounds divides n partitions over the allowed zones in proportion to their capacity: each gets the floor or the ceiling of its share.
// Two kinds of zone step aside first, and the others share what is left: those whose fixed partitions are more than the share (they get
// no more), and, while there are enough others for every zone that has none fixed, those whose share is less than one (they get one).
// What is left to share falls with each of them, so that who steps aside once would do so later too: the order is nothing.
// Invariants: the sum of least <= n <= the sum of most; fixed <= least.
func (s *spread) bounds(n int32, allowed []int32) {
	copy(s.least, s.fixed)
	rest, empty := int64(n), int64(0)
	for _, fixed := range s.fixed {
		rest -= int64(fixed)
	}
	for _, z := range allowed {
		if s.fixed[z] == 0 {
			empty++
		}
	}
	enough := rest >= empty
	for _, z := range allowed {
		rest += int64(s.fixed[z])
	}
	s.active = append(s.active[:0], allowed...)
	for s.stepAside(&rest, enough) {
	}
	copy(s.most, s.least)
	for z, n := range s.least {
		s.share[z] = n * shareUnit
	}
	weight := s.weight()
	for _, z := range s.active {
		share := rest * s.m.zoneWeight[z]
		s.least[z], s.most[z] = int32(share/weight), int32((share+weight-1)/weight)
		s.share[z] = int32(share * shareUnit / weight)
	}
}

// stepAside takes zones out of those that share the rest; all are judged by the rest before.
func (s *spread) stepAside(rest *int64, enough bool) bool {
	stay, left, weight := s.active[:0], *rest, s.weight()
	for _, z := range s.active {
		share := *rest * s.m.zoneWeight[z] // times weight
		switch {
		case int64(s.fixed[z])*weight > share:
			s.least[z] = s.fixed[z]
			left -= int64(s.fixed[z])
		case enough && share < weight:
			s.least[z] = 1
			left--
		default:
			stay = append(stay, z)
		}
	}
	changed := len(stay) < len(s.active)
	s.active, *rest = stay, left
	return changed
}

func (s *spread) weight() (sum int64) {
	for _, z := range s.active {
		sum += s.m.zoneWeight[z]
	}
	return sum
}
