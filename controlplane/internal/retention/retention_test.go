package retention

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// catalog has some pages for each step, and notes when it was asked for which.
type catalog struct {
	pages         int64
	raises        []int64
	removals      []int64
	raisedAt      []time.Time
	failingRaises int
}

func (c *catalog) next(after store.RetentionCursor) *store.RetentionCursor {
	if after.PartitionID+1 == c.pages {
		return nil
	}
	return &store.RetentionCursor{PartitionID: after.PartitionID + 1}
}

func (c *catalog) RaiseLogStarts(_ context.Context, after store.RetentionCursor) (store.RaisedPage, error) {
	c.raises, c.raisedAt = append(c.raises, after.PartitionID), append(c.raisedAt, time.Now())
	if c.failingRaises > 0 {
		c.failingRaises--
		return store.RaisedPage{}, errors.New("out of reach")
	}
	return store.RaisedPage{Partitions: 1, Next: c.next(after)}, nil
}

func (c *catalog) RemoveBelowLogStarts(_ context.Context, after store.RetentionCursor) (store.RemovedPage, error) {
	c.removals = append(c.removals, after.PartitionID)
	return store.RemovedPage{Segments: 1, Bytes: 10, Next: c.next(after)}, nil
}

func run(t *testing.T, c *catalog, during time.Duration) {
	t.Helper()
	k, err := New(c, Config{Interval: time.Minute, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), during)
	defer cancel()
	if err := k.Run(ctx); err != nil {
		t.Error(err)
	}
}

func TestKeeperPassesOverAllPagesThenRests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &catalog{pages: 3}
		run(t, c, 140*time.Second) // two passes, at 54 to 66 s and as long after
		want := []int64{0, 1, 2, 0, 1, 2}
		if !slices.Equal(c.raises, want) || !slices.Equal(c.removals, want) {
			t.Errorf("first steps %v, second steps %v, wanted %v of each", c.raises, c.removals, want)
		}
		if rested := c.raisedAt[1].Sub(c.raisedAt[0]); rested != pageRest {
			t.Errorf("rested for %v between two pages", rested)
		}
		if rested := c.raisedAt[3].Sub(c.raisedAt[2]); rested < 54*time.Second || rested > 67*time.Second {
			t.Errorf("rested for %v between two passes", rested)
		}
	})
}

// A database that is out of reach in one pass keeps neither the second step of it nor the next pass from being made.
func TestKeeperGoesOnAfterAFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &catalog{pages: 2, failingRaises: 1}
		run(t, c, 140*time.Second)
		if want := []int64{0, 0, 1}; !slices.Equal(c.raises, want) {
			t.Errorf("first steps %v, wanted %v", c.raises, want)
		}
		if want := []int64{0, 1, 0, 1}; !slices.Equal(c.removals, want) {
			t.Errorf("second steps %v, wanted %v", c.removals, want)
		}
	})
}

func TestKeeperRefusesAnIntervalThatIsTooShort(t *testing.T) {
	t.Parallel()
	if _, err := New(&catalog{}, Config{Interval: time.Millisecond}); err == nil {
		t.Error("an interval of 1 ms was taken")
	}
}
