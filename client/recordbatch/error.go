package recordbatch

import (
	"fmt"
	"strconv"
)

// Reason says which rule a batch or record broke; callers map it to a refusal.
type Reason uint8

const (
	// Corrupt: truncated, trailing bytes, wrong checksum, a length out of bounds, broken compression.
	Corrupt Reason = iota + 1
	// WrongCount: the record count, the last offset delta and the records disagree.
	WrongCount
	// TooLarge: the batch, uncompressed, exceeds Limits.MaxUncompressedBytes.
	TooLarge
	// RecordTooLarge: one record exceeds Limits.MaxRecordBytes.
	RecordTooLarge
	// Unsupported: another magic, codec or attribute than this package knows.
	Unsupported
	// Empty: no records.
	Empty
	// BadTimestamp: outside 0..MaxTimestamp, or the header's maximum is not the records'.
	BadTimestamp
	// BadProducer: producer id, epoch and sequence are neither all -1 nor all at least 0.
	BadProducer
	// NoKey: a record without a key, where Limits.KeysRequired.
	NoKey
)

var reasonNames = [...]string{
	Corrupt:        "corrupt",
	WrongCount:     "wrong count",
	TooLarge:       "too large",
	RecordTooLarge: "record too large",
	Unsupported:    "unsupported",
	Empty:          "empty",
	BadTimestamp:   "bad timestamp",
	BadProducer:    "bad producer",
	NoKey:          "no key",
}

func (r Reason) String() string {
	if int(r) < len(reasonNames) && reasonNames[r] != "" {
		return reasonNames[r]
	}
	return "reason " + strconv.Itoa(int(r))
}

// Error is the only error type of this package.
type Error struct {
	Reason Reason
	Record int    // index of the record at fault; -1: the batch as a whole
	Detail string // what was wrong, in words that suit a client
	Actual int64  // the value found, with Limit, for TooLarge and RecordTooLarge; else 0
	Limit  int64
}

func (e *Error) Error() string {
	where := "record batch"
	if e.Record >= 0 {
		where = fmt.Sprintf("record batch: record %d", e.Record)
	}
	if e.Limit != 0 || e.Actual != 0 {
		return fmt.Sprintf("%s: %s: %s: %d, limit %d", where, e.Reason, e.Detail, e.Actual, e.Limit)
	}
	return fmt.Sprintf("%s: %s: %s", where, e.Reason, e.Detail)
}

func fault(r Reason, detail string) *Error { return &Error{Reason: r, Record: -1, Detail: detail} }

func corrupt(detail string) *Error { return fault(Corrupt, detail) }

func tooLarge(r Reason, detail string, actual, limit int) *Error {
	return &Error{Reason: r, Record: -1, Detail: detail, Actual: int64(actual), Limit: int64(limit)}
}

func (e *Error) at(record int) *Error {
	e.Record = record
	return e
}
