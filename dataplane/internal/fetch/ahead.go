package fetch

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/streamhouse/streamhouse/dataplane/internal/cache"
	"github.com/streamhouse/streamhouse/dataplane/internal/lookup"
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
	// togetherFor is how long a reader who was answered counts as one who will soon come on; togetherReaders bounds those that are looked at.
	togetherFor, togetherReaders = 5 * time.Second, 1024
)

// ahead reads what sequential readers will ask for next. Fetches know nothing of each other: a reader is who asks for the offset at which
// another answer ended.
//
// An object has segments of many partitions, and those who catch up mostly read several of them side by side. So whoever is the first to come
// near an object has all of it read that the others will come to soon, with one GET: a bucket bills GETs, and a large one costs a quarter of
// what small ones cost for the same bytes, on both sides.
//
// The catalog is asked ahead, too: a reader that had to wait for a lookup would fall behind the others, and come too late for what they have read.
type ahead struct {
	cache   *cache.Cache
	index   *lookup.Index
	catalog *lookup.Coalescer
	jobs    chan []cache.Want
	queries chan lookup.Query
	room    int64 // bytes that all windows may have together

	mu        sync.Mutex
	sequences map[spot]sequence // where readers are expected; at most maxSequences
}

// spot is a place in a partition that a reader is expected at.
type spot struct {
	partition partition.ID
	offset    int64
}

// sequence is a reader, as far as can be told.
type sequence struct {
	window int64     // bytes to read ahead once the reader comes to the spot
	seen   time.Time // when it was sent there
	proven bool      // it had come where it was expected before
}

func newAhead(c *cache.Cache, index *lookup.Index, catalog *lookup.Coalescer) *ahead {
	return &ahead{
		cache: c, index: index, catalog: catalog, jobs: make(chan []cache.Want, aheadJobs), queries: make(chan lookup.Query, aheadJobs),
		room: c.RecentBytes() / 2, sequences: make(map[spot]sequence),
	}
}

// open says how far to read ahead of a reader who asked from one offset and was answered up to another; 0: not at all.
func (a *ahead) open(p partition.ID, from, to int64) int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	was, sequential := a.sequences[spot{p, from}]
	delete(a.sequences, spot{p, from})
	next := sequence{window: firstWindow, seen: time.Now(), proven: sequential}
	if sequential {
		next.window = min(2*was.window, lastWindow)
	}
	if len(a.sequences) >= maxSequences {
		clear(a.sequences)
	}
	a.sequences[spot{p, to}] = next
	if !sequential {
		return 0
	}
	return min(was.window, a.share())
}

// share is one reader's part of the room. Requires mu.
func (a *ahead) share() int64 { return a.room / int64(len(a.sequences)) }

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
	a.ask(r)
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

// ask has the catalog asked for the segments after those that are known, when few of these are left.
func (a *ahead) ask(r *reading) {
	known := r.place.segments
	end := known[len(known)-1].End()
	if len(known) > locatedSegments/2 || end >= r.place.state.HighWatermark {
		return
	}
	select {
	case a.queries <- lookup.Query{Partition: r.target.id, By: lookup.ByOffset, At: end, MaxSegments: locatedSegments}:
	default:
	}
}

// run reads until ctx ends. What fails is found out by who needs it. Who asks the catalog reads nothing: it may wait for long.
func (a *ahead) run(ctx context.Context) error {
	var workers errgroup.Group
	for range aheadWorkers {
		workers.Go(func() error {
			for {
				select {
				case <-ctx.Done():
					return nil
				case wants := <-a.jobs:
					if wants = a.cache.Lacking(wants); len(wants) > 0 {
						a.cache.Load(ctx, a.together(wants))
					}
				}
			}
		})
	}
	workers.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case q := <-a.queries:
				if unknown := a.waiting(q); len(unknown) > 0 {
					_, _ = a.catalog.Ask(ctx, unknown...) // the index has the answers
				}
			}
		}
	})
	return workers.Wait()
}

// waiting are a query and those that wait behind it, each once, without those that have been answered since they were put: while a lookup is
// on its way, its reader asks for the same again and again.
func (a *ahead) waiting(first lookup.Query) (unknown []lookup.Query) {
	waiting := []lookup.Query{first}
	for range len(a.queries) {
		waiting = append(waiting, <-a.queries)
	}
	for _, q := range waiting {
		if _, known := a.index.Find(q.Partition, q.At, 1); len(known) == 0 && !slices.Contains(unknown, q) {
			unknown = append(unknown, q)
		}
	}
	return unknown
}

// together adds to what one reader lacks what others will soon want of the same objects. Where that is half of an object's range or more, what
// lies in between is read, too.
func (a *ahead) together(wants []cache.Want) []cache.Want {
	objects := make(map[string]*extent, 1)
	for _, w := range wants {
		objects[w.ObjectKey] = &extent{from: math.MaxInt64}
	}
	for _, segment := range a.index.Within(func(key string) bool { return objects[key] != nil }, a.readers()) {
		wants = append(wants, cache.Want{Segment: segment, Ahead: true})
	}
	wants = distinct(wants)
	for _, w := range wants {
		objects[w.ObjectKey].add(w.Segment)
	}
	for i := range wants {
		e := objects[wants[i].ObjectKey]
		wants[i].Together = e.dense() && e.to-e.from <= a.room/2 // else it would push out what was read ahead before
	}
	return wants
}

// extent is the range of an object from the first wanted byte to the last, and how many of them are wanted.
type extent struct{ from, to, wanted int64 }

func (e *extent) add(s lookup.Segment) {
	e.from, e.to = min(e.from, s.Position), max(e.to, s.Position+int64(s.SizeBytes))
	e.wanted += int64(s.SizeBytes)
}

func (e *extent) dense() bool { return 2*e.wanted >= e.to-e.from }

// readers are those who were here just now. Each reaches twice as far as its share of the room, so that those who are a little behind take part.
func (a *ahead) readers() []lookup.Reader {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	readers := make([]lookup.Reader, 0, min(len(a.sequences), togetherReaders))
	for at, s := range a.sequences {
		if len(readers) == togetherReaders {
			break
		}
		if s.proven && now.Sub(s.seen) < togetherFor {
			readers = append(readers, lookup.Reader{Partition: at.partition, Offset: at.offset, Reach: 2 * a.share()})
		}
	}
	return readers
}

// distinct leaves each segment once: two readers may be in one partition.
func distinct(wants []cache.Want) []cache.Want {
	type place struct {
		object   string
		position int64
	}
	seen := make(map[place]struct{}, len(wants))
	kept := wants[:0]
	for _, w := range wants {
		p := place{w.ObjectKey, w.Position}
		if _, twice := seen[p]; !twice {
			seen[p] = struct{}{}
			kept = append(kept, w)
		}
	}
	return kept
}
