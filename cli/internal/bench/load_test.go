package bench

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/streamhouse/streamhouse/client"
)

// slowCluster acknowledges a record after a while, and takes none while it stalls: then Produce blocks.
type slowCluster struct {
	latency          time.Duration
	stallFrom, stall time.Duration // since began
	began            time.Time
	fail             func(r *client.Record) error
	answers          sync.WaitGroup
}

func (c *slowCluster) Produce(_ context.Context, r *client.Record, done func(*client.Record, error)) {
	if since := time.Since(c.began); c.stall > 0 && since >= c.stallFrom && since < c.stallFrom+c.stall {
		time.Sleep(c.stallFrom + c.stall - since)
	}
	var err error
	if c.fail != nil {
		err = c.fail(r)
	}
	c.answers.Go(func() {
		time.Sleep(c.latency)
		done(r, err)
	})
}

// A cluster that stalls for a second is seen to have made every record wait that was due meanwhile, not only the one that was stuck in the
// call: no coordinated omission.
func TestStallCountsForEveryRecordThatWasDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &slowCluster{latency: 2 * time.Millisecond, stallFrom: time.Second, stall: time.Second, began: time.Now()}
		tally := &tally{}
		tally.counted.Store(&span{from: time.Now()})
		l := newLoad(c, tally, newPayload(PayloadJSON, 100), []string{"t"}, 0)
		l.run(t.Context(), schedule{first: time.Now(), rate: 1000, until: time.Now().Add(4 * time.Second), limit: noLimit})
		c.answers.Wait()
		if l.sent != 4000 || tally.latency.Count() != 4000 || tally.acked.Load() != 4000 {
			t.Fatalf("%d sent, %d timed, %d acknowledged, want 4000", l.sent, tally.latency.Count(), tally.acked.Load())
		}
		// A quarter was due in the stall, and waited from 0 to 1 s, evenly.
		for q, want := range map[float64]time.Duration{
			0.74: 2 * time.Millisecond, 0.875: 502 * time.Millisecond, 1: 1002 * time.Millisecond,
		} {
			if got := tally.latency.Quantile(q); got < want-15*time.Millisecond || got > want+15*time.Millisecond {
				t.Errorf("quantile %v: %v, want about %v", q, got, want)
			}
		}
	})
}

// A record is never handed over before its time, all are, and their number is that of the schedule: whatever the rate, however it is divided.
func TestScheduleIsKept(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		rate := rapid.Float64Range(0.5, 50_000).Draw(rt, "rate")
		parts := rapid.IntRange(1, 5).Draw(rt, "parts")
		limit := rapid.Int64Range(0, 300).Draw(rt, "limit")
		most := rapid.IntRange(1, 64).Draw(rt, "most")
		synctest.Test(t, func(*testing.T) {
			whole := schedule{first: time.Now(), rate: rate, limit: limit}
			var sum int64
			for i := range parts {
				next := int64(0)
				sum += whole.part(i, parts).run(context.Background(), most, func(from int64, count int, due func(int64) time.Time) {
					if from != next || count < 1 || count > most {
						rt.Fatalf("part %d: %d records from %d, want from %d", i, count, from, next)
					}
					for n := from; n < from+int64(count); n++ {
						if late := time.Since(due(n)); late < 0 {
							rt.Fatalf("part %d: record %d goes %v too early", i, n, -late)
						}
					}
					next += int64(count)
				})
			}
			if sum != limit {
				rt.Fatalf("%d records in all, want %d", sum, limit)
			}
		})
	})
}

func TestScheduleEndsInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		n := schedule{first: began, rate: 10, until: began.Add(time.Second), limit: noLimit}.run(t.Context(), 5, func(int64, int, func(int64) time.Time) {})
		if n != 10 || time.Since(began) > time.Second {
			t.Errorf("%d records in %v", n, time.Since(began))
		}
		began = time.Now()
		schedule{first: began, until: began.Add(time.Second), limit: noLimit}.run(t.Context(), 5, func(int64, int, func(int64) time.Time) {
			time.Sleep(10 * time.Millisecond)
		})
		if took := time.Since(began); took != time.Second {
			t.Errorf("without a rate it took %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 350*time.Millisecond)
		defer cancel()
		if n := (schedule{first: time.Now(), rate: 10, limit: noLimit}).run(ctx, 5, func(int64, int, func(int64) time.Time) {}); n != 4 {
			t.Errorf("%d records before it was interrupted", n)
		}
	})
}

func TestWarmUpDoesNotCount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &slowCluster{latency: time.Millisecond, began: time.Now()}
		tally := &tally{}
		l := newLoad(c, tally, newPayload(PayloadJSON, 100), []string{"t"}, 0)
		l.run(t.Context(), schedule{first: time.Now(), rate: 100, limit: 50})
		time.Sleep(time.Millisecond)
		tally.counted.Store(&span{from: time.Now(), to: time.Now().Add(time.Second)})
		l.run(t.Context(), schedule{first: time.Now(), rate: 100, limit: 200})
		c.answers.Wait()
		if tally.latency.Count() != 100 || tally.acked.Load() != 250 {
			t.Errorf("%d timed, %d acknowledged", tally.latency.Count(), tally.acked.Load())
		}
	})
}

func TestFailuresAreKnownByNumber(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		values := newPayload(PayloadJSON, 100)
		c := &slowCluster{began: time.Now(), fail: func(r *client.Record) error {
			switch _, n, _ := values.readStamp(r.Value); n {
			case 600:
				return &client.Error{Reason: client.ReasonOverloaded, Written: client.SurelyNotWritten}
			case 601:
				return errors.New("who knows")
			case 602:
				return &client.Error{Reason: client.ReasonDuplicateTooOld, Written: client.WrittenBefore}
			}
			return nil
		}}
		tally := &tally{}
		l := newLoad(c, tally, values, []string{"t", "u"}, 3)
		l.stamp = true
		l.run(t.Context(), schedule{first: time.Now(), limit: 1000})
		c.answers.Wait()
		if len(l.failed) != 2 || l.failed[600] != client.SurelyNotWritten || l.failed[601] != client.PossiblyWritten {
			t.Errorf("failed: %v", l.failed)
		}
		if tally.acked.Load() != 998 || tally.failed.Load() != 2 || tally.failure() == nil {
			t.Errorf("%d acknowledged, %d failed, %v", tally.acked.Load(), tally.failed.Load(), tally.failure())
		}
	})
}
