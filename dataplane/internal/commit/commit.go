// Package commit sends a ledger's commits, one at a time, each repeated unchanged until the catalog's answer is definite.
// Nothing here decides what is in a commit (ingest does) or uploads anything (flush does).
//
// Promises: P1 (a batch is acknowledged only after the catalog has its segment), P6 (a commit that was sent and not answered stays
// "possibly" until it is answered).
// Read: commit.go, measure.go.
package commit

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"connectrpc.com/connect/v2"
	"go.opentelemetry.io/otel/attribute"

	"github.com/streamhouse/streamhouse/dataplane/internal/catalog"
	"github.com/streamhouse/streamhouse/dataplane/internal/ingest"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/crashpoint"
	"github.com/streamhouse/streamhouse/serve/tracing"
)

var afterCommit = crashpoint.Register("write.after-commit")

// attempt bounds one call over all control-plane addresses.
const attempt = 10 * time.Second

// Catalog commits objects; package catalog's Client is one.
type Catalog interface {
	Commit(context.Context, *controlplanev1.CommitRequest) (*controlplanev1.CommitResponse, error)
}

// Committer sends the commits of one ledger.
type Committer struct {
	ledger   *ingest.Ledger
	catalog  Catalog
	observer partition.Observer
	deleted  func(partition.ID)
	measures *Measures
	tracer   *tracing.Tracer // nil: nothing is traced
	log      *slog.Logger
}

// New returns a committer of ledger. tracer may be nil. deleted hears of partitions whose topic the catalog does not know any more.
func New(
	ledger *ingest.Ledger, catalog Catalog, observer partition.Observer, deleted func(partition.ID), measures *Measures,
	tracer *tracing.Tracer, log *slog.Logger,
) *Committer {
	return &Committer{ledger: ledger, catalog: catalog, observer: observer, deleted: deleted, measures: measures, tracer: tracer, log: log}
}

// Run works until ctx ends, also past the end of the session: fencing decides. An error means an answer that cannot be.
func (c *Committer) Run(ctx context.Context) error {
	for {
		select {
		case <-c.ledger.Commit:
		case <-ctx.Done():
			return nil
		}
		for next := c.ledger.NextCommit(); next != nil; next = c.ledger.NextCommit() {
			if answered, err := c.commit(ctx, next); !answered {
				return err
			}
		}
	}
}

// commit sends one commit and settles it by its answer; false: ctx ended, or (with an error) this cannot go on.
func (c *Committer) commit(ctx context.Context, next *ingest.Commit) (answered bool, err error) {
	began := time.Now()
	ctx, span := c.tracer.Carry(ctx, &next.Flushes, "commit")
	defer span.End()
	res, err := c.send(ctx, next.Request)
	if res == nil {
		tracing.Fail(span, "unanswered")
		return false, err
	}
	afterCommit.Here()
	effect, err := c.ledger.Answered(next, res)
	if err != nil {
		return false, fmt.Errorf("settle commit: %w", err)
	}
	c.measures.answered(ctx, next.Request, effect, time.Since(began))
	if span.IsRecording() {
		span.SetAttributes(attribute.String("streamhouse.session_id", next.Request.GetSessionId()),
			attribute.Int("streamhouse.objects", len(next.Request.GetObjects())),
			attribute.Int("streamhouse.committed", len(effect.Committed)), attribute.Int("streamhouse.refused", len(effect.Failed)))
	}
	c.tell(ctx, effect)
	return true, nil
}

// send repeats the request until it has an answer; nil: ctx ended, or (with an error) the catalog calls the request malformed.
func (c *Committer) send(ctx context.Context, req *controlplanev1.CommitRequest) (*controlplanev1.CommitResponse, error) {
	var backoff catalog.Backoff
	for {
		res, err := c.once(ctx, req)
		switch {
		case err == nil:
			return res, nil
		case ctx.Err() != nil:
			return nil, nil //nolint:nilerr,nilnil // the end of ctx is no fault
		case catalog.IsVerdict(err) && connect.CodeOf(err) == connect.CodeInvalidArgument:
			return nil, fmt.Errorf("commit of %d objects: %w", len(req.GetObjects()), err)
		}
		c.log.WarnContext(ctx, "commit is repeated", slog.String("session_id", req.GetSessionId()),
			slog.String("object_key", req.GetObjects()[0].GetKey()), slog.Any("error", err))
		if backoff.Wait(ctx) != nil {
			return nil, nil //nolint:nilerr,nilnil // the end of ctx is no fault
		}
	}
}

func (c *Committer) once(ctx context.Context, req *controlplanev1.CommitRequest) (*controlplanev1.CommitResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	return c.catalog.Commit(ctx, req)
}

func (c *Committer) tell(ctx context.Context, effect ingest.Effect) {
	for _, s := range effect.Committed {
		c.observer.Committed(s)
	}
	for _, f := range effect.Failed {
		c.log.WarnContext(ctx, "commit entry was refused: tenure ended", slog.String("partition", f.Partition.String()),
			slog.Int("epoch", int(f.Epoch)), slog.String("reason", f.Reason.String()),
			slog.Int("current_epoch", int(f.Outcome.GetCurrentEpoch())), slog.Int64("high_watermark", f.Outcome.GetHighWatermark()))
		if f.Reason == refusalv1.Reason_REASON_UNKNOWN_TOPIC {
			c.deleted(f.Partition)
		}
		c.observer.Moved(f.Partition, f.Epoch)
	}
}
