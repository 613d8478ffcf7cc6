package suspicion

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const group = store.AgentGroup("default")

// agents are a catalog and the agents in it: each session's address is its id.
type agents struct {
	mu        sync.Mutex
	ended     map[uuid.UUID]bool
	suspected []uuid.UUID
	down      bool // the catalog
	knocks    int
	// answer is what the n-th knock, from 1 on, comes to.
	answer func(ctx context.Context, n int) error
}

var errDown = errors.New("catalog out of reach")

func (a *agents) SessionAddress(_ context.Context, g store.AgentGroup, id uuid.UUID) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.down || a.ended[id] || g != group {
		return "", errDown
	}
	return "http://" + id.String(), nil
}

func (a *agents) SuspectRefused(ctx context.Context, _ store.AgentGroup, id uuid.UUID) (bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if a.ended[id] {
		return false, nil
	}
	a.suspected = append(a.suspected, id)
	return true, nil
}

func (a *agents) knock(ctx context.Context, _ string) error {
	a.mu.Lock()
	a.knocks++
	n := a.knocks
	a.mu.Unlock()
	return a.answer(ctx, n)
}

// simulate runs a story on virtual time with an asker that runs.
func simulate(t *testing.T, a *agents, story func(asker *Asker)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		asker := New(a, a.knock, slog.New(slog.DiscardHandler), nil)
		ended := make(chan error, 1)
		go func() { ended <- asker.Run(ctx) }()
		story(asker)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func refused() error {
	return fmt.Errorf("knock: %w", &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED})
}

func TestRefusedIsSuspectAtOnce(t *testing.T) {
	a := &agents{answer: func(context.Context, int) error { return refused() }}
	id := uuid.New()
	simulate(t, a, func(asker *Asker) {
		asker.WatchBroke(group, id)
		synctest.Wait() // no time passes
	})
	if !slices.Equal(a.suspected, []uuid.UUID{id}) || a.knocks != 1 {
		t.Fatalf("suspected %v after %d knocks", a.suspected, a.knocks)
	}
}

// A process that dies closes its watch before its listener: what was still accepted is reset.
func TestResetIsAskedAgain(t *testing.T) {
	a := &agents{answer: func(_ context.Context, n int) error {
		if n < 3 {
			return syscall.ECONNRESET
		}
		return refused()
	}}
	simulate(t, a, func(asker *Asker) {
		asker.WatchBroke(group, uuid.New())
		time.Sleep(50 * time.Millisecond)
		synctest.Wait()
	})
	if len(a.suspected) != 1 || a.knocks != 3 {
		t.Fatalf("suspected %v after %d knocks", a.suspected, a.knocks)
	}
}

func TestNothingElseIsAVerdict(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(context.Context, int) error
		knocks int
	}{
		"an answer": {func(context.Context, int) error { return nil }, 1},
		"silence": {func(ctx context.Context, _ int) error {
			<-ctx.Done()
			return fmt.Errorf("knock: %w", ctx.Err())
		}, 1},
		"resets":              {func(context.Context, int) error { return syscall.ECONNRESET }, attempts},
		"no way to the agent": {func(context.Context, int) error { return syscall.EHOSTUNREACH }, attempts},
	} {
		a := &agents{answer: c.answer}
		simulate(t, a, func(asker *Asker) {
			asker.WatchBroke(group, uuid.New())
			time.Sleep(time.Minute)
		})
		if len(a.suspected) != 0 || a.knocks != c.knocks {
			t.Errorf("%s: suspected %v after %d knocks", name, a.suspected, a.knocks)
		}
	}
}

func TestNobodyIsAskedForWithoutNeed(t *testing.T) {
	id := uuid.New()
	for name, a := range map[string]*agents{
		"a session that has ended":  {ended: map[uuid.UUID]bool{id: true}},
		"a catalog out of reach":    {down: true},
		"P7: another agent group's": {},
	} {
		asked := group
		if name[0] == 'P' {
			asked = "other"
		}
		a.answer = func(context.Context, int) error { return refused() }
		simulate(t, a, func(asker *Asker) {
			asker.WatchBroke(asked, id)
			time.Sleep(time.Minute)
		})
		if len(a.suspected) != 0 || a.knocks != 0 {
			t.Errorf("%s: suspected %v after %d knocks", name, a.suspected, a.knocks)
		}
	}
}

// A replica that stops must not judge: whatever it finds out while it stops may be its own doing.
func TestNobodyIsSuspectedByAReplicaThatStops(t *testing.T) {
	a := &agents{}
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		a.answer = func(context.Context, int) error {
			stop()
			return refused()
		}
		asker := New(a, a.knock, slog.New(slog.DiscardHandler), nil)
		asker.WatchBroke(group, uuid.New())
		if err := asker.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	if len(a.suspected) != 0 {
		t.Fatalf("suspected %v", a.suspected)
	}
}

func TestManyBrokenWatchesAreBounded(t *testing.T) {
	var now, most int
	a := &agents{}
	a.answer = func(ctx context.Context, _ int) error {
		a.mu.Lock()
		now++
		most = max(most, now)
		a.mu.Unlock()
		time.Sleep(100 * time.Millisecond)
		a.mu.Lock()
		now--
		a.mu.Unlock()
		return refused()
	}
	again := uuid.New()
	simulate(t, a, func(asker *Asker) {
		for range 5 {
			asker.WatchBroke(group, again)
		}
		for range 2 * maxWaiting { // never waits
			asker.WatchBroke(group, uuid.New())
		}
		time.Sleep(time.Minute)
	})
	if most != maxAsking || len(a.suspected) < maxWaiting || len(a.suspected) > maxWaiting+maxAsking {
		t.Fatalf("%d at once, %d suspected", most, len(a.suspected))
	}
	if count(a.suspected, again) != 1 {
		t.Fatalf("one session was asked after %d times", count(a.suspected, again))
	}
}

func count(ids []uuid.UUID, id uuid.UUID) (n int) {
	for _, other := range ids {
		if other == id {
			n++
		}
	}
	return n
}

func TestHTTP(t *testing.T) {
	ill := httptest.NewServer(http.NotFoundHandler())
	defer ill.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	away := httptest.NewServer(http.RedirectHandler(gone.URL, http.StatusFound))
	defer away.Close()
	t.Setenv("HTTP_PROXY", gone.URL)
	knock := HTTP()
	if err := knock(t.Context(), ill.URL); err != nil {
		t.Errorf("any answer is one: %v", err)
	}
	if err := knock(t.Context(), away.URL); err != nil {
		t.Errorf("a redirect is an answer: %v", err)
	}
	if err := knock(t.Context(), gone.URL); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v", err)
	}
	if err := knock(t.Context(), "nonsense"); err == nil || errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v", err)
	}
}
