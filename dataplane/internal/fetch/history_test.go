package fetch

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

// step is something that happens to a partition.
type step struct {
	do        string
	partition int32
	n         int
}

var doings = []string{"commit", "commit elsewhere", "read", "read", "read", "read anywhere", "end", "trim", "compact", "lead"}

// history is one agent's reading half against the plainest model of two partitions.
type history struct {
	*rig
	start   [2]int64 // log start
	cursor  [2]int64
	objects map[int32][]string // of the segments that the catalog has
	problem string             // the first one
}

func TestP1P4_ReadersSeeWhatWasAcknowledged(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) step {
			return step{
				do: rapid.SampledFrom(doings).Draw(rt, "do"), partition: rapid.Int32Range(0, 1).Draw(rt, "partition"),
				n: rapid.IntRange(1, 6).Draw(rt, "n"),
			}
		}), 30, 100).Draw(rt, "steps")
		problem := ""
		inBubble(t, 2, Config{}, func(_ *testing.T, r *rig) {
			h := &history{rig: r, objects: map[int32][]string{}}
			for i, s := range steps {
				if h.take(s); h.problem != "" {
					problem = fmt.Sprintf("step %d, %+v: %s", i, s, h.problem)
					return
				}
			}
		})
		if problem != "" {
			rt.Fatal(problem)
		}
	})
}

func (h *history) take(s step) {
	p := s.partition
	switch s.do {
	case "commit", "commit elsewhere":
		h.commit(s)
	case "read":
		h.cursor[p] = h.readAt(p, h.cursor[p])
	case "read anywhere":
		h.readAt(p, int64(s.n*3))
	case "end":
		res, err := h.ListOffsets(h.ctx, edge(p, dataplanev1.OffsetEdge_OFFSET_EDGE_LATEST))
		if err != nil || res.GetOffsets()[0].GetOffset() != h.ends[p] {
			h.problem = fmt.Sprintf("the end is %v, %v, want %d", res, err, h.ends[p])
		}
	case "trim":
		h.start[p] = max(h.start[p], h.ends[p]-int64(s.n))
		h.catalog.Trim(id(p), h.start[p])
	case "compact":
		h.compact(p)
	case "lead":
		h.Led(id(p), 1, h.start[p], h.ends[p])
	}
}

// content of a record says where it belongs.
func content(p int32, offset int64) string { return fmt.Sprintf("%d/%d", p, offset) }

func (h *history) records(p int32, from, to int64) []rec {
	var all []rec
	for o := from; o < to; o++ {
		all = append(all, rec{value: []byte(content(p, o)), timestamp: o})
	}
	return all
}

// commit is by this agent, or by another whose commits nobody tells it of.
func (h *history) commit(s step) {
	from := h.ends[s.partition]
	for _, c := range h.write([][]rec{h.records(s.partition, from, from+int64(s.n)), h.records(s.partition, from+int64(s.n), from+int64(s.n)+1)}, s.partition) {
		h.objects[s.partition] = append(h.objects[s.partition], c.ObjectKey)
		if s.do == "commit" {
			c.LogStartOffset = h.start[s.partition]
			h.Committed(c)
		}
	}
}

// compact writes all from the log start anew, into one segment, and deletes the old objects.
func (h *history) compact(p int32) {
	if h.start[p] == h.ends[p] {
		return
	}
	end := h.ends[p]
	h.ends[p] = h.start[p]
	c := h.write([][]rec{h.records(p, h.start[p], end)}, p)[0]
	h.catalog.Replace(id(p), segmentOf(c))
	if err := h.bucket.Delete(h.ctx, h.objects[p]); err != nil && len(h.objects[p]) > 0 {
		h.problem = err.Error()
	}
	h.objects[p] = []string{c.ObjectKey}
}

// readAt fetches once and returns the next offset to read.
func (h *history) readAt(p int32, offset int64) int64 {
	req := request(p, offset)
	req.Decode = true
	req.MaxBytes = 200
	res, err := h.Fetch(h.ctx, req)
	if err != nil {
		if offset < h.start[p] || offset > h.ends[p] {
			if !refusal.Is(err, refusalv1.Reason_REASON_OUT_OF_RANGE) {
				h.problem = fmt.Sprintf("offset %d: %v", offset, err)
			}
			return h.start[p]
		}
		h.problem = fmt.Sprintf("offset %d of %d to %d: %v", offset, h.start[p], h.ends[p], err)
		return offset
	}
	got := res.GetPartitions()[0]
	if offset < h.ends[p] && len(got.GetRecords()) == 0 {
		h.problem = fmt.Sprintf("nothing at offset %d, the end is %d", offset, h.ends[p])
	}
	for i, r := range got.GetRecords() {
		if want := offset + int64(i); r.GetOffset() != want || string(r.GetValue()) != content(p, want) || want >= h.ends[p] {
			h.problem = fmt.Sprintf("at offset %d: %v, the end is %d", want, r, h.ends[p])
		}
	}
	return got.GetNextOffset()
}
