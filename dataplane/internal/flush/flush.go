// Package flush seals the open object and uploads sealed ones; commit (next door) makes them visible.
// Nothing here acknowledges a producer or talks to the control plane.
//
// When to seal: at once while nothing else of this agent is on its way (lowest latency), else when what is ahead has settled or the linger
// has passed (fewer PUTs), when the object is full, and at once for a hand-off, a drain or a tenure's first object. Never before an upload
// can begin: at a takeover of many partitions each brings a first batch, and an object for each would be a queue of uploads.
//
// Promises: P8 in part (a key is written once, by If-None-Match, with the same bytes at every repeat).
// Read: flush.go, health.go.
package flush

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/catalog"
	"github.com/streamhouse/streamhouse/dataplane/internal/ingest"
	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// Config of a flusher.
type Config struct {
	// Linger is the longest that an object stays open while others are on their way.
	Linger time.Duration
	// MaxUploads bounds the uploads in flight; at least 1.
	MaxUploads int
}

// Store is where objects go; an objectstore.Store is one.
type Store interface {
	Put(ctx context.Context, key string, body []byte, crc32c uint32) error
}

// Flusher seals and uploads what one ledger holds.
type Flusher struct {
	ledger *ingest.Ledger
	store  Store
	health *Health
	config Config
	log    *slog.Logger
	slots  chan struct{} // one for each upload in flight
	freed  chan struct{} // capacity 1: an upload ended
}

// New returns a flusher of ledger. health is told of every upload.
func New(ledger *ingest.Ledger, store Store, health *Health, config Config, log *slog.Logger) *Flusher {
	return &Flusher{
		ledger: ledger, store: store, health: health, config: config, log: log,
		slots: make(chan struct{}, config.MaxUploads), freed: make(chan struct{}, 1),
	}
}

// Run works until ctx ends, and returns when the last upload has stopped.
func (f *Flusher) Run(ctx context.Context) error {
	var uploads sync.WaitGroup
	defer uploads.Wait()
	linger := time.NewTimer(0)
	defer linger.Stop()
	for ctx.Err() == nil {
		switch wait := f.untilSeal(time.Now()); {
		case wait > 0:
			linger.Reset(wait)
		case len(f.slots) < cap(f.slots): // else it stays open: sealed, it would wait too, and take nothing more
			f.ledger.Seal()
		}
		f.begin(ctx, &uploads)
		select {
		case <-f.ledger.Flush:
		case <-f.freed:
		case <-linger.C:
		case <-ctx.Done():
		}
	}
	return nil
}

// untilSeal is how long the open object may stay open.
func (f *Flusher) untilSeal(now time.Time) time.Duration {
	open := f.ledger.Open()
	switch {
	case open.Empty:
		return time.Hour
	case open.Urgent || open.Ahead == 0:
		return 0
	default:
		return max(0, f.config.Linger-now.Sub(open.OpenedAt))
	}
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
	sealed, err := o.Encode()
	if err != nil {
		f.log.ErrorContext(ctx, "object cannot be encoded", slog.Any("error", err))
		f.ledger.UploadFailed(o, refusalv1.Reason_REASON_INTERNAL)
		return
	}
	began := f.health.begin()
	stored, err := f.put(ctx, sealed)
	f.health.end(began, stored)
	switch {
	case stored:
		f.ledger.Uploaded(o, sealed)
	case err != nil:
		f.log.ErrorContext(ctx, "object key is taken", slog.String("object_key", sealed.Key.String()), slog.Any("error", err))
		f.ledger.UploadFailed(o, refusalv1.Reason_REASON_NOT_LEADER)
	}
}

// put repeats the same bytes under the same key until the answer is definite or ctx ends. An error means never.
func (f *Flusher) put(ctx context.Context, sealed *object.Sealed) (stored bool, never error) {
	var backoff catalog.Backoff
	key := sealed.Key.String()
	for {
		err := f.store.Put(ctx, key, sealed.Body, sealed.CRC32C)
		if err == nil {
			return true, nil
		}
		if errors.Is(err, objectstore.ErrConflict) {
			return false, err
		}
		if ctx.Err() != nil {
			return false, nil //nolint:nilerr // the end of ctx is no fault
		}
		f.log.WarnContext(ctx, "upload is repeated", slog.String("object_key", key), slog.Any("error", err))
		if backoff.Wait(ctx) != nil {
			return false, nil //nolint:nilerr // the end of ctx is no fault
		}
	}
}
