// Package compaction decides which objects are to be rewritten as few large ones, and whether what came of it may take their place.
// Both are pure functions: what is there in, what is to be done out. Nothing here does I/O; the store asks, agents do the copying.
//
// # Levels
//
// An object that a commit made is of level 0; what compaction writes is one level above what it read, and nothing of level Levels is read again.
// So every byte is written at most 1 + Levels times, whatever the load. Each level joins segments of the same partition: at level 0 of
// objects that one agent wrote one after the other, each of which has a little of all that it leads; above it of objects that hold the same partitions,
// because what compaction writes is sorted by partition and one object holds only some of them. So objects above level 0 are taken where most of them hold one
// and the same partition (depth), those first that begin with the same one: taking them by age would join little. A job gets as many as it takes to make long
// segments, or to fill an object, and no more.
//
//	level 0      level 1                 level 2
//	abcd, abcd   aabb ccdd  aabb ccdd    aaaa bbbb cccc dddd
//
// An object whose segments are long already is left as it is, and so are one that has waited in vain for others of its partitions and
// one that could not be compacted (Level.Finish): nothing is planned for ever.
//
// Promises: P1, P2 in part: what takes the place of segments covers the same offsets with the same bytes (Replaces).
//
// Read: plan.go, alike.go, depth.go, replace.go.
package compaction
