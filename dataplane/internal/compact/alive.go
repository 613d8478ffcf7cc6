package compact

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"golang.org/x/sync/errgroup"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
)

const (
	// lookupPartitions are asked about at a time, lookupSegments of each: what the control plane answers at once.
	lookupPartitions, lookupSegments = 64, 300
	// maxReads are under way at a time.
	maxReads = 2
)

// at is where a segment lies.
type at struct {
	input    int32
	position int64
}

// readFooters reads what was written into the inputs, and keeps those that came whole with their footers. An input that is gone, or is damaged,
// has nothing.
func (r *running) readFooters(ctx context.Context) ([][]object.Segment, error) {
	footers := make([][]object.Segment, len(r.work.GetObjectKeys()))
	whole := r.whole()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(maxReads)
	for i, key := range r.work.GetObjectKeys() {
		g.Go(func() error {
			var footer object.Footer
			var all []byte
			err := r.config.Pace.Do(ctx, whole[i], func(ctx context.Context) (err error) {
				footer, all, err = object.ReadFooterOrAll(ctx, r.store, key, whole[i])
				return err
			})
			r.gets.Add(1)
			r.bytesRead.Add(int64(len(all))) // none of a larger one, of which this is but the footer
			version := (*object.VersionError)(nil)
			switch {
			case errors.Is(err, objectstore.ErrNotFound), errors.Is(err, object.ErrCorrupt), errors.As(err, &version):
				r.log.WarnContext(ctx, "object cannot be compacted", slog.String("object_key", key), slog.Any("error", err))
				return nil
			case err != nil:
				return err
			}
			footers[i] = footer.Segments
			r.small.keep(int32(i), all)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("read footers: %w", err)
	}
	return footers, nil
}

// whole is how many bytes to read of each input together with its footer: all of it, as far as memory goes; 0: the footer alone.
func (r *running) whole() []int64 {
	bytes, left := make([]int64, len(r.work.GetObjectKeys())), r.small.left
	for i, size := range r.work.GetObjectBytes() {
		if i < len(bytes) && size > 0 && size <= min(left, maxSpan) {
			bytes[i], left = size, left-size
		}
	}
	return bytes
}

// query is a partition of which the catalog is asked what is alive.
type query struct {
	topic     object.UUID
	partition int32
	next, end int64 // offsets
}

// alive are the segments of the inputs that the catalog still has there.
func (r *running) alive(ctx context.Context, footers [][]object.Segment) ([]source, error) {
	written := map[at]object.Segment{}
	var queries []query
	for i, segments := range footers {
		for _, s := range segments {
			written[at{int32(i), s.BytePosition}] = s
			queries = append(queries, query{s.TopicID, s.Partition, s.BaseOffset, s.End()})
		}
	}
	inputs := make(map[string]int32, len(footers))
	for i, key := range r.work.GetObjectKeys() {
		inputs[key] = int32(i)
	}
	var alive []source
	for queries = merge(queries); len(queries) > 0; {
		n := min(len(queries), lookupPartitions)
		response, err := r.catalog.Lookup(ctx, lookupOf(queries[:n]))
		if err != nil {
			return nil, fmt.Errorf("ask what is alive: %w", err)
		}
		if len(response.GetOutcomes()) != n {
			return nil, fmt.Errorf("ask what is alive: %d answers to %d questions", len(response.GetOutcomes()), n)
		}
		var further []query
		for i, outcome := range response.GetOutcomes() {
			q := queries[i]
			for _, s := range outcome.GetSegments() {
				q.next = max(q.next, s.GetBaseOffset()+int64(s.GetRecordCount()))
				if input, ours := inputs[s.GetObjectKey()]; ours && q.next > outcome.GetLogStartOffset() {
					if w, there := written[at{input, s.GetBytePosition()}]; there && same(w, s) && !r.damaged[at{input, s.GetBytePosition()}] {
						alive = append(alive, source{w, input})
					}
				}
			}
			if outcome.GetRefusal() == nil && len(outcome.GetSegments()) > 0 && q.next < q.end {
				further = append(further, q)
			}
		}
		queries = append(further, queries[n:]...)
	}
	return alive, nil
}

// merge makes one query for each partition.
func merge(queries []query) (merged []query) {
	slices.SortFunc(queries, func(a, b query) int {
		return cmp.Or(slices.Compare(a.topic[:], b.topic[:]), cmp.Compare(a.partition, b.partition))
	})
	for _, q := range queries {
		last := len(merged) - 1
		if last < 0 || merged[last].topic != q.topic || merged[last].partition != q.partition {
			merged = append(merged, q)
			continue
		}
		merged[last].next, merged[last].end = min(merged[last].next, q.next), max(merged[last].end, q.end)
	}
	return merged
}

func lookupOf(queries []query) *controlplanev1.LookupRequest {
	request := &controlplanev1.LookupRequest{}
	for _, q := range queries {
		request.Partitions = append(request.Partitions, &controlplanev1.LookupPartition{
			TopicId: q.topic[:], Partition: q.partition, MaxSegments: lookupSegments,
			Position: &controlplanev1.LookupPartition_Offset{Offset: q.next},
		})
	}
	return request
}

// same tells whether the footer and the catalog agree.
func same(written object.Segment, s *controlplanev1.Segment) bool {
	return written.BaseOffset == s.GetBaseOffset() && written.RecordCount == s.GetRecordCount() && written.SizeBytes == s.GetSizeBytes() &&
		written.CRC32C == s.GetCrc32C() && written.Epoch == s.GetEpoch()
}
