// Package partition holds the words that all of the agent shares about one partition: its identity, what became
// readable of it, and who wants to hear of that.
// Nothing here decides, waits or does I/O.
//
// Promises: P4 (what is announced as readable has been committed).
package partition

import (
	"fmt"

	"github.com/streamhouse/streamhouse/dataplane/internal/object"
)

// ID is a partition's identity. A topic's name is a label only: a topic that was made anew has another id.
type ID struct {
	Topic  object.UUID
	Number int32
}

func (p ID) String() string { return fmt.Sprintf("%s/%d", p.Topic, p.Number) }

// Epoch numbers the tenures of a partition: positive, 0 means never led.
type Epoch = int32

// Committed is a segment that the catalog has just accepted from this agent.
type Committed struct {
	Partition ID
	Epoch     Epoch
	// BaseOffset is its first offset; NextOffset, the one after its last, is the new high watermark.
	BaseOffset int64
	NextOffset int64
	// LogStartOffset is the last that this leader was told; it may have moved on.
	LogStartOffset int64
	// MaxTimestampMs is the greatest record timestamp, milliseconds since 1970 UTC.
	MaxTimestampMs int64
	// ObjectKey, BytePosition, SizeBytes and CRC32C say where the bytes lie in the bucket.
	ObjectKey    string
	BytePosition int64
	SizeBytes    int32
	CRC32C       uint32
	// ObjectBytes is the size of the whole object; 0: unknown.
	ObjectBytes int64
	// Batches are the segment's bytes, stamped, back to back in this order. Nobody writes to them any more.
	Batches [][]byte
}

// Observer hears of what this agent commits and leads. Calls come from the commit loop and the lease loop, those of one
// partition in order; they must return at once and call nothing back.
type Observer interface {
	// Committed: the high watermark moved. The segment is durable and readable.
	Committed(Committed)
	// Led: this agent leads p from now on; memory may serve what follows highWatermark.
	Led(p ID, epoch Epoch, logStartOffset, highWatermark int64)
	// Moved: this agent has ended its tenure, or learnt of another leader. What it remembers of the end is no longer the
	// newest.
	Moved(p ID, epoch Epoch)
}
