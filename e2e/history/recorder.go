package history

import (
	"sync"
	"time"
)

// Recorder collects a history from many goroutines. The zero value is not usable; see NewRecorder.
type Recorder struct {
	start time.Time

	mu sync.Mutex // guards history
	h  History
}

// NewRecorder starts a run's clock.
func NewRecorder() *Recorder {
	return &Recorder{start: time.Now(), h: History{Readers: map[string][]Read{}}}
}

// Now is the time since the run began, on the monotonic clock.
func (r *Recorder) Now() time.Duration { return time.Since(r.start) }

// Wrote adds a write whose outcome has just become known.
func (r *Recorder) Wrote(w Write) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w.Answered = r.Now()
	r.h.Writes = append(r.h.Writes, w)
}

// Saw adds a record that a reader was given.
func (r *Recorder) Saw(reader string, rec Read) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.h.Readers[reader] = append(r.h.Readers[reader], rec)
}

// Probed adds a probe. Its Began must be taken (Now) before the fetch was sent.
func (r *Recorder) Probed(p Probe) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.h.Probes = append(r.h.Probes, p)
}

// SlowestReader is the number of records that the reader which saw the fewest has seen; 0 if nobody saw any.
func (r *Recorder) SlowestReader() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	least := -1
	for _, reads := range r.h.Readers {
		if least < 0 || len(reads) < least {
			least = len(reads)
		}
	}
	return int64(max(least, 0))
}

// History is what was recorded, with the final log. Call it once everything that records has ended.
func (r *Recorder) History(log []Read) *History {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.h.Log = log
	return &r.h
}
