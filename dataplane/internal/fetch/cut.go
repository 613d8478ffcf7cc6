package fetch

import (
	"fmt"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	"github.com/streamhouse/streamhouse/dataplane/internal/lookup"
)

// cut returns the part of a segment's bytes that holds whole batches from the one with offset on, and the
// offset after them; none of them reaches beyond end (P4). It stops before limit bytes would be exceeded; the
// first batch may be larger, up to first bytes. No batches and next == offset: none fits.
// Errors: the bytes are not what the segment says.
func cut(b []byte, s lookup.Segment, offset, end int64, limit, first int) (batches []byte, next int64, err error) {
	start, at, expected := -1, 0, s.BaseOffset
	for at < len(b) {
		batch, _, err := recordbatch.Next(b[at:])
		if err != nil {
			return nil, offset, fmt.Errorf("segment %q at %d: batch at %d: %w", s.ObjectKey, s.Position, at, err)
		}
		h, err := recordbatch.ParseHeader(batch)
		if err != nil || h.BaseOffset != expected || h.LastOffsetDelta < 0 || h.NextOffset() > s.End() {
			return nil, offset, fmt.Errorf("segment %q at %d: batch at %d does not begin at offset %d", s.ObjectKey, s.Position, at, expected)
		}
		if h.NextOffset() > end {
			break
		}
		if h.NextOffset() > offset {
			if start < 0 {
				start = at
			}
			if size := at + len(batch) - start; size > limit && (at > start || size > first) {
				break
			}
			next = h.NextOffset()
		}
		expected = h.NextOffset()
		at += len(batch)
	}
	if next == 0 {
		return nil, offset, nil
	}
	return b[start:at:at], next, nil
}
