package history

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Report counts what a history has broken. All zero but the first three: the promises were kept.
type Report struct {
	Records, Acknowledged, Uncertain int

	// Lost: acknowledged, and not in the log where it was said to be (P1).
	Lost int
	// Duplicated: an idempotent or definitely answered record is in the log twice (P5).
	Duplicated int
	// Reordered: a producer's records stand in the log in another order than it sent them (P2).
	Reordered int
	// RefusedButWritten: refused as surely not written, and in the log (P6).
	RefusedButWritten int
	// Gaps: offsets missing from the log, or out of order in it (P2).
	Gaps int
	// Phantoms: in the log, never produced.
	Phantoms int
	// Rewritten: a reader saw other content at an offset than the log has, or an offset that the log lacks (P1, P2, P4).
	Rewritten int
	// Skipped: a reader saw an offset twice, out of order, or not at all between two others (P2).
	Skipped int
	// Hidden: a fetch that began after an acknowledgement was told that the partition ends before it (P4).
	Hidden int

	// Examples has the first few violations, in words.
	Examples []string
}

// Broken is the number of violations.
func (r *Report) Broken() int {
	return r.Lost + r.Duplicated + r.Reordered + r.RefusedButWritten + r.Gaps + r.Phantoms + r.Rewritten + r.Skipped + r.Hidden
}

// Err is nil if nothing was broken.
func (r *Report) Err() error {
	if r.Broken() == 0 {
		return nil
	}
	return fmt.Errorf("%s\n  %s", r, strings.Join(r.Examples, "\n  "))
}

// String is one line with every count.
func (r *Report) String() string {
	return fmt.Sprintf("records %d, acknowledged %d, uncertain %d; lost %d, duplicated %d, reordered %d, refused but written %d, gaps %d, "+
		"phantoms %d, rewritten %d, skipped %d, hidden %d", r.Records, r.Acknowledged, r.Uncertain, r.Lost, r.Duplicated, r.Reordered,
		r.RefusedButWritten, r.Gaps, r.Phantoms, r.Rewritten, r.Skipped, r.Hidden)
}

const maxExamples = 20

func (r *Report) violatef(count *int, format string, args ...any) {
	*count++
	if len(r.Examples) < maxExamples {
		r.Examples = append(r.Examples, fmt.Sprintf(format, args...))
	}
}

type place struct {
	partition int32
	offset    int64
}

// Check judges a history. It is linear in its size but for one sort of the writes.
func Check(h *History) *Report {
	r := &Report{}
	places, content := r.indexLog(h.Log)
	r.checkWrites(h.Writes, places, content)
	r.checkOrder(h.Writes, places)
	for _, name := range sortedKeys(h.Readers) {
		r.checkReader(name, h.Readers[name], content)
	}
	r.checkProbes(h.Probes, h.Writes, places)
	return r
}

// indexLog checks that the log is dense, and indexes it both ways.
func (r *Report) indexLog(log []Read) (map[string][]place, map[place]string) {
	places := make(map[string][]place, len(log))
	content := make(map[place]string, len(log))
	next := map[int32]int64{}
	for _, rec := range log {
		want, seen := next[rec.Partition]
		if !seen {
			want = 0
		}
		if rec.Offset != want {
			r.violatef(&r.Gaps, "gap: partition %d has offset %d where %d should be", rec.Partition, rec.Offset, want)
		}
		next[rec.Partition] = rec.Offset + 1
		at := place{rec.Partition, rec.Offset}
		places[rec.ID] = append(places[rec.ID], at)
		content[at] = rec.ID
	}
	return places, content
}

func (r *Report) checkWrites(writes []Write, places map[string][]place, content map[place]string) {
	known := make(map[string]bool, len(writes))
	r.Records = len(writes)
	for i := range writes {
		known[writes[i].ID] = true
		r.checkWrite(&writes[i], places[writes[i].ID], content)
	}
	for _, id := range sortedKeys(places) {
		if !known[id] {
			r.violatef(&r.Phantoms, "phantom: %q is in the log, nobody produced it", id)
		}
	}
}

func (r *Report) checkWrite(w *Write, at []place, content map[place]string) {
	switch w.Outcome {
	case Acknowledged:
		r.Acknowledged++
		r.checkAcknowledged(w, at, content)
	case SurelyNot:
		if len(at) > 0 {
			r.violatef(&r.RefusedButWritten, "refused but written: %q is at %v", w.ID, at)
		}
	case Possibly:
		r.Uncertain++
	}
	if len(at) > 1 && (w.Idempotent || w.Outcome != Possibly) {
		r.violatef(&r.Duplicated, "duplicated: %q is at %v", w.ID, at)
	}
}

func (r *Report) checkAcknowledged(w *Write, at []place, content map[place]string) {
	if len(at) == 0 {
		r.violatef(&r.Lost, "lost: %q was acknowledged at %d/%d and is nowhere", w.ID, w.Partition, w.Offset)
		return
	}
	if w.Offset >= 0 && content[place{w.Partition, w.Offset}] != w.ID {
		r.violatef(&r.Lost, "lost: %q was acknowledged at %d/%d, there is %q; it is at %v",
			w.ID, w.Partition, w.Offset, content[place{w.Partition, w.Offset}], at)
	}
}

// checkOrder compares the first copy of each record with the one before it, for each producer and partition.
func (r *Report) checkOrder(writes []Write, places map[string][]place) {
	ordered := slices.Clone(writes)
	slices.SortStableFunc(ordered, func(a, b Write) int {
		return cmp.Or(cmp.Compare(a.Producer, b.Producer), cmp.Compare(a.Sequence, b.Sequence))
	})
	type stream struct {
		producer  string
		partition int32
	}
	last := map[stream]int64{}
	for i := range ordered {
		w := &ordered[i]
		for _, at := range places[w.ID][:min(1, len(places[w.ID]))] {
			s := stream{w.Producer, at.partition}
			if before, seen := last[s]; seen && at.offset < before {
				r.violatef(&r.Reordered, "reordered: %q of %s is at %d/%d, a record sent before it at %d",
					w.ID, w.Producer, at.partition, at.offset, before)
			}
			last[s] = max(last[s], at.offset)
		}
	}
}

func (r *Report) checkReader(name string, reads []Read, content map[place]string) {
	next := map[int32]int64{}
	for _, rec := range reads {
		if want, seen := next[rec.Partition]; seen && rec.Offset != want {
			r.violatef(&r.Skipped, "skipped: reader %s saw %d/%d where %d should be", name, rec.Partition, rec.Offset, want)
		}
		next[rec.Partition] = rec.Offset + 1
		if id, found := content[place{rec.Partition, rec.Offset}]; !found || id != rec.ID {
			r.violatef(&r.Rewritten, "rewritten: reader %s saw %q at %d/%d, the log has %q", name, rec.ID, rec.Partition, rec.Offset, id)
		}
	}
}

// checkProbes finds, for each probe, an acknowledgement that was older and lies at or above the end that it saw.
func (r *Report) checkProbes(probes []Probe, writes []Write, places map[string][]place) {
	type acked struct {
		answered int64
		offset   int64
	}
	// For each partition: acknowledgements in order of time, each with the highest offset acknowledged by then.
	byPartition := map[int32][]acked{}
	ordered := slices.Clone(writes)
	slices.SortStableFunc(ordered, func(a, b Write) int { return cmp.Compare(a.Answered, b.Answered) })
	for i := range ordered {
		w := &ordered[i]
		if w.Outcome != Acknowledged || len(places[w.ID]) == 0 {
			continue
		}
		at := places[w.ID][0]
		list := byPartition[at.partition]
		highest := at.offset
		if len(list) > 0 {
			highest = max(highest, list[len(list)-1].offset)
		}
		byPartition[at.partition] = append(list, acked{int64(w.Answered), highest})
	}
	for _, p := range probes {
		list := byPartition[p.Partition]
		i, _ := slices.BinarySearchFunc(list, int64(p.Began), func(a acked, began int64) int { return cmp.Compare(a.answered, began) })
		if i > 0 && list[i-1].offset >= p.End {
			r.violatef(&r.Hidden, "hidden: agent %s said at %v that partition %d ends at %d; offset %d had been acknowledged",
				p.Agent, p.Began, p.Partition, p.End, list[i-1].offset)
		}
	}
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
