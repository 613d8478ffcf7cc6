package placement

// spread finds how many partitions of a topic each zone should lead.
type spread struct {
	m *model
	// fixed counts by zone the partitions that cannot leave; zones that are not allowed keep just these.
	fixed []int32
	// least and most are the answer.
	least, most []int32
	active      []int32
}

func newSpread(m *model) *spread {
	n := len(m.zones)
	return &spread{m: m, fixed: make([]int32, n), least: make([]int32, n), most: make([]int32, n), active: make([]int32, 0, n)}
}

// bounds divides n partitions over the allowed zones in proportion to their capacity: each gets the floor or the ceiling of its share.
// Two kinds of zone step aside first, and the others share what is left: those whose fixed partitions are more than the share (they get
// no more), and, while there are as many partitions as zones, those whose share is less than one (they get one). What is left to share
// falls with each of them, so that who steps aside once would do so later too: the order is nothing. Some zone always stays.
// Invariants: the sum of least <= n <= the sum of most; fixed <= least.
func (s *spread) bounds(n int32, allowed []int32) {
	copy(s.least, s.fixed)
	copy(s.most, s.fixed)
	for _, fixed := range s.fixed {
		n -= fixed
	}
	for _, z := range allowed {
		n += s.fixed[z]
	}
	s.active = append(s.active[:0], allowed...)
	rest := int64(n)
	for {
		weight := s.weight()
		if s.stepAside(&rest, func(z int32) bool { return int64(s.fixed[z])*weight > rest*s.m.zoneWeight[z] }, nil) {
			continue
		}
		one := int32(1)
		if rest < int64(len(s.active)) ||
			!s.stepAside(&rest, func(z int32) bool { return rest*s.m.zoneWeight[z] < weight }, &one) {
			break
		}
	}
	weight := s.weight()
	for _, z := range s.active {
		share := rest * s.m.zoneWeight[z]
		s.least[z], s.most[z] = int32(share/weight), int32((share+weight-1)/weight)
	}
}

func (s *spread) weight() (sum int64) {
	for _, z := range s.active {
		sum += s.m.zoneWeight[z]
	}
	return sum
}

// stepAside takes the zones out that are as told, each with its fixed partitions or with count. All are judged by the rest before.
func (s *spread) stepAside(rest *int64, is func(z int32) bool, count *int32) bool {
	stay, taken := s.active[:0], int64(0)
	for _, z := range s.active {
		if !is(z) {
			stay = append(stay, z)
			continue
		}
		gets := s.fixed[z]
		if count != nil {
			gets = *count
		}
		s.least[z], s.most[z] = gets, gets
		taken += int64(gets)
	}
	changed := len(stay) < len(s.active)
	s.active = stay
	*rest -= taken
	return changed
}
