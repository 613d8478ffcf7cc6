package demo

import (
	"context"
	"slices"
	"time"
)

// settleTimeout bounds how long a follower may lag behind the end of the produce.
const settleTimeout = time.Minute

// compare fills the summary by comparing what came out with what went in.
func (d *demo) compare(ctx context.Context, s *Summary, input *Input, v *victim, f *follower) error {
	d.sayf("comparing what came out with what went in …")
	log, err := d.consume(ctx)
	if err != nil {
		return err
	}
	s.Lost, s.Duplicated = differences(input.Lines, log)
	s.Reordered = reordered(input.Lines, log)
	s.Gaps = gaps(log)
	leases, err := d.leases(ctx)
	if err != nil {
		return err
	}
	for _, l := range leases {
		if before, led := v.epochs[l.Partition]; led && l.Epoch > before && l.Leader != v.agent.ID {
			s.HigherEpochs++
		}
	}
	settle, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	if err := f.await(settle, len(log)); err != nil {
		return err
	}
	f.stop()
	lost, doubled := differences(input.Lines, f.reads)
	s.FollowerFaults = lost + doubled + gaps(f.reads)
	return nil
}

// differences compares two multisets: lines that are missing from the log, and records that are in it too often.
func differences(lines []Line, log []Read) (missing, surplus int) {
	balance := make(map[Line]int, len(lines))
	for _, l := range lines {
		balance[l]++
	}
	for _, r := range log {
		balance[Line{r.Key, r.Value}]--
	}
	for _, n := range balance {
		missing += max(n, 0)
		surplus += max(-n, 0)
	}
	return missing, surplus
}

// reordered counts keys whose values came out in another order than they went in.
func reordered(lines []Line, log []Read) int {
	in, out := map[string][]string{}, map[string][]string{}
	for _, l := range lines {
		in[l.Key] = append(in[l.Key], l.Value)
	}
	for _, r := range log {
		out[r.Key] = append(out[r.Key], r.Value)
	}
	count := 0
	for key, values := range in {
		if !slices.Equal(values, out[key]) {
			count++
		}
	}
	return count
}

// gaps counts offsets that do not follow the one before them in their partition, or 0.
func gaps(log []Read) int {
	next := map[int]int64{}
	count := 0
	for _, r := range log {
		if r.Offset != next[r.Partition] {
			count++
		}
		next[r.Partition] = r.Offset + 1
	}
	return count
}
