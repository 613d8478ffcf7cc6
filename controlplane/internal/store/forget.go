package store

import (
	"context"
	"time"
)

// Forgetting forgets producers that have been idle for long (P5). For package judge alone.
type Forgetting interface {
	// ForgetProducers looks at one bounded page of producers after the cursor and removes those that have committed nothing for longer
	// than idle. It waits for no commit. What a forgotten producer sends next is PRODUCER_UNKNOWN unless it starts at sequence 0.
	ForgetProducers(ctx context.Context, idle time.Duration, after ProducerCursor) (Forgotten, error)
}

// ProducerCursor is a place in the order of all producers. The zero value is the beginning.
type ProducerCursor struct {
	PartitionID, ProducerID int64
}

// Forgotten is what one page came to.
type Forgotten struct {
	// Producers that were removed.
	Producers int
	// Next is where the next page begins; nil: there is none.
	Next *ProducerCursor
}
