package ingest

import (
	"go.opentelemetry.io/otel/trace"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// Anywhere is the expected offset of a batch that may get any.
const Anywhere int64 = -1

// Batch is a verified batch that asks to be appended.
type Batch struct {
	// Bytes are stamped when the batch is appended, and belong to the ledger from then on. Those of a Plain one stay as they are.
	Bytes []byte
	// Plain: its records came as such, and Bytes are only how they are kept until they are joined with those of other calls into one batch.
	// Requires: built by a recordbatch.Builder, not compressed, no producer.
	Plain bool
	// Header is what verification found in Bytes.
	Header recordbatch.Header
	// MinTimestampMs is the least record timestamp, milliseconds since 1970 UTC.
	MinTimestampMs int64
	// ExpectedOffset is the only offset that will do, or Anywhere.
	ExpectedOffset int64
	// Span is that of the call that brought it; nil: it is not traced.
	Span trace.Span

	// decidedAt is the high watermark at which a mismatch of ExpectedOffset is a fact; 0: not looked at yet.
	decidedAt int64
}

// held is what it costs in memory, about, until its fate is known. Plain records stay with their call while a batch is made of them, which has
// as many bytes at most.
func (b *Batch) held() int {
	if b.Plain {
		return 2*len(b.Bytes) + batchOverhead
	}
	return len(b.Bytes) + batchOverhead
}

// Pending is an appended batch whose fate is open until Done is closed.
type Pending struct {
	done       chan struct{}
	outcome    Outcome
	baseOffset int64
}

// Done is closed when the outcome is known.
func (p *Pending) Done() <-chan struct{} { return p.done }

// Outcome is the batch's fate. Requires: Done is closed.
func (p *Pending) Outcome() Outcome { return p.outcome }

func (p *Pending) settle(o Outcome) {
	p.outcome = o
	close(p.done)
}

// Outcome is what became of a batch.
type Outcome struct {
	// Reason is 0 for a batch that was stored.
	Reason refusalv1.Reason
	// Written says what became of the records where Reason is not 0.
	Written refusalv1.Written
	// BaseOffset is the offset of the first record, where stored.
	BaseOffset int64
}

// Stored tells whether the records are durable and readable.
func (o Outcome) Stored() bool { return o.Reason == refusalv1.Reason_REASON_UNSPECIFIED }

func surelyNot(reason refusalv1.Reason) Outcome {
	return Outcome{Reason: reason, Written: refusalv1.Written_WRITTEN_SURELY_NOT}
}

func possibly() Outcome {
	return Outcome{Reason: refusalv1.Reason_REASON_UNANSWERED, Written: refusalv1.Written_WRITTEN_POSSIBLY}
}

// Verdict is what the ledger makes of a batch.
type Verdict uint8

// The verdicts.
const (
	// NotLeading: there is no tenure that takes batches now.
	NotLeading Verdict = iota
	// Accepted: appended; Pending is its fate.
	Accepted
	// InFlight: a repeat of a batch whose fate is still open; Pending is that batch's.
	InFlight
	// Duplicate: a repeat of a batch that is stored at BaseOffset.
	Duplicate
	// UnknownProducer: the ledger does not know the producer, the catalog may: look it up, Learn it, ask again.
	UnknownProducer
	// Undecided: the expected offset depends on batches in flight: ask again when Changed closes.
	Undecided
	// Doubtful: the ledger's memory says no. Nobody is told before the catalog has shown that Epoch is still current.
	Doubtful
	// Overloaded: too many bytes are in flight.
	Overloaded
	// Skipped: not looked at, because an earlier batch of the same call and partition was not taken.
	Skipped
)

// Final tells whether asking again would change nothing.
func (v Verdict) Final() bool {
	return v == Accepted || v == InFlight || v == Duplicate || v == Overloaded
}

// Decision is the ledger's answer to Append.
type Decision struct {
	Verdict Verdict
	// Epoch of the tenure that decided; 0 with NotLeading.
	Epoch partition.Epoch
	// Pending is set with Accepted and InFlight.
	Pending *Pending
	// BaseOffset is set with Duplicate.
	BaseOffset int64
	// Refusal is set with Doubtful.
	Refusal *refusalv1.Refusal
	// Changed is set with Undecided and Doubtful: it closes when the tenure appends, commits or ends.
	Changed <-chan struct{}
}
