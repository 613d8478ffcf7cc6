package store

import "context"

// Retention removes what topics keep no longer. In two steps, which anybody may repeat or leave half done: log starts are raised, each
// under its partition's lock for one short statement; then what lies below them is removed, under locks that no commit waits for. While the
// catalog is halted or not verified both do nothing. For package retention alone.
type Retention interface {
	// RaiseLogStarts looks at a bounded page of partitions after the cursor and raises the log starts of those that have more than the bounds
	// of their topics allow: to the beginning of a segment, or to the high watermark, never beyond it (P1, P8).
	RaiseLogStarts(ctx context.Context, after RetentionCursor) (RaisedPage, error)
	// RemoveBelowLogStarts removes a bounded number of segments that lie wholly below their partition's log start, and their references to objects.
	RemoveBelowLogStarts(ctx context.Context, after RetentionCursor) (RemovedPage, error)
}

// RetentionCursor is a place in the order of all partitions. The zero value is the beginning.
type RetentionCursor struct{ PartitionID int64 }

// RaisedPage is what a page of the first step came to.
type RaisedPage struct {
	// Partitions whose log start was raised.
	Partitions int
	// Next is where the next page begins; nil: there is none, or another replica is at work.
	Next *RetentionCursor
}

// RemovedPage is what a page of the second step came to.
type RemovedPage struct {
	// Segments that were removed, Bytes what they had.
	Segments int
	Bytes    int64
	// Next is where the next page begins; nil: there is none, or another replica is at work.
	Next *RetentionCursor
}
