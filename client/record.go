package client

import (
	"time"

	"github.com/streamhouse/streamhouse/client/recordbatch"
)

// Record is what users send and receive.
type Record struct {
	// Topic name.
	Topic string
	// Key, nil for null (which is not the same as empty). Records with equal keys go to one partition.
	Key []byte
	// Value, nil for null (which is not the same as empty).
	Value []byte
	// Headers, in order; keys may repeat.
	Headers []Header
	// Timestamp, kept in milliseconds. Zero when producing: now.
	Timestamp time.Time
	// Partition holds the record. Set by the producer, or by the caller together with UsePartition.
	Partition int32
	// UsePartition makes the producer take Partition as it is instead of choosing one.
	UsePartition bool
	// Offset in the partition. Set when the record is stored or read; -1 where it is not known: stored
	// with AcksBuffered, or recognised as the repeat of a batch so old that its offset is forgotten.
	Offset int64

	sending *sending // a producer's own copy of a record that is traced
}

// Header is a header of a record. Key must be UTF-8; a nil Value is null.
type Header = recordbatch.RecordHeader

// Offset values with a meaning of their own.
const (
	// UnknownOffset stands in Record.Offset where the offset is not known.
	UnknownOffset int64 = -1
	// AnyOffset asks Append to append wherever the partition ends.
	AnyOffset int64 = -1
)

// size is what the topic's limit counts: key, value and headers, a header with 2 bytes of its own.
func (r *Record) size() int {
	n := len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += 2 + len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return n
}

// millis is the timestamp as stored; a zero one is replaced by now.
func (r *Record) millis() int64 {
	if r.Timestamp.IsZero() {
		r.Timestamp = time.Now().Truncate(time.Millisecond)
	}
	return r.Timestamp.UnixMilli()
}
