package compact

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
)

// maxGap is read and thrown away to save a GET.
const maxGap = 64 << 10

// errChanged says that what is to be copied is other than was thought: another layout is needed.
var errChanged = errors.New("what is to be compacted has changed")

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
		if last := len(all) - 1; last >= 0 && all[last].input == s.input && s.BytePosition-all[last].end <= maxGap {
			all[last].end = end
			all[last].sources = append(all[last].sources, i)
			continue
		}
		all = append(all, &span{s.input, s.BytePosition, end, []int{i}})
	}
	return all
}

// read reads the bytes of sources, each held against its checksum. errChanged: something is damaged or gone, and is known to be.
func (r *running) read(ctx context.Context, sources []source) ([][]byte, error) {
	bytes := make([][]byte, len(sources))
	damaged := make([]bool, len(sources))
	g, reading := errgroup.WithContext(ctx)
	g.SetLimit(maxReads)
	for _, s := range spans(sources) {
		g.Go(func() error { return r.readSpan(reading, s, sources, bytes, damaged) })
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
	return bytes, nil
}

// readSpan fills the entries of its sources.
func (r *running) readSpan(ctx context.Context, s *span, sources []source, bytes [][]byte, damaged []bool) error {
	key := r.work.GetObjectKeys()[s.input]
	b, err := r.get(ctx, key, s.position, s.end-s.position)
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
		from := sources[i].BytePosition - s.position
		bytes[i] = b[from : from+int64(sources[i].SizeBytes)]
		if sources[i].Check(bytes[i]) == nil {
			continue
		}
		if bytes[i], err = r.get(ctx, key, sources[i].BytePosition, int64(sources[i].SizeBytes)); err != nil && !gone(err) {
			return fmt.Errorf("read segment again: %w", err)
		}
		if err == nil {
			err = sources[i].Check(bytes[i])
		}
		if err != nil {
			r.log.ErrorContext(ctx, "segment is damaged in the bucket, it is not compacted", slog.String("object_key", key),
				slog.Int64("byte_position", sources[i].BytePosition), slog.Any("error", err))
			damaged[i] = true
		}
	}
	return nil
}

func gone(err error) bool {
	return errors.Is(err, objectstore.ErrNotFound) || errors.Is(err, objectstore.ErrOutOfRange)
}

func (r *running) get(ctx context.Context, key string, position, size int64) ([]byte, error) {
	b := make([]byte, size)
	r.gets.Add(1)
	r.bytesRead.Add(size)
	return b, r.store.GetRange(ctx, key, position, b)
}
