package fetch

import (
	"fmt"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	"github.com/streamhouse/streamhouse/dataplane/internal/lookup"
)

// piece is what was cut of a segment: whole batches, and the offset after them.
type piece struct {
	batches []byte
	next    int64
	skipped int64 // offsets between the wanted one and next that lie in no batch
}

// cut returns the part of a segment's bytes that holds whole batches from the one with offset on; none of them
// reaches beyond end (P4). It stops before limit bytes would be exceeded; the first batch may be larger, up to first
// bytes. Key compaction leaves offsets without a batch: they are passed over, after the last batch up to the segment's
// end. So next is offset only where no batch fits.
// Requires: the segment has offset. Errors: the bytes are not what the segment says.
func cut(b []byte, s lookup.Segment, offset, end int64, limit, first int) (piece, error) {
	p := piece{next: offset}
	start, at, least := -1, 0, s.BaseOffset
	for at < len(b) {
		batch, _, err := recordbatch.Next(b[at:])
		if err != nil {
			return piece{next: offset}, fmt.Errorf("segment %q at %d: batch at %d: %w", s.ObjectKey, s.Position, at, err)
		}
		h, err := recordbatch.ParseHeader(batch)
		if err != nil || h.BaseOffset < least || h.LastOffsetDelta < 0 || h.NextOffset() > s.End() {
			return piece{next: offset}, fmt.Errorf("segment %q at %d: batch at %d lies not between the offsets %d and %d",
				s.ObjectKey, s.Position, at, least, s.End())
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
			p.pass(h.BaseOffset)
			p.next = h.NextOffset()
		}
		least = h.NextOffset()
		at += len(batch)
	}
	if at == len(b) {
		p.pass(min(s.End(), end))
	}
	if start >= 0 {
		p.batches = b[start:at:at]
	}
	return p, nil
}

// pass moves on over offsets that lie in no batch.
func (p *piece) pass(to int64) {
	if to > p.next {
		p.skipped += to - p.next
		p.next = to
	}
}
