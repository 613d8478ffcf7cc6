// Package placement decides which agent leads which partition. Pure: agents, topics and partitions of one agent group in, moves out.
//
// Not here: SQL, who counts as suspect or ended, when moves are made and how many at once.
// Promises: none; a bad choice is slow, never wrong.
// Read: input.go, model.go; bounds.go, repair.go, choose.go.
package placement
