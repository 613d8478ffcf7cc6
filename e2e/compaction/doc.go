// Package compaction proves on a whole system that compaction is seen by nobody: readers from the start, from the tail and of a catalog that changes
// under them get every record at its offset, while objects are rewritten, deleted, and agents die in the middle of it.
// Here are tests only.
package compaction
