package listen

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"sync"
	"time"

	connectv1 "connectrpc.com/connect"
	"connectrpc.com/connect/v2"
	"connectrpc.com/grpchealth"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

const (
	checkTimeout = 2 * time.Second
	// checkEvery is how long an answer holds, recheckEvery how long one that something is not ready does: whoever is told so waits, above all at a start, for what
	// may come at any moment.
	checkEvery   = time.Second
	recheckEvery = 50 * time.Millisecond
)

// health answers whether the process is ready: by gRPC's health service and plain HTTP, to anyone. Anyone may ask, so the checks behind it
// run at most once in checkEvery or recheckEvery, whoever asks.
type health struct {
	checks   map[string]Check
	stopping <-chan struct{}
	services map[string]bool // written by mount, before anything is served

	mu     sync.Mutex // guards the fields below; held while the checks run, so that they run once for all that wait
	faults map[string]string
	at     time.Time
}

func newHealth(checks map[string]Check, stopping <-chan struct{}) *health {
	return &health{checks: checks, stopping: stopping, services: map[string]bool{}}
}

// mount adds the routes: gRPC health; /healthz: the process lives; /readyz: it is ready, and if not, why.
func (h *health) mount(mux *http.ServeMux, specs iter.Seq[connect.Spec]) {
	for spec := range specs {
		service, _, _ := strings.Cut(strings.TrimPrefix(spec.Procedure, "/"), "/")
		h.services[service] = true
	}
	mux.Handle(grpchealth.NewHandler(h))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", h.serveReady)
}

// Check answers gRPC health checks, for the process or for one service.
func (h *health) Check(ctx context.Context, request *grpchealth.CheckRequest) (*grpchealth.CheckResponse, error) {
	if request.Service != "" && !h.services[request.Service] {
		return nil, connectv1.NewError(connectv1.CodeNotFound, errUnknownService)
	}
	status := grpchealth.StatusServing
	if len(h.notReady(ctx)) > 0 {
		status = grpchealth.StatusNotServing
	}
	return &grpchealth.CheckResponse{Status: status}, nil
}

func (h *health) serveReady(w http.ResponseWriter, r *http.Request) {
	faults := h.notReady(r.Context())
	w.Header().Set("Content-Type", "application/json")
	if len(faults) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	//nolint:errchkjson // strings and a bool can be encoded; a caller that has gone away wants no answer
	_ = json.NewEncoder(w).Encode(readiness{Ready: len(faults) == 0, NotReady: faults})
}

// readiness is the answer of /readyz.
type readiness struct {
	Ready    bool              `json:"ready"`
	NotReady map[string]string `json:"not_ready"`
}

// notReady returns what is not ready, and why.
func (h *health) notReady(ctx context.Context) map[string]string {
	select {
	case <-h.stopping:
		return map[string]string{"process": "stopping"}
	default:
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	holds := checkEvery
	if len(h.faults) > 0 {
		holds = recheckEvery
	}
	if !h.at.IsZero() && time.Since(h.at) < holds {
		return h.faults
	}
	h.faults = h.run(context.WithoutCancel(ctx)) // the answer is for others, too
	h.at = time.Now()
	return h.faults
}

// show has a meter tell what is ready; each look is a question like anyone's. A nil meter is told nothing.
func (h *health) show(meter metric.Meter) error {
	if meter == nil {
		return nil
	}
	_, err := meter.Int64ObservableGauge("streamhouse.ready", metric.WithUnit("1"),
		metric.WithDescription("1 where a check of readiness passes, else 0, by check: what /readyz would name."),
		metric.WithInt64Callback(func(ctx context.Context, o metric.Int64Observer) error {
			faults := h.notReady(ctx)
			for name := range h.checks {
				var passes int64 = 1
				if _, fault := faults[name]; fault {
					passes = 0
				}
				o.Observe(passes, metric.WithAttributes(attribute.String("check", name)))
			}
			return nil
		}))
	if err != nil {
		return fmt.Errorf("telemetry: %w", err)
	}
	return nil
}

func (h *health) run(ctx context.Context) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	faults := map[string]string{}
	for name, check := range h.checks {
		if err := check(ctx); err != nil {
			faults[name] = "out of reach" // the error's text may name hosts and users: it is not for anyone
		}
	}
	return faults
}
