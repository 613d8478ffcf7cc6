package bench

import (
	"context"
	"math"
	"time"
)

// schedule says when records are meant to be sent.
type schedule struct {
	first time.Time
	// rate is records per second; 0: as fast as they are taken.
	rate float64
	// until is when the last one is due; zero: no end.
	until time.Time
	// limit is how many there are.
	limit int64
}

const noLimit = math.MaxInt64

// due is when record n (0, 1, …) is meant to be sent; with a rate only.
func (s schedule) due(n int64) time.Time {
	return s.first.Add(time.Duration(float64(n) / s.rate * float64(time.Second)))
}

// part is the schedule of one of several senders: each has its share, shifted so that they do not all send at once.
func (s schedule) part(i, of int) schedule {
	if s.rate > 0 {
		s.first = s.due(int64(i))
		s.rate /= float64(of)
	}
	if s.limit != noLimit {
		s.limit = s.limit*int64(i+1)/int64(of) - s.limit*int64(i)/int64(of)
	}
	return s
}

// left is how many of `most` records may follow the n first ones.
func (s schedule) left(n int64, most int) int {
	return int(min(int64(most), s.limit-n))
}

// run hands records over, in runs of at most so many, each when it is due; what is late is handed over at once, with the times that it was
// due at. It returns how many there were, when all have been handed over, time is up, or ctx ends. send may block: then it is late.
func (s schedule) run(ctx context.Context, most int, send func(from int64, count int, due func(n int64) time.Time)) int64 {
	var n int64
	for ctx.Err() == nil {
		now := time.Now()
		count := s.left(n, most)
		due := func(int64) time.Time { return now }
		if s.rate > 0 {
			due = s.due
			count = s.dueBy(now, n, count)
		} else if s.ended(now) {
			count = 0
		}
		if count == 0 {
			if s.left(n, 1) == 0 || s.over(n, now) || !pause(ctx, time.Until(s.due(n))) {
				return n
			}
			continue
		}
		send(n, count, due)
		n += int64(count)
	}
	return n
}

// dueBy is how many of the next records are due by now, at most `most`.
func (s schedule) dueBy(now time.Time, n int64, most int) int {
	count := 0
	for count < most && !s.due(n+int64(count)).After(now) && !s.ended(s.due(n+int64(count))) {
		count++
	}
	return count
}

// over says that no record follows n.
func (s schedule) over(n int64, now time.Time) bool {
	if s.rate > 0 {
		return s.ended(s.due(n))
	}
	return s.ended(now)
}

func (s schedule) ended(at time.Time) bool { return !s.until.IsZero() && !at.Before(s.until) }
