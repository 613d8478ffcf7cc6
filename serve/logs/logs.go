// Package logs makes a service's logger: slog, as text or JSON, with the trace and span of the context in every line, a bound on lines that
// repeat each other, and a level that can be changed while the service runs: SIGUSR1 switches debug on, and off again.
// Read: logs.go, limit.go.
package logs

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// Config of the log.
type Config struct {
	LogLevel  slog.Level `default:"info" help:"Least level to log: debug, info, warn or error. SIGUSR1 switches debug on and off."`
	LogRate   int        `default:"100"  help:"Most lines with the same message in 10 s, 1 to 1000000; the others are counted in one line. Debug lines are not limited." placeholder:"N"`
	LogFormat string     `default:"text" enum:"text,json"                                                                   help:"Format of log lines: ${enum}."`
}

// DefaultRate is that of LogRate.
const DefaultRate = 100

const maxRate = 1_000_000

// Log is a logger whose level can be changed.
type Log struct {
	*slog.Logger
	level *slog.LevelVar
	base  slog.Level
	limit *limiter
	// signals takes SIGUSR1 from New on: its default action would end the process. One pending toggle is enough; package signal drops
	// what does not fit.
	signals chan os.Signal
}

// New makes a log that writes to w. From here on SIGUSR1 does not end the process.
func New(w io.Writer, config Config) (*Log, error) {
	level := new(slog.LevelVar)
	level.Set(config.LogLevel)
	options := &slog.HandlerOptions{Level: level}
	var handler slog.Handler
	switch config.LogFormat {
	case "", "text":
		handler = slog.NewTextHandler(w, options)
	case "json":
		handler = slog.NewJSONHandler(w, options)
	default:
		return nil, fmt.Errorf("log-format %q: must be text or json", config.LogFormat)
	}
	if config.LogRate < 1 || config.LogRate > maxRate {
		return nil, fmt.Errorf("log-rate: %d is not between 1 and %d", config.LogRate, maxRate)
	}
	limit := &limiter{most: config.LogRate, windows: map[string]*lines{}}
	log := &Log{Logger: slog.New(limited{traced{handler}, limit}), limit: limit, level: level, base: config.LogLevel, signals: make(chan os.Signal, 1)}
	signal.Notify(log.signals, syscall.SIGUSR1)
	return log, nil
}

// ToggleDebug switches debug on, or back to the level of the configuration (info, if that is debug).
func (l *Log) ToggleDebug(ctx context.Context) {
	next := slog.LevelDebug
	if l.level.Level() == slog.LevelDebug {
		next = max(l.base, slog.LevelInfo)
	}
	l.SetLevel(ctx, next)
}

// Level is the least level that is logged now.
func (l *Log) Level() slog.Level { return l.level.Level() }

// SetLevel logs from this level on.
func (l *Log) SetLevel(ctx context.Context, next slog.Level) {
	l.level.Set(next)
	l.Log(ctx, max(next, slog.LevelInfo), "log level changed", slog.String("level", next.String()))
}

// Run toggles debug at each SIGUSR1, and says how many lines were left out, until the context ends.
func (l *Log) Run(ctx context.Context) error {
	ticker := time.NewTicker(window)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			for message, of := range l.limit.over(time.Now()) {
				l.Log(ctx, of.level, "lines were left out", slog.String("of", message), slog.Int("lines", of.leftOut))
			}
		case <-l.signals:
			l.ToggleDebug(ctx)
		}
	}
}

// traced adds the ids of the context's span.
type traced struct{ slog.Handler }

// Handle adds the ids, then passes the line on.
func (t traced) Handle(ctx context.Context, record slog.Record) error {
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		record.AddAttrs(slog.String("trace_id", span.TraceID().String()), slog.String("span_id", span.SpanID().String()))
	}
	return t.Handler.Handle(ctx, record)
}

// WithAttrs keeps the ids in derived handlers.
func (t traced) WithAttrs(attrs []slog.Attr) slog.Handler { return traced{t.Handler.WithAttrs(attrs)} }

// WithGroup keeps the ids in derived handlers.
func (t traced) WithGroup(name string) slog.Handler { return traced{t.Handler.WithGroup(name)} }
