package keycompact

import (
	"bytes"
	"fmt"

	"github.com/streamhouse/streamhouse/client/recordbatch"
)

// rules say what of a partition is left by one pass. Records at or above end are not looked at.
//
// Invariant: newest knows every record with a key between the offset up to which the partition was clean before and end, and all of the
// partition below end is put under the same rules. So what is left of a key below end is its newest record there.
type rules struct {
	newest *newest
	// end is the first offset that stays dirty.
	end int64
	// Tombstones below dropBelow have been what was left of their keys for long enough.
	dropBelow int64
	// Batches with these base offsets, and all of producers if everyBatch is set, stay although they have no record left: the catalog is rebuilt
	// from them as to where their producers stand (P5, P9).
	batches    map[int64]bool
	everyBatch bool
}

// keeps decides about a record. One without a key is nobody's predecessor: it was stored before the topic was compacted, and stays. So does the last
// one below end, which may be the newest of the partition.
func (r *rules) keeps(v *recordbatch.View) bool {
	switch {
	case v.Key == nil || v.Offset >= r.end-1:
		return true
	case r.newest.superseded(v.Key, v.Offset):
		return false
	}
	return v.Value != nil || v.Offset >= r.dropBelow
}

// keepsEmpty decides about a batch without a record.
func (r *rules) keepsEmpty(h *recordbatch.Header) bool {
	return h.Producer.Idempotent() && (r.everyBatch || r.batches[h.BaseOffset])
}

// note puts the records of a segment below the limit into newest. It returns the offset from which on they did not fit.
func (r *rules) note(segment []byte, from, limit int64, scratch *recordbatch.Scratch) (end int64, full bool, err error) {
	end = from
	for batch, err := range recordbatch.Split(segment) {
		if err != nil {
			return end, false, fmt.Errorf("split segment: %w", err)
		}
		info, err := recordbatch.Open(batch, recordbatch.Limits{}, scratch)
		if err != nil {
			return end, false, fmt.Errorf("open batch after offset %d: %w", end, err)
		}
		var v recordbatch.View
		reader := recordbatch.NewReader(info)
		for reader.Next(&v) {
			if v.Offset >= limit {
				return limit, false, nil
			}
			if v.Offset >= from && v.Key != nil && !r.newest.note(v.Key, v.Offset) {
				return v.Offset, true, nil
			}
			end = v.Offset + 1
		}
		if err := reader.Err(); err != nil {
			return end, false, fmt.Errorf("read batch after offset %d: %w", end, err)
		}
	}
	return end, false, nil
}

// left is what is left of a run of segments.
type left struct {
	bytes []byte
	// changed: something is gone.
	changed bool
	records int64
	removed int64
	// tombstones below end among records.
	tombstones   int64
	minTimestamp int64
	maxTimestamp int64
}

// scratches is memory for one batch at a time.
type scratches struct {
	opened, kept recordbatch.Scratch
	empty        []byte
}

// clean puts a run of segments, in order, under the rules. What is left is never nothing: a segment has bytes, so its last batch stays, without
// records.
func (r *rules) clean(segments [][]byte, s *scratches) (left, error) {
	out := left{minTimestamp: recordbatch.MaxTimestamp, maxTimestamp: -1}
	s.empty = s.empty[:0]
	var last recordbatch.Header
	for _, segment := range segments {
		for batch, err := range recordbatch.Split(segment) {
			if err != nil {
				return left{}, fmt.Errorf("split segment: %w", err)
			}
			if last, err = r.cleanBatch(&out, batch, s); err != nil {
				return left{}, err
			}
		}
	}
	if len(out.bytes) == 0 {
		out.bytes = append(out.bytes, s.empty...)
		out.changed = len(segments) > 1 || !bytes.Equal(out.bytes, segments[0]) // else an earlier pass has left just this
	}
	if out.maxTimestamp < 0 { // no record is left
		out.minTimestamp, out.maxTimestamp = last.MaxTimestamp, last.MaxTimestamp
	}
	return out, nil
}

func (r *rules) cleanBatch(out *left, batch []byte, s *scratches) (recordbatch.Header, error) {
	info, err := recordbatch.Open(batch, recordbatch.Limits{}, &s.opened)
	if err != nil {
		return info.Header, fmt.Errorf("open batch: %w", err)
	}
	at := len(out.bytes)
	var records int32
	out.bytes, records, err = recordbatch.Retain(out.bytes, batch, info, func(v *recordbatch.View) bool { return out.count(v, r) }, &s.kept)
	if err != nil {
		return info.Header, fmt.Errorf("clean batch at offset %d: %w", info.BaseOffset, err)
	}
	out.records += int64(records)
	out.removed += int64(info.RecordCount - records)
	out.changed = out.changed || records != info.RecordCount
	if records == 0 && !r.keepsEmpty(&info.Header) {
		s.empty = append(s.empty[:0], out.bytes[at:]...)
		out.bytes = out.bytes[:at]
		out.changed = true
	}
	return info.Header, nil
}

// count decides about a record, and counts it if it stays.
func (l *left) count(v *recordbatch.View, r *rules) bool {
	if !r.keeps(v) {
		return false
	}
	l.minTimestamp, l.maxTimestamp = min(l.minTimestamp, v.Timestamp), max(l.maxTimestamp, v.Timestamp)
	if v.Key != nil && v.Value == nil && v.Offset < r.end {
		l.tombstones++
	}
	return true
}
