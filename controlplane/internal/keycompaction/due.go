// Package keycompaction decides when a partition is compacted by key again, and how far. It is a pure function: the store looks, agents do the work.
//
// A pass goes through all of the partition, so it costs as much as is clean already; what it can gain is in what is dirty. So one is due when as much
// is dirty as was clean after the last one: on average each byte that is stored is read and written about twice more. Passes over little data
// cost requests rather than bytes: they keep a distance in time.
package keycompaction

// plenty is as much dirty data as is worth a pass at once.
const plenty = 8 << 20

// State is a partition as it was looked at.
type State struct {
	// CleanEnd is the first offset that is dirty, CleanBytes what is below; 0: there was no pass.
	CleanEnd, CleanBytes int64
	// DirtyEnd is how far the next pass may go, and DirtyBytes what it has until there; at most CleanEnd: nothing.
	DirtyEnd, DirtyBytes int64
	// Tombstones that the last pass has left.
	Tombstones int64
	// HorizonOffset: tombstones below it may go, if HorizonPassed.
	HorizonOffset int64
	HorizonPassed bool
	// Rested: the last pass was long enough ago.
	Rested bool
}

// Pass is what is to be done.
type Pass struct {
	CleanEnd, End, DropTombstonesBelow int64
}

// Due answers the next pass. False: it is not due.
func Due(s State) (Pass, bool) {
	pass := Pass{CleanEnd: s.CleanEnd, End: max(s.CleanEnd, s.DirtyEnd)}
	if s.HorizonPassed {
		pass.DropTombstonesBelow = min(s.HorizonOffset, s.CleanEnd)
	}
	dirty := s.DirtyEnd > s.CleanEnd && s.DirtyBytes >= s.CleanBytes
	old := s.Tombstones > 0 && pass.DropTombstonesBelow > 0
	return pass, (dirty && s.DirtyBytes >= plenty) || ((dirty || old) && s.Rested)
}
