package job

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/metric/noop"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

// desk is a control plane that hands out what it has.
type desk struct {
	Control

	mu      sync.Mutex
	waiting []*controlplanev1.Job
	asked   [][]controlplanev1.JobKind
	ended   map[string]bool // by job: whether it was given up
	lost    bool            // every end is refused
	foreign *controlplanev1.CheckpointHead
}

func (d *desk) ClaimJob(_ context.Context, req *controlplanev1.ClaimJobRequest) (*controlplanev1.ClaimJobResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, req.GetKinds())
	for i, job := range d.waiting {
		for _, kind := range req.GetKinds() {
			if job.GetKind() == kind {
				d.waiting = append(d.waiting[:i:i], d.waiting[i+1:]...)
				return &controlplanev1.ClaimJobResponse{Job: job}, nil
			}
		}
	}
	return &controlplanev1.ClaimJobResponse{}, nil
}

func (d *desk) FinishJob(_ context.Context, req *controlplanev1.FinishJobRequest) (*controlplanev1.FinishJobResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lost {
		return nil, refusal.Newf(refusalv1.Reason_REASON_JOB_LOST, "gone")
	}
	d.ended[req.GetJobId()], d.foreign = req.GetGivenUp(), req.GetForeign()
	return &controlplanev1.FinishJobResponse{}, nil
}

const (
	sweep  = controlplanev1.JobKind_JOB_KIND_SWEEP
	remove = controlplanev1.JobKind_JOB_KIND_DELETE
)

func runner(t *testing.T, d *desk, session string, handlers map[controlplanev1.JobKind]Handler) *Runner {
	t.Helper()
	d.ended = map[string]bool{}
	r, err := New(Config{
		Interval: 5 * time.Second, Session: func() string { return session }, Control: d, Handlers: handlers, Log: slog.New(slog.DiscardHandler),
		Meter: noop.Meter{},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func nothing(context.Context, *controlplanev1.Job) ([]slog.Attr, error) { return nil, nil }

// A job of each kind at a time; the next one at once when it is done, and nobody is asked for a kind that is busy.
func TestRunner_OneOfEachKind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &desk{waiting: []*controlplanev1.Job{{JobId: "s1", Kind: sweep}, {JobId: "d1", Kind: remove}, {JobId: "d2", Kind: remove}, {JobId: "d3", Kind: remove}}}
		hold := make(chan struct{})
		r := runner(t, d, "session", map[controlplanev1.JobKind]Handler{
			remove: {Do: nothing},
			sweep:  {Do: func(context.Context, *controlplanev1.Job) ([]slog.Attr, error) { <-hold; return nil, nil }},
		})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = r.Run(ctx) })
		time.Sleep(8 * time.Second)
		synctest.Wait()
		d.mu.Lock()
		if len(d.ended) != 3 || d.ended["d1"] || d.ended["d2"] || d.ended["d3"] {
			t.Errorf("ended (given up): %v, want the deletions, done", d.ended)
		}
		last := d.asked[len(d.asked)-1]
		if len(last) != 1 || last[0] != remove {
			t.Errorf("asked for %v while a sweep is running", last)
		}
		d.mu.Unlock()
		close(hold)
		synctest.Wait()
		cancel()
		running.Wait()
		if given, ended := d.ended["s1"]; !ended || given {
			t.Errorf("ended (given up): %v, want the sweep, too", d.ended)
		}
	})
}

// A job that fails is given up, and not asked for again at once.
func TestRunner_GivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &desk{waiting: []*controlplanev1.Job{{JobId: "d1", Kind: remove}, {JobId: "d2", Kind: remove}}}
		r := runner(t, d, "session", map[controlplanev1.JobKind]Handler{
			remove: {Do: func(context.Context, *controlplanev1.Job) ([]slog.Attr, error) {
				return nil, errors.New("the bucket is gone")
			}},
		})
		ctx, cancel := context.WithTimeout(t.Context(), 7500*time.Millisecond) // at least one question, at most three
		defer cancel()
		_ = r.Run(ctx)
		if !d.ended["d1"] {
			t.Errorf("ended (given up): %v, want it given up", d.ended)
		}
		if len(d.asked) > 3 {
			t.Errorf("asked %d times in 7.5 s", len(d.asked))
		}
	})
}

// An agent that stops gives up what it has, also where the handler ends by that.
func TestRunner_StopGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &desk{waiting: []*controlplanev1.Job{{JobId: "d1", Kind: remove}}}
		r := runner(t, d, "session", map[controlplanev1.JobKind]Handler{
			remove: {Do: func(ctx context.Context, _ *controlplanev1.Job) ([]slog.Attr, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}},
		})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		_ = r.Run(ctx)
		if given, ended := d.ended["d1"]; !ended || !given {
			t.Errorf("ended (given up): %v", d.ended)
		}
	})
}

// Without a session nobody is asked; a job that hangs is given up in the end.
func TestRunner_Bounds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &desk{}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_ = runner(t, d, "", map[controlplanev1.JobKind]Handler{remove: {Do: nothing}}).Run(ctx)
		if len(d.asked) != 0 {
			t.Errorf("asked %d times without a session", len(d.asked))
		}
		d = &desk{waiting: []*controlplanev1.Job{{JobId: "d1", Kind: remove}}}
		r := runner(t, d, "session", map[controlplanev1.JobKind]Handler{
			remove: {Do: func(ctx context.Context, _ *controlplanev1.Job) ([]slog.Attr, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}},
		})
		ctx, cancel = context.WithTimeout(t.Context(), DefaultTimeout+time.Minute)
		defer cancel()
		_ = r.Run(ctx)
		if given, ended := d.ended["d1"]; !ended || !given || ctx.Err() == nil {
			t.Errorf("ended (given up): %v", d.ended)
		}
	})
}
