package lookup

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/streamhouse/streamhouse/dataplane/internal/lookup/catalogtest"
	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	"github.com/streamhouse/streamhouse/dataplane/internal/route"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func id(n int32) partition.ID { return partition.ID{Topic: object.UUID{1, 2, 3}, Number: n} }

func segment(base int64, count int32) *controlplanev1.Segment {
	return &controlplanev1.Segment{ObjectKey: "o", BaseOffset: base, RecordCount: count, SizeBytes: 10, Epoch: 1}
}

// rig is a coalescer and a watch at work in a bubble.
type rig struct {
	catalog   catalogtest.Catalog
	index     *Index
	coalescer *Coalescer
	watch     *Watch
	table     *route.Table
	stop      func()
}

// start must be called in a bubble; the test calls stop before the bubble ends.
func start(t *testing.T, config Config) *rig {
	t.Helper()
	r := &rig{table: route.New("a", nil)}
	var err error
	if r.index, err = NewIndex(IndexConfig{}); err != nil {
		t.Fatal(err)
	}
	if r.coalescer, err = NewCoalescer(&r.catalog, r.index, config); err != nil {
		t.Fatal(err)
	}
	if r.watch, err = NewWatch(r.coalescer, r.index, r.table, 250*time.Millisecond, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = r.coalescer.Run(ctx) })
	running.Go(func() { _ = r.watch.Run(ctx) })
	r.stop = func() { cancel(); running.Wait() }
	return r
}

func TestP4_RunningLookupIsNotJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{})
		defer r.stop()
		r.catalog.Add(id(0))
		r.catalog.Delay(100 * time.Millisecond)
		query := Query{Partition: id(0), By: ByOffset, At: 0, MaxSegments: 1}
		var early Answer
		var asking sync.WaitGroup
		asking.Go(func() { early = r.ask(t, query) })
		time.Sleep(50 * time.Millisecond) // the first lookup has read the catalog and is on its way back
		r.catalog.Commit(id(0), segment(0, 1))
		if late := r.ask(t, query); late.State.HighWatermark != 1 || len(late.Segments) != 1 {
			t.Errorf("a request after the commit was told %+v", late)
		}
		asking.Wait()
		if early.State.HighWatermark != 0 {
			t.Errorf("the first lookup was told %+v, it read before the commit", early)
		}
	})
}

func (r *rig) ask(t *testing.T, q Query) Answer {
	t.Helper()
	answers, err := r.coalescer.Ask(t.Context(), q)
	if err != nil {
		t.Error(err)
		return Answer{}
	}
	return answers[0]
}

func TestAsksThatWaitShareALookup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{InFlight: 1})
		defer r.stop()
		for n := range int32(10) {
			r.catalog.Add(id(n))
		}
		r.catalog.Delay(100 * time.Millisecond)
		var asking sync.WaitGroup
		asking.Go(func() { r.ask(t, Query{Partition: id(0)}) })
		synctest.Wait()
		for i := range int32(1000) {
			asking.Go(func() { r.ask(t, Query{Partition: id(i % 10)}) })
		}
		asking.Wait()
		calls := r.catalog.Calls()
		if len(calls) != 2 || len(calls[1].GetPartitions()) != 10 {
			t.Errorf("%d lookups, the last of %d partitions; want 2, of 10", len(calls), len(calls[len(calls)-1].GetPartitions()))
		}
	})
}

func TestLookupsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{})
		defer r.stop()
		var queries []Query
		for n := range int32(2500) {
			r.catalog.Add(id(n))
			queries = append(queries, Query{Partition: id(n), By: ByOffset, MaxSegments: 100})
		}
		for n := range int32(2500) {
			queries = append(queries, Query{Partition: id(n)})
		}
		answers, err := r.coalescer.Ask(t.Context(), queries...)
		if err != nil || len(answers) != len(queries) {
			t.Fatalf("%d answers, %v", len(answers), err)
		}
		for _, call := range r.catalog.Calls() {
			segments := int32(0)
			for _, p := range call.GetPartitions() {
				segments += p.GetMaxSegments()
			}
			if len(call.GetPartitions()) > 1000 || segments > 10_000 {
				t.Errorf("a lookup of %d partitions and %d segments", len(call.GetPartitions()), segments)
			}
		}
	})
}

func TestP4_FailedLookupIsNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{Timeout: time.Second})
		defer r.stop()
		r.catalog.Add(id(0))
		r.catalog.Fail(errors.New("connection refused"))
		if _, err := r.coalescer.Ask(t.Context(), Query{Partition: id(0)}); !errors.Is(err, ErrUnavailable) {
			t.Errorf("error %v, want ErrUnavailable", err)
		}
		r.catalog.Fail(nil)
		r.catalog.Delay(time.Hour)
		began := time.Now()
		if _, err := r.coalescer.Ask(t.Context(), Query{Partition: id(0)}); !errors.Is(err, ErrUnavailable) || time.Since(began) != time.Second {
			t.Errorf("error %v after %s, want ErrUnavailable after 1s", err, time.Since(began))
		}
		r.catalog.Delay(0)
		r.ask(t, Query{Partition: id(0)})
	})
}

// wrong answers with other partitions than asked for.
type wrong struct {
	partitions []*controlplanev1.LookupOutcome
}

func (w wrong) Lookup(context.Context, *controlplanev1.LookupRequest) (*controlplanev1.LookupResponse, error) {
	return &controlplanev1.LookupResponse{Outcomes: w.partitions}, nil
}

func TestP4_WrongAnswerIsNoAnswer(t *testing.T) {
	topic := id(0).Topic
	for name, outcomes := range map[string][]*controlplanev1.LookupOutcome{
		"none":            nil,
		"other partition": {{TopicId: topic[:], Partition: 7}},
		"other topic":     {{TopicId: []byte("another topic, 16")[:16]}},
		"too many":        {{TopicId: topic[:]}, {TopicId: topic[:]}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				index, _ := NewIndex(IndexConfig{})
				c, err := NewCoalescer(wrong{outcomes}, index, Config{})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				var running sync.WaitGroup
				running.Go(func() { _ = c.Run(ctx) })
				if _, err := c.Ask(ctx, Query{Partition: id(0)}); !errors.Is(err, ErrUnavailable) {
					t.Errorf("error %v, want ErrUnavailable", err)
				}
				cancel()
				running.Wait()
			})
		})
	}
}

func TestAskThatIsLeftIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{InFlight: 1})
		defer r.stop()
		for n := range int32(3) {
			r.catalog.Add(id(n))
		}
		r.catalog.Delay(100 * time.Millisecond)
		var asking sync.WaitGroup
		asking.Go(func() { r.ask(t, Query{Partition: id(0)}) })
		synctest.Wait()
		hasty, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		asking.Go(func() {
			if _, err := r.coalescer.Ask(hasty, Query{Partition: id(1)}, Query{Partition: id(2)}); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v, want the context's", err)
			}
		})
		asking.Go(func() { r.ask(t, Query{Partition: id(2)}) }) // stays
		asking.Wait()
		calls := r.catalog.Calls()
		if len(calls) != 2 || len(calls[1].GetPartitions()) != 1 || calls[1].GetPartitions()[0].GetPartition() != 2 {
			t.Errorf("lookups %v, want the second of partition 2 alone", calls)
		}
		r.coalescer.mu.Lock()
		defer r.coalescer.mu.Unlock()
		if len(r.coalescer.pending) != 0 || len(r.coalescer.queue) != 0 {
			t.Errorf("%d pending and %d queued are left behind", len(r.coalescer.pending), len(r.coalescer.queue))
		}
	})
}

func TestTooManyAsksAreRefused(t *testing.T) {
	index, _ := NewIndex(IndexConfig{})
	c, err := NewCoalescer(&catalogtest.Catalog{}, index, Config{MaxPending: 1000})
	if err != nil {
		t.Fatal(err)
	}
	queries := make([]Query, 1001)
	for i := range queries {
		queries[i].Partition = id(int32(i))
	}
	if _, err := c.Ask(t.Context(), queries...); !errors.Is(err, ErrOverloaded) {
		t.Errorf("error %v, want ErrOverloaded", err)
	}
}

func TestStopAnswersWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{InFlight: 1})
		r.catalog.Add(id(0))
		r.catalog.Delay(time.Hour)
		var asking sync.WaitGroup
		for n := range int32(3) {
			asking.Go(func() {
				if _, err := r.coalescer.Ask(t.Context(), Query{Partition: id(n)}); !errors.Is(err, ErrUnavailable) {
					t.Errorf("error %v, want ErrUnavailable", err)
				}
			})
			synctest.Wait()
		}
		r.stop()
		asking.Wait()
		if _, err := r.coalescer.Ask(t.Context(), Query{Partition: id(0)}); !errors.Is(err, ErrUnavailable) {
			t.Errorf("error %v after the end, want ErrUnavailable", err)
		}
	})
}
