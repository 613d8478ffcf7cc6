package compact

import (
	"slices"

	"github.com/streamhouse/streamhouse/dataplane/internal/object"
)

const (
	// maxJoinedBytes bounds the segments that are made of several. A reader loads a segment whole for each answer, of 512 KiB: four answers a load cost
	// little where the segment falls out of the cache in between, and neighbours in an object are read ahead with one GET anyway.
	maxJoinedBytes = 2 << 20
	// maxOutputSegments and maxReplaced bound what one commit has to write and to delete.
	maxOutputSegments = 2000
	maxReplaced       = 10_000
)

// source is a segment that is alive in one of the inputs.
type source struct {
	object.Segment
	input int32 // its place in the list of inputs
}

// output is an object to be written: its segments, and what each of them consists of.
type output struct {
	segments []object.Segment // in the order of an object; positions are not known yet
	sources  []source         // of all of them, in the order in which their bytes follow each other
}

func (o output) bytes() (n int64) {
	for _, s := range o.segments {
		n += int64(s.SizeBytes)
	}
	return n
}

// layout sorts what is alive and divides it into outputs of about target bytes. It depends on its arguments alone: whoever comes to the same
// sources writes the same objects.
func layout(alive []source, target int64) (outputs []output) {
	slices.SortFunc(alive, func(a, b source) int { return a.Compare(b.Segment) })
	var current output
	size := int64(0)
	for len(alive) > 0 {
		n, bytes := run(alive)
		full := size+bytes > target || len(current.segments) == maxOutputSegments || len(current.sources)+n > maxReplaced
		if full && len(current.segments) > 0 {
			outputs = append(outputs, current)
			current, size = output{}, 0
		}
		current.segments = append(current.segments, joined(alive[:n]))
		current.sources = append(current.sources, alive[:n]...)
		alive, size = alive[n:], size+bytes
	}
	if len(current.segments) > 0 {
		outputs = append(outputs, current)
	}
	return outputs
}

// run is how many of the first sources become one segment, at least one. Requires: there is one.
func run(alive []source) (n int, bytes int64) {
	bytes = int64(alive[0].SizeBytes)
	for n = 1; n < len(alive) && n < maxReplaced; n++ {
		s := alive[n]
		if !s.Joins(alive[n-1].Segment) || bytes+int64(s.SizeBytes) > maxJoinedBytes {
			break
		}
		bytes += int64(s.SizeBytes)
	}
	return n, bytes
}

func joined(run []source) object.Segment {
	segments := make([]object.Segment, len(run))
	for i, s := range run {
		segments[i] = s.Segment
	}
	return object.Join(segments)
}
