package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/streamhouse/streamhouse/cli/internal/output"
	"github.com/streamhouse/streamhouse/cli/internal/traces"
)

type traceCommand struct {
	List traceListCommand `cmd:"" help:"List the newest traces."`
	Show traceShowCommand `cmd:"" help:"Show a trace as a tree."`
}

// Help says where traces come from.
func (traceCommand) Help() string {
	return `Traces of a dev that was started with --otel: it keeps the newest spans of all its processes, and of programs that export theirs to the ` +
		`traces_url in DATA-DIR/dev.json. With --otlp-endpoint they go to a collector instead, and are looked at there.`
}

// maxTraces bounds an answer of the collector.
const maxTraces = 64 << 20

// collected asks the running dev's collector.
func collected[T any](ctx context.Context, e *env, path string) (answer T, err error) {
	dir, err := e.Dir()
	if err != nil {
		return answer, err
	}
	cluster, found, err := dir.ReadCluster()
	if err != nil {
		return answer, err
	}
	if !found || cluster.TracesURL == "" {
		return answer, errors.New("no dev with --otel is running here: start one with `" + commandName() + " dev --otel`")
	}
	ctx, cancel := context.WithTimeout(ctx, orderTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, cluster.TracesURL+path, nil)
	if err != nil {
		return answer, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return answer, fmt.Errorf("ask for traces: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return answer, fmt.Errorf("ask for traces: %s", response.Status)
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxTraces)).Decode(&answer); err != nil {
		return answer, fmt.Errorf("ask for traces: %w", err)
	}
	return answer, nil
}

type traceListCommand struct {
	Limit int `default:"20" help:"Most traces to list, 1 to 10000. Default: ${default}." placeholder:"N"`
}

// Run lists the newest first.
func (c traceListCommand) Run(ctx context.Context, e *env) error {
	if c.Limit < 1 || c.Limit > 10_000 {
		return usage("--limit: %d is not between 1 and 10000", c.Limit)
	}
	list, err := collected[[]traces.Summary](ctx, e, fmt.Sprintf("/traces?limit=%d", c.Limit))
	if err != nil {
		return err
	}
	rows := output.Rows{Head: []string{"TRACE", "START", "TOOK", "SPANS", "SERVICE", "BEGAN WITH"}, Empty: "No traces yet."}
	for _, t := range list {
		name := t.Root
		if t.Failed {
			name += " (failed)"
		}
		rows.Body = append(rows.Body, []string{t.TraceID, output.Time(t.Start), took(t.DurationUs), fmt.Sprint(t.Spans), t.Service, name})
	}
	return e.print(list, rows)
}

type traceShowCommand struct {
	ID string `arg:"" help:"Id of the trace, or how it begins."`
}

// Run prints the spans, each below its parent.
func (c traceShowCommand) Run(ctx context.Context, e *env) error {
	spans, err := collected[[]traces.Span](ctx, e, "/traces/"+url.PathEscape(c.ID))
	if err != nil {
		return err
	}
	if len(spans) == 0 {
		return fmt.Errorf("no trace begins with %q: `%s trace list` has those that are kept", c.ID, commandName())
	}
	rows := output.Rows{Head: []string{"SPAN", "SERVICE", "AFTER", "TOOK", "DETAILS"}}
	for _, l := range traces.Tree(spans) {
		service := l.Service
		if l.Instance != "" {
			service = l.Instance
		}
		rows.Body = append(rows.Body, []string{l.Tree, service, took(l.After.Microseconds()), took(l.DurationUs), l.Details()})
	}
	return e.print(spans, rows)
}

func took(us int64) string {
	d := time.Duration(us) * time.Microsecond
	return d.Round(10 * time.Microsecond).String()
}
