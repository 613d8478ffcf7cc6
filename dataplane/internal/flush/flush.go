// Package flush seals the open object and uploads sealed ones; commit (next door) makes them visible.
// Nothing here acknowledges a producer or talks to the control plane.
//
// When an object is sealed, never before its upload can begin: at a takeover of many partitions each brings a first batch, and an object
// for each would be a queue of uploads.
//
//	full                                  at once, by the ledger itself, even if it must wait for an upload
//	a hand-off or a drain waits for it    at once
//	first batch of a tenure just begun    at once
//	many small segments                   when they have grown, or after the linger: each is a row in the catalog
//	any other                             as soon as the budget has a PUT for it; an agent that was idle has
//
// Only the last one waits for the budget; all spend of it. So there are never more PUTs than the bytes need and the budget allows, however
// many partitions the bytes are spread over.
//
// An upload that is slower than most is begun a second time, under the same key with the same bytes: the bucket takes one of them, and
// whoever comes second finds its own bytes there.
//
// A topic that the bucket says nothing of is described there beside the upload; the object counts as uploaded when both are done.
//
// Promises: P8 in part (a key is written once, by If-None-Match, with the same bytes at every repeat), P9 in part.
// Read: flush.go, budget.go, uploads.go, hedge.go, health.go.
package flush

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/streamhouse/streamhouse/dataplane/internal/catalog"
	"github.com/streamhouse/streamhouse/dataplane/internal/ingest"
	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/crashpoint"
	"github.com/streamhouse/streamhouse/serve/tracing"
)

var afterPut = crashpoint.Register("write.after-put")

// gather is how long a tenure's first object waits for more: producers who waited for the leader come with it.
const gather = time.Millisecond

// promptly is how soon an object is sealed that had to wait for nothing.
const promptly = time.Millisecond

// Config of a flusher.
type Config struct {
	// Linger is the longest that an object of many small segments stays open so that they grow.
	Linger time.Duration
	// MaxUploads bounds the uploads in flight; at least 1.
	MaxUploads int
	// PutsPerSecond (above 0) and PutBurst (at least 1) are the budget of the agent's PUTs.
	PutsPerSecond float64
	PutBurst      int
}

// Store is where objects go; an objectstore.Store is one.
type Store interface {
	Put(ctx context.Context, key string, body [][]byte, crc32c uint32) error
}

// Flusher seals and uploads what one ledger holds.
type Flusher struct {
	ledger  *ingest.Ledger
	uploads *Uploads
	log     *slog.Logger
	slots   chan struct{} // one for each upload in flight
	freed   chan struct{} // capacity 1: an upload ended
}

// New returns a flusher of ledger.
func New(ledger *ingest.Ledger, uploads *Uploads, log *slog.Logger) *Flusher {
	return &Flusher{
		ledger: ledger, uploads: uploads, log: log,
		slots: make(chan struct{}, uploads.config.MaxUploads), freed: make(chan struct{}, 1),
	}
}

// Run works until ctx ends, and returns when the last upload has stopped.
func (f *Flusher) Run(ctx context.Context) error {
	var uploads sync.WaitGroup
	defer uploads.Wait()
	linger := time.NewTimer(0)
	defer linger.Stop()
	for ctx.Err() == nil {
		f.begin(ctx, &uploads)
		if len(f.slots) < cap(f.slots) { // else it stays open: sealed, it would wait too, and take nothing more
			reason, wait := f.decide(time.Now())
			if wait == 0 {
				f.ledger.Seal(reason)
				continue
			}
			linger.Reset(wait)
		}
		select {
		case <-f.ledger.Flush:
		case <-f.freed:
		case <-linger.C:
		case <-ctx.Done():
		}
	}
	return nil
}

// decide tells how long the open object stays open, and why it is sealed then.
func (f *Flusher) decide(now time.Time) (ingest.Reason, time.Duration) {
	open := f.ledger.Open()
	age := now.Sub(open.OpenedAt)
	switch {
	case open.Empty:
		return 0, time.Hour
	case open.Urgent:
		return ingest.Urgent, 0
	case open.First: // whoever waited for this leader comes in the same moment: one object for all of them
		return ingest.First, max(0, gather-age)
	case open.Growing && age < f.uploads.config.Linger:
		return 0, f.uploads.config.Linger - age
	case open.Full:
		return ingest.Full, 0
	}
	wait := f.uploads.budget.Wait(now)
	if open.Ahead == 0 && age < promptly {
		return ingest.Idle, wait
	}
	return ingest.Lingered, wait
}

// begin starts as many uploads as there are slots and objects.
func (f *Flusher) begin(ctx context.Context, uploads *sync.WaitGroup) {
	for {
		select {
		case f.slots <- struct{}{}:
		default:
			return
		}
		o := f.ledger.NextUpload()
		if o == nil {
			<-f.slots
			return
		}
		f.uploads.budget.Spend(time.Now())
		uploads.Go(func() { f.upload(ctx, o) })
	}
}

func (f *Flusher) upload(ctx context.Context, o *ingest.Object) {
	defer func() {
		<-f.slots
		select {
		case f.freed <- struct{}{}:
		default:
		}
	}()
	ctx, span := f.uploads.begin(ctx, o)
	defer span.End()
	if err := f.ledger.Build(o); err != nil {
		f.log.ErrorContext(ctx, "plain records cannot be batched: tenure ended", slog.String("object_key", o.Key.String()), slog.Any("error", err))
	}
	if o.Segments() == 0 {
		f.ledger.UploadFailed(o, refusalv1.Reason_REASON_INTERNAL)
		return
	}
	sealed, err := o.Encode()
	if err != nil {
		f.log.ErrorContext(ctx, "object cannot be encoded", slog.Any("error", err))
		f.ledger.UploadFailed(o, refusalv1.Reason_REASON_INTERNAL)
		return
	}
	if span.IsRecording() {
		span.SetAttributes(attribute.Int64("streamhouse.size_bytes", sealed.SizeBytes))
	}
	described := f.uploads.describe(ctx, o)
	began, upload := time.Now(), f.uploads.health.begin()
	stored, err := f.put(ctx, sealed)
	took := time.Since(began)
	stored = described(stored) // P9: nothing is committed of a topic that the bucket says nothing of
	f.uploads.health.end(upload, stored)
	switch {
	case stored:
		afterPut.Here()
		f.ledger.Uploaded(o, sealed)
		f.uploads.measure(ctx, o, sealed, took)
	case err != nil:
		tracing.Fail(span, "object_key_taken")
		f.log.ErrorContext(ctx, "object key is taken", slog.String("object_key", sealed.Key.String()), slog.Any("error", err))
		f.ledger.UploadFailed(o, refusalv1.Reason_REASON_NOT_LEADER)
	}
}

// put repeats the same bytes under the same key until the answer is definite or ctx ends. An error means never.
func (f *Flusher) put(ctx context.Context, sealed *object.Sealed) (stored bool, never error) {
	var backoff catalog.Backoff
	for {
		err := f.uploads.put(ctx, sealed)
		if err == nil {
			return true, nil
		}
		if errors.Is(err, objectstore.ErrConflict) {
			return false, err
		}
		if ctx.Err() != nil {
			return false, nil //nolint:nilerr // the end of ctx is no fault
		}
		f.log.WarnContext(ctx, "upload is repeated", slog.String("object_key", sealed.Key.String()), slog.Any("error", err))
		if backoff.Wait(ctx) != nil {
			return false, nil //nolint:nilerr // the end of ctx is no fault
		}
	}
}
