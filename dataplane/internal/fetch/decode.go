package fetch

import (
	"bytes"
	"fmt"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
)

// decodedOverhead is what a record counts beside its key, value and headers, so that a million empty ones
// are not free.
const decodedOverhead = 32

// decode appends the records of a piece from offset on. It stops before limit bytes would be exceeded; the
// first record may be larger, up to first bytes. It returns their bytes and the offset to go on with.
func decode(records []*dataplanev1.Record, p piece, offset int64, limit, first int) (_ []*dataplanev1.Record, size int, next int64, err error) {
	scratch := recordbatch.AcquireScratch()
	defer scratch.Release()
	next = offset
	for batch, err := range recordbatch.Split(p.batches) {
		if err != nil {
			return records, size, next, fmt.Errorf("split batches: %w", err)
		}
		info, err := recordbatch.Open(batch, recordbatch.Limits{}, scratch)
		if err != nil {
			return records, size, next, fmt.Errorf("open batch for offset %d: %w", next, err)
		}
		var v recordbatch.View
		for r := recordbatch.NewReader(info); ; {
			if !r.Next(&v) {
				if err := r.Err(); err != nil {
					return records, size, next, fmt.Errorf("read batch for offset %d: %w", next, err)
				}
				break
			}
			if v.Offset < next {
				continue
			}
			cost := v.Size() + decodedOverhead
			if size+cost > limit && (size > 0 || cost > first) {
				return records, size, next, nil
			}
			records = append(records, recordOf(&v))
			size += cost
			next = v.Offset + 1
		}
	}
	return records, size, max(next, p.next), nil
}

// recordOf copies a view, whose bytes belong to the scratch. Null stays null, empty stays empty.
func recordOf(v *recordbatch.View) *dataplanev1.Record {
	timestamp := v.Timestamp
	r := &dataplanev1.Record{Key: bytes.Clone(v.Key), Value: bytes.Clone(v.Value), TimestampMs: &timestamp, Offset: v.Offset}
	if v.HeaderCount() > 0 {
		r.Headers = make([]*dataplanev1.Header, 0, v.HeaderCount())
	}
	for key, value := range v.Headers() {
		r.Headers = append(r.Headers, &dataplanev1.Header{Key: string(key), Value: bytes.Clone(value)})
	}
	return r
}
