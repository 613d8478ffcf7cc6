package lookup

import "github.com/streamhouse/streamhouse/dataplane/internal/partition"

// Reader is somebody who reads a partition from one offset to the next.
type Reader struct {
	Partition partition.ID
	Offset    int64
	Reach     int64 // bytes of segments, from the one that has the offset
}

// Within returns those segments of the wanted objects that readers will come to within their reach, as far as they are known here. It is no use of the
// partitions: nobody has asked for them yet.
func (x *Index) Within(wanted func(objectKey string) bool, readers []Reader) []Segment {
	var found []Segment
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, r := range readers {
		el := x.known[r.Partition]
		if el == nil {
			continue
		}
		e := el.Value.(*entry) //nolint:forcetypeassert // only entries are put in
		if r.Offset < e.state.LogStart {
			continue
		}
		for _, s := range e.segments.contiguous(r.Offset, len(e.segments)) {
			if r.Reach <= 0 || s.BaseOffset >= e.state.HighWatermark {
				break
			}
			r.Reach -= int64(s.SizeBytes)
			if wanted(s.ObjectKey) {
				found = append(found, s)
			}
		}
	}
	return found
}
