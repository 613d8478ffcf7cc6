// Package evidence decides whether a catalog has lost transactions, from what agents were told before (protocol, section 8): a standby that was
// promoted too early, or a backup that was restored, knows less than they do.
// Pure: no I/O, no clock, no log positions.
//
// Not here: who is asked, what a halt means (packages store and store/postgres).
// Promises: P1 and P2 across failures of PostgreSQL (lost transactions are noticed before their offsets are given to others).
// Read: evidence.go.
package evidence

import (
	"fmt"

	"github.com/google/uuid"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

// maxReasons bounds how many partitions one message complains about.
const maxReasons = 5

// Known is what the catalog says, read after the message arrived.
type Known struct {
	// Incarnation of the catalog.
	Incarnation int32
	// Revision of the agent group; -1: there is no such agent group.
	Revision int64
	// KeyKnown: the object key has a row. SessionOfKeyKnown: the session that the key names has one, and has not settled the key.
	KeyKnown, SessionOfKeyKnown bool
	// Lives: the session that speaks lives.
	Lives bool
	// Partitions, as many as the message names, in its order.
	Partitions []Partition
}

// Partition is a partition as the catalog has it.
type Partition struct {
	// Known: it has a row, with this epoch and high watermark.
	Known         bool
	Epoch         int32
	HighWatermark int64
	// TopicKnown: its topic has a row. OutOfSight: it is deleted, or of another agent group; then its partitions say nothing.
	TopicKnown, OutOfSight bool
}

// Missing answers what the catalog should know and does not, a sentence each; none: nothing is missing. agent is for the sentences; revision
// is the one that the agent has applied.
//
// Numbers that the catalog gives out never go back, and rows that they stand in stay, with these exceptions, which prove nothing:
//   - what was told in an earlier incarnation: an operator has accepted that loss;
//   - an object key whose session has no row, or has said that it is settled: then its row is forgotten with its object;
//   - a partition of a deleted topic, and a topic without a row where the session does not live: deleted topics are forgotten after all
//     who live have heard of it.
func Missing(agent string, told *controlplanev1.Evidence, revision int64, known Known) []string {
	switch {
	case told == nil || told.GetIncarnation() < known.Incarnation:
		return nil
	case told.GetIncarnation() > known.Incarnation:
		return []string{fmt.Sprintf("agent %s has a session of incarnation %d: an adoption was lost", agent, told.GetIncarnation())}
	}
	var reasons []string
	if revision > known.Revision {
		reasons = append(reasons, fmt.Sprintf("agent %s has seen changes of its agent group that are not known here", agent))
	}
	if told.GetObjectKey() != "" && !known.KeyKnown && known.SessionOfKeyKnown {
		reasons = append(reasons, fmt.Sprintf("agent %s was told that object %s is committed, which is not known here", agent, told.GetObjectKey()))
	}
	return append(reasons, missingPartitions(agent, told.GetPartitions(), known)...)
}

func missingPartitions(agent string, told []*controlplanev1.PartitionEvidence, known Known) (reasons []string) {
	for i, t := range told {
		if i >= len(known.Partitions) {
			break
		}
		what := known.Partitions[i].lacks(t, known.Lives)
		if what == "" {
			continue
		}
		if len(reasons) == maxReasons {
			return append(reasons, fmt.Sprintf("agent %s misses more partitions", agent))
		}
		topic, _ := uuid.FromBytes(t.GetTopicId())
		reasons = append(reasons, fmt.Sprintf("agent %s was told of topic %s, partition %d: %s", agent, topic, t.GetPartition(), what))
	}
	return reasons
}

// lacks says what is missing; empty: nothing.
func (p Partition) lacks(told *controlplanev1.PartitionEvidence, lives bool) string {
	switch {
	case p.OutOfSight || (!p.TopicKnown && !lives):
		return ""
	case !p.TopicKnown:
		return "the topic is not known here"
	case !p.Known:
		return "the partition is not known here"
	case p.Epoch < told.GetEpoch():
		return fmt.Sprintf("it was told of epoch %d, known here is %d", told.GetEpoch(), p.Epoch)
	case p.HighWatermark < told.GetHighWatermark():
		return fmt.Sprintf("it was told of records up to offset %d, known here are those up to %d", told.GetHighWatermark(), p.HighWatermark)
	default:
		return ""
	}
}
