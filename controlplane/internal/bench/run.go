package bench

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// turns is how often the two change places: what else the machine does meanwhile meets both.
	turns = 10
	// warmUp is a share of the duration: pages get their full images into the WAL, statements are prepared, plans settle.
	warmUp = 5
)

// committer commits one object after the other.
type committer interface {
	commit(ctx context.Context) error
}

// side is one of the two: its committers, and what they took.
type side struct {
	committers []committer
	took       []time.Duration
	elapsed    time.Duration
	cost       cost
}

// Run measures in a scratch database on the server of the URL. Requires: Validate.
func Run(ctx context.Context, databaseURL string, config Config) (_ *Report, err error) {
	scratch, err := makeScratch(ctx, databaseURL)
	if err != nil {
		return nil, err
	}
	defer func() {
		if dropped := scratch.drop(ctx); err == nil {
			err = dropped
		}
	}()
	ours, closeStore, err := openStore(ctx, scratch.url, config)
	if err != nil {
		return nil, err
	}
	defer closeStore()
	bare, closeRaw, err := openRaw(ctx, scratch.url, config)
	if err != nil {
		return nil, err
	}
	defer closeRaw()
	store, raw := &side{committers: ours}, &side{committers: bare}
	if err := takeTurns(ctx, config, raw, store, scratch.meter); err != nil {
		return nil, err
	}
	return report(config, raw, store), nil
}

func takeTurns(ctx context.Context, config Config, raw, store *side, m *meter) error {
	for _, s := range []*side{raw, store} {
		if err := s.turn(ctx, config.Duration/warmUp, config.Every, m); err != nil {
			return fmt.Errorf("warm up: %w", err)
		}
		*s = side{committers: s.committers}
	}
	for range turns {
		for _, s := range []*side{raw, store} {
			if err := s.turn(ctx, config.Duration/turns, config.Every, m); err != nil {
				return err
			}
		}
	}
	return nil
}

// turn commits for so long, at least once each, and not more often than every so often.
func (s *side) turn(ctx context.Context, length, every time.Duration, m *meter) error {
	before, err := m.read(ctx)
	if err != nil {
		return err
	}
	started := time.Now()
	took := make([][]time.Duration, len(s.committers))
	g, within := errgroup.WithContext(ctx)
	for i, c := range s.committers {
		g.Go(func() (err error) {
			took[i], err = repeat(within, c, started.Add(length), every)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	s.elapsed += time.Since(started)
	after, err := m.read(ctx)
	if err != nil {
		return err
	}
	s.cost.add(before, after)
	for _, t := range took {
		s.took = append(s.took, t...)
	}
	return nil
}

func repeat(ctx context.Context, c committer, until time.Time, every time.Duration) (took []time.Duration, err error) {
	for begun := time.Now(); len(took) == 0 || begun.Before(until); {
		if err := c.commit(ctx); err != nil {
			return nil, err
		}
		took = append(took, time.Since(begun))
		if err := rest(ctx, every-time.Since(begun)); err != nil {
			return nil, err
		}
		begun = time.Now()
	}
	return took, nil
}

// rest waits; not at all, for 0 or less.
func rest(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
