package logs

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// window is the time for which lines with the same message are counted together.
	window = 10 * time.Second
	// maxMessages bounds the messages that are counted. Messages are constants of the program, so there are never so many; if there were, the
	// others would go uncounted.
	maxMessages = 1000
)

// limiter lets at most `most` lines with the same message through in a window, and counts the others. What a storm of lines would say is said by
// its first ones and by the count.
type limiter struct {
	most int

	mu      sync.Mutex // guards messages
	windows map[string]*lines
}

// lines are those with one message in one window.
type lines struct {
	began   time.Time
	passed  int
	leftOut int
	level   slog.Level // of the last one left out
}

// pass tells whether a line goes through, and how many before it did not, in windows that are over.
func (l *limiter) pass(level slog.Level, message string, now time.Time) (passes bool, leftOut int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	of := l.windows[message]
	if of == nil {
		if len(l.windows) == maxMessages {
			return true, 0
		}
		of = &lines{began: now}
		l.windows[message] = of
	}
	if now.Sub(of.began) >= window {
		leftOut = of.leftOut
		*of = lines{began: now}
	}
	if of.passed == l.most {
		of.leftOut++
		of.level = level
		return false, 0
	}
	of.passed++
	return true, leftOut
}

// over takes the counts of windows that are over, and forgets those.
func (l *limiter) over(now time.Time) map[string]lines {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[string]lines{}
	for message, of := range l.windows {
		if now.Sub(of.began) < window {
			continue
		}
		if of.leftOut > 0 {
			all[message] = *of
		}
		delete(l.windows, message)
	}
	return all
}

// limited is a handler behind a limiter.
type limited struct {
	slog.Handler
	limiter *limiter
}

// Handle passes the line on, or counts it. Lines that somebody has asked for by setting debug are not limited.
func (h limited) Handle(ctx context.Context, record slog.Record) error {
	if record.Level < slog.LevelInfo {
		return h.Handler.Handle(ctx, record)
	}
	passes, leftOut := h.limiter.pass(record.Level, record.Message, time.Now())
	if !passes {
		return nil
	}
	if leftOut > 0 {
		record.AddAttrs(slog.Int("left_out_before", leftOut))
	}
	return h.Handler.Handle(ctx, record)
}

// WithAttrs keeps the limit in derived handlers.
func (h limited) WithAttrs(attrs []slog.Attr) slog.Handler {
	return limited{h.Handler.WithAttrs(attrs), h.limiter}
}

// WithGroup keeps the limit in derived handlers.
func (h limited) WithGroup(name string) slog.Handler {
	return limited{h.Handler.WithGroup(name), h.limiter}
}
