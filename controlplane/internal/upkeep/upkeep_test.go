package upkeep_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/serve/telemetry"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/upkeep"
)

// told is a catalog that says what the test wants.
type told struct {
	mu    sync.Mutex // guards state, err
	state store.UpkeepState
	err   error
	looks atomic.Int64
}

func (c *told) say(state store.UpkeepState, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state, c.err = state, err
}

func (c *told) UpkeepStates(context.Context) ([]store.UpkeepState, error) {
	c.looks.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	return []store.UpkeepState{c.state}, c.err
}

func (c *told) TableSizes(context.Context) ([]store.TableSize, error) {
	return []store.TableSize{{Name: "segments", Rows: 7, DeadRows: 3, Bytes: 8192}}, nil
}

// lines of a log, by any number of goroutines.
type lines struct {
	mu  sync.Mutex // guards all
	all bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(b)
}

// count counts those with a text.
func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.all.String(), text)
}

// Who is behind for long is complained of, once and every hour, and when it is over that is said, too.
func TestWorkThatIsBehindIsComplainedOf(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		catalog, log := &told{}, &lines{}
		w, err := upkeep.New(catalog, upkeep.Config{Logger: slog.New(slog.NewTextHandler(log, nil)), CheckpointInterval: 10 * time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- w.Run(ctx) }()
		expect := func(after time.Duration, level string, want int) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			if got := log.count("level=" + level); got != want {
				t.Errorf("%d lines of %s, want %d:\n%s", got, level, want, log.all.String())
			}
		}
		catalog.say(store.UpkeepState{AgentGroup: "default", CheckpointAge: 30 * time.Minute}, nil)
		expect(time.Hour, "WARN", 0)
		catalog.say(store.UpkeepState{AgentGroup: "default", CheckpointAge: 72 * time.Hour}, nil)
		expect(9*time.Minute, "WARN", 0) // a cluster that was off catches up
		expect(2*time.Minute, "WARN", 1)
		expect(58*time.Minute, "WARN", 1)
		expect(2*time.Minute, "WARN", 2)
		catalog.say(store.UpkeepState{AgentGroup: "default"}, nil)
		expect(time.Minute, "INFO", 1)
		catalog.say(store.UpkeepState{AgentGroup: "default", DeletionOverdue: time.Hour}, nil)
		expect(11*time.Minute, "WARN", 3)
		catalog.say(store.UpkeepState{}, errors.New("database out of reach"))
		time.Sleep(20 * time.Second) // one look or two
		synctest.Wait()
		if log.count("database out of reach") == 0 {
			t.Errorf("nothing is said of a database out of reach:\n%s", log.all.String())
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// gauges reads our values, as a scraper sees them.
func gauges(t *testing.T, measured *telemetry.Provider) map[string]string {
	t.Helper()
	mux, answer := http.NewServeMux(), httptest.NewRecorder()
	measured.Mount(mux)
	mux.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	values := map[string]string{}
	for line := range strings.Lines(answer.Body.String()) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "} "); ok && strings.HasPrefix(name, "streamhouse_") {
			name, labels, _ := strings.Cut(name, "{")
			kept := slices.DeleteFunc(strings.Split(labels, ","), func(label string) bool { return strings.HasPrefix(label, "otel_scope") })
			values[name+" "+strings.Join(kept, ",")] = value
		}
	}
	return values
}

// The replica that leads shows what it saw, and nobody else does.
func TestOnlyTheLeaderLooks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var leads atomic.Bool
		catalog := &told{}
		measured, err := telemetry.New(telemetry.DefaultConfig(), telemetry.Identity{Service: "test"}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = measured.Close(t.Context()) }()
		catalog.say(store.UpkeepState{
			AgentGroup: "default", CheckpointAge: time.Minute, Freed: store.Waiting{Objects: 4, Oldest: time.Second},
			Jobs: map[controlplanev1.JobKind]store.HeldJobs{controlplanev1.JobKind_JOB_KIND_SWEEP: {Jobs: 2, Oldest: 3 * time.Second}},
		}, nil)
		w, err := upkeep.New(catalog, upkeep.Config{Leads: leads.Load, Meter: measured.Meter()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- w.Run(ctx) }()
		time.Sleep(time.Hour)
		if n := catalog.looks.Load(); n != 0 {
			t.Errorf("%d looks of a replica that does not lead", n)
		}
		leads.Store(true)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		seen := gauges(t, measured)
		for name, want := range map[string]string{
			`streamhouse_checkpoint_age_seconds agent_group="default"`:                       "60",
			`streamhouse_objects_waiting agent_group="default",for="checkpoint"`:             "4",
			`streamhouse_objects_waiting agent_group="default",for="deletion"`:               "0",
			`streamhouse_objects_waiting agent_group="default",for="orphan deletion"`:        "0",
			`streamhouse_objects_waiting_age_seconds agent_group="default",for="checkpoint"`: "1",
			`streamhouse_objects_overdue_seconds agent_group="default"`:                      "0",
			`streamhouse_sweep_behind_seconds agent_group="default"`:                         "0",
			`streamhouse_jobs_held agent_group="default",kind="sweep"`:                       "2",
			`streamhouse_jobs_held agent_group="default",kind="compact"`:                     "0",
			`streamhouse_jobs_age_seconds agent_group="default",kind="sweep"`:                "3",
			`streamhouse_catalog_rows table="segments"`:                                      "7",
			`streamhouse_catalog_dead_rows table="segments"`:                                 "3",
			`streamhouse_catalog_size_bytes table="segments"`:                                "8192",
		} {
			if got, ok := seen[name]; !ok || got != want {
				t.Errorf("%s is %q (%v), want %q", name, got, ok, want)
			}
		}
		leads.Store(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if seen := gauges(t, measured); len(seen) != 0 {
			t.Errorf("a replica that leads no more shows %v", seen)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
