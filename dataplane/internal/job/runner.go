package job

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/crashpoint"
	"github.com/streamhouse/streamhouse/serve/refusal"
	"github.com/streamhouse/streamhouse/serve/tracing"
)

const (
	// callTimeout bounds one call to the control plane.
	callTimeout = 15 * time.Second
	// partTimeout bounds giving a job up when the agent stops: otherwise it is taken over when the session has ended.
	partTimeout = 2 * time.Second
	// DefaultTimeout bounds a job: who hangs for longer gives it up.
	DefaultTimeout = 15 * time.Minute
)

var (
	afterClaim = crashpoint.Register("job.after-claim")
	afterWork  = crashpoint.Register("job.after-work")
	afterEnd   = crashpoint.Register("job.after-end")
)

// Control is what the runner and its handlers ask of the control plane; package catalog's Client is one.
type Control interface {
	ClaimJob(ctx context.Context, req *controlplanev1.ClaimJobRequest) (*controlplanev1.ClaimJobResponse, error)
	FinishJob(ctx context.Context, req *controlplanev1.FinishJobRequest) (*controlplanev1.FinishJobResponse, error)
	ConfirmDeleted(ctx context.Context, req *controlplanev1.ConfirmDeletedRequest) (*controlplanev1.ConfirmDeletedResponse, error)
	SweepKeys(ctx context.Context, req *controlplanev1.SweepKeysRequest) (*controlplanev1.SweepKeysResponse, error)
	ReadCheckpoint(ctx context.Context, req *controlplanev1.ReadCheckpointRequest) (*controlplanev1.ReadCheckpointResponse, error)
}

// Handler does one kind of job.
type Handler struct {
	// Do does it, or what another agent has left of it, and returns nil when it is done; the runner then ends it. Attributes are for the line in the log.
	Do func(ctx context.Context, job *controlplanev1.Job) ([]slog.Attr, error)
	// Timeout bounds it; 0: DefaultTimeout.
	Timeout time.Duration
}

// Config of a runner; all is required.
type Config struct {
	// Interval between two questions for work while there is none.
	Interval time.Duration
	// Session is the id of the session that lives now; empty: none, and nothing is asked for.
	Session func() string
	Control Control
	// Handlers by kind; only these kinds are asked for, one job of each at a time.
	Handlers map[controlplanev1.JobKind]Handler
	Log      *slog.Logger
	Meter    metric.Meter
	// Tracer makes a span of each job; nil: nothing does. It alone may be missing.
	Tracer *tracing.Tracer
}

// Runner asks for jobs and does them.
type Runner struct {
	config   Config
	measures *measures
	ended    chan bool // capacity: one for each kind; a job ended, and was done
	running  sync.WaitGroup

	mu   sync.Mutex // guards busy
	busy map[controlplanev1.JobKind]bool
}

// New makes a runner. An error comes from the meter.
func New(config Config) (*Runner, error) {
	m, err := newMeasures(config.Meter)
	if err != nil {
		return nil, err
	}
	m.begin(context.Background(), slices.Collect(maps.Keys(config.Handlers)))
	return &Runner{config: config, measures: m, ended: make(chan bool, len(config.Handlers)), busy: map[controlplanev1.JobKind]bool{}}, nil
}

// Run works until ctx ends, gives up what it has, and returns nil when the last handler has returned.
func (r *Runner) Run(ctx context.Context) error {
	defer r.running.Wait()
	timer := time.NewTimer(r.pause())
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case done := <-r.ended:
			if !done { // not at once: it would fail again
				continue
			}
		case <-timer.C:
		}
		timer.Reset(r.claimAll(ctx))
	}
}

// pause has jitter, so that agents that began together do not ask together.
func (r *Runner) pause() time.Duration { return r.config.Interval/2 + rand.N(r.config.Interval) }

// claimAll takes as many jobs as there are, and answers when to ask again.
func (r *Runner) claimAll(ctx context.Context) time.Duration {
	for {
		kinds, session := r.free(), r.config.Session()
		if len(kinds) == 0 || session == "" {
			return r.pause()
		}
		res, err := r.claim(ctx, session, kinds)
		if err != nil {
			if ctx.Err() == nil && !passing(err) {
				r.config.Log.WarnContext(ctx, "asking for jobs failed", slog.Any("error", err))
			}
			return r.pause()
		}
		if res.GetJob() == nil {
			if wait := time.Duration(res.GetRetryAfterMs()) * time.Millisecond; wait > 0 {
				return wait/2 + rand.N(wait)
			}
			return r.pause()
		}
		r.start(ctx, res.GetJob())
	}
}

// passing: sessions end, catalogs are verified; whoever must know hears it elsewhere.
func passing(err error) bool {
	return refusal.Is(err, refusalv1.Reason_REASON_SESSION_EXPIRED) || refusal.Is(err, refusalv1.Reason_REASON_SESSION_SUPERSEDED) ||
		refusal.Is(err, refusalv1.Reason_REASON_CATALOG_HALTED) || refusal.Is(err, refusalv1.Reason_REASON_CATALOG_UNAVAILABLE)
}

func (r *Runner) free() (kinds []controlplanev1.JobKind) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for kind := range r.config.Handlers {
		if !r.busy[kind] {
			kinds = append(kinds, kind)
		}
	}
	slices.Sort(kinds)
	return kinds
}

func (r *Runner) claim(ctx context.Context, session string, kinds []controlplanev1.JobKind) (*controlplanev1.ClaimJobResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return r.config.Control.ClaimJob(ctx, &controlplanev1.ClaimJobRequest{SessionId: session, Kinds: kinds})
}

func (r *Runner) setBusy(kind controlplanev1.JobKind, busy bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.busy[kind] = busy
}

func (r *Runner) start(ctx context.Context, job *controlplanev1.Job) {
	afterClaim.Here()
	r.setBusy(job.GetKind(), true)
	r.running.Go(func() {
		done := r.do(ctx, job)
		r.setBusy(job.GetKind(), false)
		r.ended <- done // there is room: a kind has one job
	})
}

// do does a job and ends it; done: there may be more of its kind at once.
func (r *Runner) do(ctx context.Context, job *controlplanev1.Job) (done bool) {
	began := time.Now()
	ctx, span := r.begin(ctx, job)
	defer span.End()
	attrs, err := r.work(ctx, job)
	if err == nil {
		afterWork.Here()
		err = r.end(ctx, job, false, nil)
		afterEnd.Here()
	}
	outcome := outcomeOf(ctx, err)
	if outcome != finished {
		tracing.Fail(span, string(outcome))
	}
	r.measures.ended(ctx, job.GetKind(), outcome, time.Since(began))
	if outcome == givenUp {
		r.giveUp(ctx, job, err)
	}
	r.tell(ctx, job, outcome, time.Since(began), attrs, err)
	return outcome == finished
}

// begin begins the span of a job, below which are its requests to the bucket and its calls to the control plane.
func (r *Runner) begin(ctx context.Context, job *controlplanev1.Job) (context.Context, trace.Span) {
	ctx, span := r.config.Tracer.Rare(ctx, "job."+kindName(job.GetKind()))
	if span.IsRecording() {
		span.SetAttributes(attribute.String("streamhouse.job_id", job.GetJobId()), attribute.Bool("streamhouse.taken_over", job.GetTakenOver()))
	}
	return ctx, span
}

func (r *Runner) work(ctx context.Context, job *controlplanev1.Job) ([]slog.Attr, error) {
	handler := r.config.Handlers[job.GetKind()]
	timeout := handler.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if handler.Do == nil {
		return nil, errors.New("a job of a kind that was not asked for")
	}
	return handler.Do(ctx, job)
}

func (r *Runner) end(ctx context.Context, job *controlplanev1.Job, given bool, foreign *controlplanev1.CheckpointHead) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := r.config.Control.FinishJob(ctx, &controlplanev1.FinishJobRequest{JobId: job.GetJobId(), GivenUp: given, Foreign: foreign})
	if err != nil {
		return fmt.Errorf("end job: %w", err)
	}
	return nil
}

// giveUp lets others have it at once, unless the catalog halts for the reason. Where that fails they have it when this session has ended, or this agent
// gets it again.
func (r *Runner) giveUp(ctx context.Context, job *controlplanev1.Job, why error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), partTimeout)
	defer cancel()
	var found *controlplanev1.CheckpointHead
	if foreign, met := errors.AsType[*foreignError](why); met {
		found = foreign.found
	}
	if err := r.end(ctx, job, true, found); err != nil && !refusal.Is(err, refusalv1.Reason_REASON_JOB_LOST) {
		r.config.Log.DebugContext(ctx, "job was not given up", slog.String("job_id", job.GetJobId()), slog.Any("error", err))
	}
}

func (r *Runner) tell(ctx context.Context, job *controlplanev1.Job, outcome outcome, took time.Duration, attrs []slog.Attr, err error) {
	level := slog.LevelInfo
	attrs = append([]slog.Attr{
		slog.String("job_id", job.GetJobId()), slog.String("kind", kindName(job.GetKind())), slog.String("outcome", string(outcome)),
		slog.Bool("taken_over", job.GetTakenOver()), slog.Duration("took", took),
	}, attrs...)
	if err != nil && ctx.Err() == nil {
		level = slog.LevelWarn
		attrs = append(attrs, slog.Any("error", err))
	}
	r.config.Log.LogAttrs(ctx, level, "job ended", attrs...)
}
