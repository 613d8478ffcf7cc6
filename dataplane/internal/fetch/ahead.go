package fetch

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/streamhouse/streamhouse/dataplane/internal/cache"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
)

const (
	// firstWindow is what is read ahead of a reader that has just shown to be sequential; it doubles with each request up to lastWindow.
	firstWindow, lastWindow = 512 << 10, 4 << 20
	// aheadSegments bounds the segments that are read ahead at a time.
	aheadSegments = 32
	// aheadWorkers read at a time; aheadJobs wait. What does not fit is not read ahead.
	aheadWorkers, aheadJobs = 4, 64
	// maxSequences bounds the readers that are remembered.
	maxSequences = 4096
)

// ahead reads what sequential readers will ask for next. Fetches know nothing of each other: a reader is who asks for the offset at which
// another answer ended.
type ahead struct {
	cache *cache.Cache
	jobs  chan []cache.Want
	room  int64 // bytes that all windows may have together

	mu      sync.Mutex
	windows map[spot]int64 // bytes to read ahead once the reader comes to the spot; at most maxSequences
}

func newAhead(c *cache.Cache) *ahead {
	return &ahead{cache: c, jobs: make(chan []cache.Want, aheadJobs), room: c.RecentBytes() / 2, windows: make(map[spot]int64)}
}

// spot is a place in a partition that a reader is expected at.
type spot struct {
	partition partition.ID
	offset    int64
}

// open says how far to read ahead of a reader who asked from one offset and was answered up to another; 0: not at all.
func (a *ahead) open(p partition.ID, from, to int64) int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	window, sequential := a.windows[spot{p, from}]
	delete(a.windows, spot{p, from})
	next := int64(firstWindow)
	if sequential {
		next = min(2*window, lastWindow)
	}
	if len(a.windows) >= maxSequences {
		clear(a.windows)
	}
	a.windows[spot{p, to}] = next
	if !sequential {
		return 0
	}
	return min(window, a.room/int64(len(a.windows)))
}

// follow reads ahead of a reading that has just been answered.
func (a *ahead) follow(r *reading) {
	to := r.fetched.GetNextOffset()
	if to == r.target.offset || len(r.place.segments) == 0 {
		return
	}
	window := a.open(r.target.id, r.target.offset, to)
	if window == 0 {
		return
	}
	var next []cache.Want
	for _, segment := range r.place.segments {
		if segment.BaseOffset < to {
			continue
		}
		if window <= 0 || len(next) == aheadSegments {
			break
		}
		next = append(next, cache.Want{Segment: segment, Ahead: true})
		window -= int64(segment.SizeBytes)
	}
	if len(next) == 0 {
		return
	}
	select {
	case a.jobs <- next:
	default:
	}
}

// run reads until ctx ends. What fails is found out by who needs it.
func (a *ahead) run(ctx context.Context) error {
	var workers errgroup.Group
	for range aheadWorkers {
		workers.Go(func() error {
			for {
				select {
				case <-ctx.Done():
					return nil
				case wants := <-a.jobs:
					a.cache.Load(ctx, wants)
				}
			}
		})
	}
	return workers.Wait()
}
