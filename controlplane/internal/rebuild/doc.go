// Package rebuild is the rule by which a catalog is made from what lies in the bucket (protocol, section 8). Pure: no I/O, no clock. It knows
// footers, checkpoints and topic descriptions as plain values; package store/postgres keeps them while they come in, and writes what is found.
//
// Of one partition, Follow finds the log. Its candidates are all segments that the footers of the bucket name, in any order: committed ones,
// ones whose commit was refused, ones that were never committed, inputs of compactions beside their outputs. It goes in three steps:
//
//  1. A segment of epoch e that begins at or above the first offset of a later tenure was refused, or would be: it is dropped, also when
//     the later tenure's own first object never arrived, since every footer names the first offset of its tenure.
//  2. From the log start, the segments of a chain begin each where the last one ended. What is left at an offset after step 1 is the same
//     records, however it was compacted, so that any chain is right; the one that reaches furthest is taken, and not the one whose next
//     step is longest: an orphaned compaction may end where nothing goes on, because its inputs were replaced and deleted in another cut.
//  3. The log ends at the first gap. Everything acknowledged is below it, or is lost, and then a checkpoint may know.
//
// Of chains that reach as far the one with the fewest bytes is taken, then the one with the fewest segments. That prefers what key compaction
// has left to what it began with: else a tombstone that is gone from one segment would miss the value that it deleted in an older form of
// another, and the value would come back.
//
// Topics says which topics there are, and Replay where producers stand.
//
// Promises: P9; P1 and P2 through it. TestP9_RandomHistories holds all of it against histories in which every record's fate is known.
// Read: follow.go, topic.go, replay.go.
package rebuild
