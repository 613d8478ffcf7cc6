// Package history judges what a cluster did: it takes the history of a run (what producers asked for and were told, what readers and
// probes saw, and the final log) and says which promises were broken. It knows nothing of StreamHouse's code or wire format, and nothing here may:
// a checker that shared code with what it checks would share its faults.
//
// Promises: P1 (lost), P2 (gaps, reordered, rewritten), P4 (hidden), P5 (duplicated), P6 (refused but written).
// Read: history.go (what a history is), check.go (the rules), recorder.go (how a run fills one, from many goroutines).
package history

import "time"

// Outcome is what a producer was told in the end.
type Outcome int

const (
	// Possibly means that nobody knows: a deadline, a lost connection, or a run that ended first.
	Possibly Outcome = iota
	// Acknowledged means stored; Offset says where unless it is -1.
	Acknowledged
	// SurelyNot means refused, and not written.
	SurelyNot
)

// String names the outcome.
func (o Outcome) String() string {
	return [...]string{"possibly", "acknowledged", "surely not"}[o]
}

// Write is one record that a producer wanted stored.
type Write struct {
	// ID is the record's content, unique in the history.
	ID string
	// Producer sent it; records of one producer and partition must keep the order of Sequence.
	Producer string
	// Sequence counts the producer's records in the order in which it handed them over.
	Sequence int
	// Idempotent producers may never leave two copies.
	Idempotent bool
	// Outcome is what the producer was told.
	Outcome Outcome
	// Partition and Offset are where an acknowledged record was said to be; Offset -1: not said.
	Partition int32
	Offset    int64
	// Answered is when the outcome was known, since the start of the run.
	Answered time.Duration
}

// Read is one record that a reader was given.
type Read struct {
	Partition int32
	Offset    int64
	ID        string
}

// Probe is a fetch that was told that a partition ends at End.
type Probe struct {
	// Agent that answered.
	Agent string
	// Began is when the fetch was sent, since the start of the run.
	Began     time.Duration
	Partition int32
	// End is the first offset at which the fetch saw nothing.
	End int64
}

// History is everything that is known of a run on one topic.
type History struct {
	Writes []Write
	// Log is the topic read from its beginning after the run, in any order of partitions, in order of offset within each.
	Log []Read
	// Readers are what each reader saw during the run, in the order in which it saw it.
	Readers map[string][]Read
	Probes  []Probe
}
