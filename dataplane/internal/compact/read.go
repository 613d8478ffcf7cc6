package compact

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
)

const (
	// maxGap is read and thrown away to save a GET.
	maxGap = 64 << 10
	// maxSpan bounds what one GET reads, of several segments; a single one may be longer.
	maxSpan = 4 << 20
)

// errChanged says that what is to be copied is other than was thought: another layout is needed.
var errChanged = errors.New("what is to be compacted has changed")

// small are inputs that came whole with their footers. Safe for concurrent use.
type small struct {
	mu     sync.Mutex
	left   int64 // how many bytes may still be kept
	inputs map[int32][]byte
	kept   int64
}

// keep keeps an input, if there is room.
func (s *small) keep(input int32, all []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if all == nil || s.left < int64(len(all)) {
		return
	}
	if s.inputs == nil {
		s.inputs = map[int32][]byte{}
	}
	if cap(all) > len(all)+len(all)/8 {
		all = slices.Clone(all) // without the room that was for a larger one
	}
	s.inputs[input] = all
	s.left, s.kept = s.left-int64(len(all)), s.kept+int64(len(all))
}

func (s *small) get(input int32) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inputs[input]
}

func (s *small) bytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept
}

// span is a range of an input that one GET reads, for the sake of these sources.
type span struct {
	input    int32
	position int64
	end      int64
	sources  []int // indexes
}

// spans covers the sources with few ranges, each of one input.
func spans(sources []source) (all []*span) {
	order := make([]int, len(sources))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(sources[a].input, sources[b].input), cmp.Compare(sources[a].BytePosition, sources[b].BytePosition))
	})
	for _, i := range order {
		s := sources[i]
		end := s.BytePosition + int64(s.SizeBytes)
		if last := len(all) - 1; last >= 0 && all[last].admits(s, end) {
			all[last].end = end
			all[last].sources = append(all[last].sources, i)
			continue
		}
		all = append(all, &span{s.input, s.BytePosition, end, []int{i}})
	}
	return all
}

func (p *span) admits(s source, end int64) bool {
	return p.input == s.input && s.BytePosition-p.end <= maxGap && end-p.position <= maxSpan
}

// area is where sources go: their bytes, one after the other, in pieces. Those who fill it write to different places.
type area struct {
	sources []source
	at      []int64 // where each source begins
	pieces  [][]byte
}

func newArea(sources []source, sizes []int64) *area {
	a := &area{sources: sources, at: make([]int64, len(sources)), pieces: make([][]byte, len(sizes))}
	next := int64(0)
	for i, s := range sources {
		a.at[i] = next
		next += int64(s.SizeBytes)
	}
	for i, size := range sizes {
		a.pieces[i] = make([]byte, size)
	}
	return a
}

// put copies the bytes of a source to where they belong.
func (a *area) put(i int, b []byte) {
	position := a.at[i]
	for _, piece := range a.pieces {
		if size := int64(len(piece)); position >= size {
			position -= size
			continue
		}
		n := copy(piece[position:], b)
		if b = b[n:]; len(b) == 0 {
			return
		}
		position = 0
	}
}

// read reads the bytes of sources, each held against its checksum, into pieces of these sizes, which make up as many bytes. errChanged: something is
// damaged or gone, and is known to be.
func (r *running) read(ctx context.Context, sources []source, sizes []int64) ([][]byte, error) {
	to := newArea(sources, sizes)
	damaged := make([]bool, len(sources))
	g, reading := errgroup.WithContext(ctx)
	g.SetLimit(maxReads)
	for _, s := range spans(sources) {
		g.Go(func() error { return r.readSpan(reading, s, to, damaged) })
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	changed := false
	for i, bad := range damaged {
		if bad {
			r.damaged[at{sources[i].input, sources[i].BytePosition}] = true
			changed = true
		}
	}
	if changed {
		return nil, errChanged
	}
	return to.pieces, nil
}

// readSpan fills the entries of its sources.
func (r *running) readSpan(ctx context.Context, s *span, to *area, damaged []bool) error {
	key := r.work.GetObjectKeys()[s.input]
	b, err := r.spanBytes(ctx, s)
	if gone(err) {
		r.log.WarnContext(ctx, "object is gone, it is not compacted", slog.String("object_key", key), slog.Any("error", err))
		for _, i := range s.sources {
			damaged[i] = true
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("read segments: %w", err)
	}
	for _, i := range s.sources {
		segment := to.sources[i]
		from := segment.BytePosition - s.position
		own := b[from : from+int64(segment.SizeBytes)]
		if segment.Check(own) == nil {
			to.put(i, own)
			continue
		}
		if own, err = r.get(ctx, key, segment.BytePosition, int64(segment.SizeBytes)); err != nil && !gone(err) {
			return fmt.Errorf("read segment again: %w", err)
		}
		if err == nil {
			err = segment.Check(own)
		}
		if err != nil {
			r.log.ErrorContext(ctx, "segment is damaged in the bucket, it is not compacted", slog.String("object_key", key),
				slog.Int64("byte_position", segment.BytePosition), slog.Any("error", err))
			damaged[i] = true
			continue
		}
		to.put(i, own)
	}
	return nil
}

// spanBytes are from memory where the input is there.
func (r *running) spanBytes(ctx context.Context, s *span) ([]byte, error) {
	if all := r.small.get(s.input); s.end <= int64(len(all)) {
		return all[s.position:s.end], nil
	}
	return r.get(ctx, r.work.GetObjectKeys()[s.input], s.position, s.end-s.position)
}

func gone(err error) bool {
	return errors.Is(err, objectstore.ErrNotFound) || errors.Is(err, objectstore.ErrOutOfRange)
}

func (r *running) get(ctx context.Context, key string, position, size int64) ([]byte, error) {
	b := make([]byte, size)
	r.gets.Add(1)
	r.bytesRead.Add(size)
	return b, r.config.Pace.Do(ctx, size, func(ctx context.Context) error { return r.store.GetRange(ctx, key, position, b) })
}
