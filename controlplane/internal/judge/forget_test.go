package judge

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// pages is a catalog with some pages of producers that notes when it was asked for which.
type pages struct {
	n     int64
	fail  bool
	asked []int64
	at    []time.Time
	idle  time.Duration
}

func (p *pages) ForgetProducers(_ context.Context, idle time.Duration, after store.ProducerCursor) (store.Forgotten, error) {
	p.asked, p.at, p.idle = append(p.asked, after.PartitionID), append(p.at, time.Now()), idle
	if p.fail {
		p.fail = false
		return store.Forgotten{}, errors.New("out of reach")
	}
	if after.PartitionID+1 == p.n {
		return store.Forgotten{Producers: 1}, nil
	}
	return store.Forgotten{Producers: 1, Next: &store.ProducerCursor{PartitionID: after.PartitionID + 1}}, nil
}

func runForgetter(t *testing.T, p *pages, expiry, during time.Duration) {
	t.Helper()
	f, err := NewForgetter(p, expiry, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), during)
	defer cancel()
	if err := f.Run(ctx); err != nil {
		t.Error(err)
	}
}

func TestForgetterPassesOverAllPagesThenRests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &pages{n: 3}
		runForgetter(t, p, 168*time.Hour, time.Hour+time.Second)
		if len(p.asked) != 6 || p.asked[0] != 0 || p.asked[1] != 1 || p.asked[2] != 2 || p.asked[3] != 0 {
			t.Errorf("pages asked for: %v", p.asked)
		}
		if rested := p.at[3].Sub(p.at[2]); rested != mostRest {
			t.Errorf("rested for %v between two passes", rested)
		}
		if p.idle != 168*time.Hour {
			t.Errorf("idle: %v", p.idle)
		}
	})
}

func TestForgetterRestsLessForAShortExpiry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &pages{n: 1}
		runForgetter(t, p, time.Hour, time.Hour+time.Second)
		if len(p.asked) != passes+1 {
			t.Errorf("%d passes in an hour", len(p.asked))
		}
	})
}

func TestForgetterGoesOnAfterAFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &pages{n: 1, fail: true}
		runForgetter(t, p, time.Hour, 5*time.Minute+time.Second)
		if len(p.asked) != 3 {
			t.Errorf("asked %d times", len(p.asked))
		}
	})
}

func TestForgetterRefusesAnExpiryOfNothing(t *testing.T) {
	t.Parallel()
	if _, err := NewForgetter(&pages{}, 0, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("an expiry of nothing forgets everybody")
	}
}
