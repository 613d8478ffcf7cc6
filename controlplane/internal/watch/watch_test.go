package watch_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/watch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	interval = 100 * time.Millisecond
	group    = store.AgentGroup("default")
	other    = store.AgentGroup("other")
)

// rows is the smallest placement: each revision is one partition row, and the newest row of a partition counts.
type rows struct {
	mu         sync.Mutex
	newest     map[store.AgentGroup]int64
	partitions map[store.AgentGroup]map[int32]int64 // partition → revision
	ended      bool
	down       bool
	hearing    bool
	changed    chan struct{}
	// How often each query ran.
	polls, pages, checks int
}

func newRows() *rows {
	return &rows{
		newest:     map[store.AgentGroup]int64{group: 0, other: 0},
		partitions: map[store.AgentGroup]map[int32]int64{group: {}, other: {}},
		changed:    make(chan struct{}, 1),
	}
}

var errDown = store.Refuse(refusalv1.Reason_REASON_CATALOG_UNAVAILABLE, "down")

func (r *rows) Revisions(context.Context) (map[store.AgentGroup]int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.polls++
	if r.down {
		return nil, errDown
	}
	return map[store.AgentGroup]int64{group: r.newest[group], other: r.newest[other]}, nil
}

func (r *rows) PlacementAfter(_ context.Context, g store.AgentGroup, after int64, limit int) (*controlplanev1.Placement, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pages++
	if r.down {
		return nil, errDown
	}
	page := &controlplanev1.Placement{Revision: r.newest[g]}
	for revision := after + 1; revision <= r.newest[g]; revision++ {
		for partition, at := range r.partitions[g] {
			if at != revision {
				continue
			}
			if len(page.GetPartitions()) == limit {
				page.More = true
				page.Revision = page.GetPartitions()[limit-1].GetRevision()
				return page, nil
			}
			page.Partitions = append(page.Partitions, &controlplanev1.PlacedPartition{Partition: partition, Revision: at})
		}
	}
	return page, nil
}

func (r *rows) PlacementChanged() <-chan struct{} { return r.changed }

func (r *rows) Hearing() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hearing
}

func (r *rows) CheckSession(context.Context, store.AgentGroup, uuid.UUID) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checks++
	if r.ended {
		return store.Refuse(refusalv1.Reason_REASON_SESSION_EXPIRED, "ended")
	}
	return nil
}

// change changes partitions; here: in this process, so that the hub is nudged.
func (r *rows) change(g store.AgentGroup, here bool, partitions ...int32) {
	r.mu.Lock()
	for _, partition := range partitions {
		r.newest[g]++
		r.partitions[g][partition] = r.newest[g]
	}
	r.mu.Unlock()
	if here {
		select {
		case r.changed <- struct{}{}:
		default:
		}
	}
}

func (r *rows) set(change func(*rows)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(r)
}

func (r *rows) count(of func(*rows) int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return of(r)
}

// watcher applies what it is sent, as an agent does.
type watcher struct {
	mu       sync.Mutex
	known    map[int32]int64
	revision int64
	signs    int
	changes  int
	learned  time.Time // when the last change came
	slow     time.Duration
	ended    chan error
}

func (w *watcher) apply(response *controlplanev1.WatchResponse) error {
	time.Sleep(w.slow)
	w.mu.Lock()
	defer w.mu.Unlock()
	if response.GetPlacement() == nil {
		w.signs++
		return nil
	}
	w.changes++
	w.revision, w.learned = response.GetPlacement().GetRevision(), time.Now()
	for _, row := range response.GetPlacement().GetPartitions() {
		w.known[row.GetPartition()] = row.GetRevision()
	}
	return nil
}

func (w *watcher) see(look func(*watcher)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	look(w)
}

// world is a hub, its source, and the time they live in.
type world struct {
	rows *rows
	hub  *watch.Hub
	log  *bytes.Buffer
	ctx  context.Context
}

// simulate runs a story on virtual time with a hub that runs.
func simulate(t *testing.T, story func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		w := &world{rows: newRows(), log: &bytes.Buffer{}, ctx: ctx}
		hub, err := watch.New(w.rows, interval, slog.New(slog.NewTextHandler(w.log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		w.hub = hub
		ended := make(chan error, 1)
		go func() { ended <- hub.Run(ctx) }()
		story(t, w)
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		time.Sleep(10 * time.Second) // slow watchers end, too; synctest fails if one stays
	})
}

func (w *world) watch(g store.AgentGroup, revision int64, slow time.Duration) *watcher {
	watching := &watcher{known: map[int32]int64{}, slow: slow, ended: make(chan error, 1)}
	go func() {
		watching.ended <- w.hub.Watch(w.ctx, watch.Watcher{AgentGroup: g, SessionID: uuid.New(), Revision: revision}, watching.apply)
	}()
	return watching
}

func TestTheFirstMessageComesAtOnceAndThenSignsOfLife(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		watching := w.watch(group, 0, 0)
		synctest.Wait()
		watching.see(func(x *watcher) {
			if x.changes != 1 {
				t.Errorf("%d messages at once", x.changes)
			}
		})
		time.Sleep(time.Minute + time.Millisecond)
		watching.see(func(x *watcher) {
			if x.signs != 60 || x.changes != 1 {
				t.Errorf("in an idle minute: %d signs of life, %d changes", x.signs, x.changes)
			}
		})
		if checks := w.rows.count(func(r *rows) int { return r.checks + r.pages }); checks != 2 {
			t.Errorf("an idle minute of a watcher cost %d queries", checks)
		}
	})
}

func TestChangesArrive(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		watching, stranger := w.watch(group, 0, 0), w.watch(other, 0, 0)
		time.Sleep(time.Second)
		for name, c := range map[string]struct {
			here  bool
			bound time.Duration
		}{
			"of another replica": {false, interval + 20*time.Millisecond},
			"of this process":    {true, 20 * time.Millisecond},
		} {
			time.Sleep(333 * time.Millisecond)
			changed := time.Now()
			w.rows.change(group, c.here, 1, 2, 3)
			time.Sleep(time.Second)
			watching.see(func(x *watcher) {
				if x.revision != w.rows.newest[group] || len(x.known) != 3 {
					t.Errorf("%s: knows %v at revision %d", name, x.known, x.revision)
				}
				if took := x.learned.Sub(changed); took < 0 || took > c.bound {
					t.Errorf("%s: took %v", name, took)
				}
			})
		}
		stranger.see(func(x *watcher) {
			if x.changes != 1 || len(x.known) != 0 {
				t.Errorf("P7: another agent group saw %v", x.known)
			}
		})
	})
}

// TestPollsAreQuickWhileThingsMove: right after a change the next one of another replica is seen in a fourth of the time; without a watcher, or
// when nothing moves, nobody polls more often than the interval.
func TestPollsAreQuickWhileThingsMove(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		polls := func(d time.Duration) int {
			before := w.rows.count(func(r *rows) int { return r.polls })
			time.Sleep(d)
			return w.rows.count(func(r *rows) int { return r.polls }) - before
		}
		w.rows.change(group, false, 1)
		time.Sleep(interval + time.Millisecond)
		if n := polls(time.Second); n > 10 {
			t.Errorf("%d polls a second for nobody", n)
		}
		watching := w.watch(group, 0, 0)
		time.Sleep(time.Second)
		for i := range int32(20) {
			changed := time.Now()
			w.rows.change(group, false, i)
			time.Sleep(50*time.Millisecond + time.Duration(i)*time.Millisecond)
			watching.see(func(x *watcher) {
				if took := x.learned.Sub(changed); i > 2 && (took < 0 || took > interval/4+time.Millisecond) {
					t.Errorf("change %d took %v", i, took)
				}
			})
		}
		time.Sleep(3 * time.Second)
		if n := polls(time.Second); n > 10 {
			t.Errorf("%d polls a second while nothing moves", n)
		}
	})
}

func TestPollsAreRareWhileOthersTell(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		w.rows.set(func(r *rows) { r.hearing = true })
		watching := w.watch(group, 0, 0)
		time.Sleep(5 * time.Second)
		before := w.rows.count(func(r *rows) int { return r.polls })
		time.Sleep(10 * time.Second)
		if polls := w.rows.count(func(r *rows) int { return r.polls }) - before; polls > 11 {
			t.Errorf("%d polls in 10 s", polls)
		}
		w.rows.set(func(r *rows) { r.down = true })
		time.Sleep(2 * time.Second)
		w.rows.set(func(r *rows) { r.down = false })
		time.Sleep(time.Second)
		before = w.rows.count(func(r *rows) int { return r.polls })
		time.Sleep(10 * time.Second)
		if polls := w.rows.count(func(r *rows) int { return r.polls }) - before; polls < 90 {
			t.Errorf("%d polls in 10 s, soon after the database was out of reach", polls)
		}
		changed := time.Now()
		w.rows.change(group, true, 1)
		time.Sleep(time.Second)
		watching.see(func(w *watcher) {
			if late := w.learned.Sub(changed); w.changes == 0 || late > 10*time.Millisecond {
				t.Errorf("learned of a change that was told after %v", late)
			}
		})
	})
}

func TestPagesAndAStartInTheMiddle(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		all := make([]int32, 2*store.PlacementPage+500)
		for i := range all {
			all[i] = int32(i)
		}
		w.rows.change(group, false, all...)
		fresh, late := w.watch(group, 0, 0), w.watch(group, int64(2*store.PlacementPage), 0)
		time.Sleep(time.Second)
		fresh.see(func(x *watcher) {
			if x.changes != 3 || len(x.known) != len(all) {
				t.Errorf("%d pages, %d partitions", x.changes, len(x.known))
			}
		})
		late.see(func(x *watcher) {
			if x.changes != 1 || len(x.known) != 500 {
				t.Errorf("%d pages, %d partitions", x.changes, len(x.known))
			}
		})
	})
}

// TestASlowWatcherLagsAndCatchesUp changes a hundred partitions a thousand times while a watcher takes 3 s for each message.
func TestASlowWatcherLagsAndCatchesUp(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		slow, quick := w.watch(group, 0, 3*time.Second), w.watch(group, 0, 0)
		for i := range int32(1000) {
			w.rows.change(group, i%2 == 0, i%100)
			time.Sleep(7 * time.Millisecond)
		}
		time.Sleep(30 * time.Second)
		for name, watching := range map[string]*watcher{"slow": slow, "quick": quick} {
			watching.see(func(x *watcher) {
				if x.revision != 1000 || len(x.known) != 100 {
					t.Errorf("%s: revision %d, %d partitions", name, x.revision, len(x.known))
				}
				for partition, revision := range x.known {
					if revision != w.rows.partitions[group][partition] {
						t.Errorf("%s: partition %d at revision %d, not %d", name, partition, revision, w.rows.partitions[group][partition])
					}
				}
			})
		}
		slow.see(func(x *watcher) {
			if x.changes > 10 {
				t.Errorf("a slow watcher got %d messages: changes must collapse", x.changes)
			}
		})
	})
}

func TestABurstCostsFewPolls(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		time.Sleep(time.Second)
		before := w.rows.count(func(r *rows) int { return r.polls })
		for range 1000 {
			w.rows.change(group, true, 1)
			time.Sleep(time.Millisecond)
		}
		if polls := w.rows.count(func(r *rows) int { return r.polls }) - before; polls > 110 {
			t.Errorf("1000 transactions in 1 s cost %d polls", polls)
		}
	})
}

func TestTheEndOfTheSessionEndsTheStream(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		watching := w.watch(group, 0, 0)
		time.Sleep(5500 * time.Millisecond)
		w.rows.set(func(r *rows) { r.ended = true })
		w.rows.change(group, false, 1) // what ends a session changes its agent group's placement
		ended := time.Now()
		if err := <-watching.ended; !is(err, refusalv1.Reason_REASON_SESSION_EXPIRED) || time.Since(ended) > 1200*time.Millisecond {
			t.Errorf("got %v after %v", err, time.Since(ended))
		}
		if err := <-w.watch(group, 0, 0).ended; !is(err, refusalv1.Reason_REASON_SESSION_EXPIRED) {
			t.Errorf("a new stream got %v", err)
		}
	})
}

// TestTheEndIsSeenUnderConstantChange is the same while changes never pause.
func TestTheEndIsSeenUnderConstantChange(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		watching := w.watch(group, 0, 0)
		time.Sleep(time.Second)
		w.rows.set(func(r *rows) { r.ended = true })
		for range 1000 {
			w.rows.change(group, true, 1)
			time.Sleep(5 * time.Millisecond)
		}
		select {
		case err := <-watching.ended:
			if !is(err, refusalv1.Reason_REASON_SESSION_EXPIRED) {
				t.Errorf("got %v", err)
			}
		default:
			t.Error("the stream goes on 5 s after the end of its session")
		}
	})
}

func TestADatabaseOutOfReachSendsWatchersAway(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		watching := w.watch(group, 0, 0)
		time.Sleep(2 * time.Second)
		w.rows.set(func(r *rows) { r.down = true })
		time.Sleep(2 * time.Second)
		w.rows.set(func(r *rows) { r.down = false })
		time.Sleep(2 * time.Second)
		select {
		case err := <-watching.ended:
			t.Fatalf("a short absence ended the stream: %v", err)
		default:
		}
		w.rows.set(func(r *rows) { r.down = true })
		down := time.Now()
		if err := <-watching.ended; !is(err, refusalv1.Reason_REASON_CATALOG_UNAVAILABLE) || time.Since(down) > 5*time.Second {
			t.Errorf("got %v after %v", err, time.Since(down))
		}
		if warnings := strings.Count(w.log.String(), "placement poll failed"); warnings != 2 {
			t.Errorf("two absences, %d warnings", warnings)
		}
		w.rows.set(func(r *rows) { r.down = false })
		again := w.watch(group, 0, 0)
		time.Sleep(5 * time.Second)
		again.see(func(x *watcher) {
			if x.changes != 1 || x.signs < 4 {
				t.Errorf("after it is back: %d changes, %d signs", x.changes, x.signs)
			}
		})
	})
}

// TestARestoredCatalogIsNoticed: revisions may go back, and then forward past what was known.
func TestARestoredCatalogIsNoticed(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		w.rows.change(group, false, 1, 2, 3, 4)
		watching := w.watch(group, 0, 0)
		time.Sleep(time.Second)
		w.rows.set(func(r *rows) { r.newest[group], r.partitions[group] = 1, map[int32]int64{9: 1} })
		time.Sleep(time.Second)
		watching.see(func(x *watcher) {
			if x.revision != 1 {
				t.Errorf("still at revision %d", x.revision)
			}
		})
	})
}

func TestAReaderWhoIsGoneEndsTheStream(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		gone := errors.New("gone")
		err := w.hub.Watch(w.ctx, watch.Watcher{AgentGroup: group}, func(*controlplanev1.WatchResponse) error { return gone })
		if !errors.Is(err, gone) {
			t.Errorf("got %v", err)
		}
	})
}

func TestAnIntervalIsNeeded(t *testing.T) {
	if _, err := watch.New(newRows(), 0, slog.Default()); err == nil {
		t.Error("0 must not mean anything")
	}
}

func is(err error, reason refusalv1.Reason) bool {
	refused, ok := errors.AsType[*store.Refused](err)
	return ok && refused.Refusal.GetReason() == reason
}
