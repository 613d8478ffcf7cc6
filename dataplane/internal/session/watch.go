package session

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/catalog"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

// watchSilence is how long a watch may say nothing; the control plane gives a sign of life every second.
const watchSilence = 3 * time.Second

// errSilent: the watch gave no sign of life.
var errSilent = errors.New("watch gave no sign of life")

// follow keeps a watch open until ctx ends or the session is over. What it misses the heartbeats bring.
func (k *Keeper) follow(ctx context.Context, s *Session) error {
	backoff := catalog.Backoff{Most: time.Second}
	for {
		err := k.watch(ctx, s, &backoff)
		if ctx.Err() != nil || ends(s, err) {
			return nil //nolint:nilerr // the session, or ctx, is over
		}
		k.log.DebugContext(ctx, "watch broke", slog.Any("error", err))
		k.Nudge()
		select {
		case <-s.Ended():
			return nil
		default:
		}
		if backoff.Wait(ctx) != nil {
			return nil //nolint:nilerr // the session, or ctx, is over
		}
	}
}

// watch applies what one stream brings, until it breaks.
func (k *Keeper) watch(ctx context.Context, s *Session, backoff *catalog.Backoff) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(watchSilence, func() { cancel(errSilent) })
	defer silence.Stop()
	stream, err := k.catalog.Watch(ctx, &controlplanev1.WatchRequest{SessionId: s.ID.String(), Revision: k.table.Revision()})
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }() // it is broken already, or ctx has ended
	for {
		res, err := stream.Receive()
		if err != nil {
			return errors.Join(err, context.Cause(ctx))
		}
		silence.Reset(watchSilence)
		backoff.Reset()
		k.table.Apply(res.GetPlacement())
		if me, known := k.table.Agent(k.config.AgentID); known && me.Draining && !k.draining.Load() {
			k.Nudge() // the answer says whether this session is meant
		}
	}
}
