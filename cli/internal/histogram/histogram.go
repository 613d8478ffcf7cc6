// Package histogram counts durations in buckets whose width grows with the duration, so that a quantile is right within 1 % from a
// nanosecond to an hour, in memory that does not grow with the number of samples; and draws what it counted.
//
// It is our own because many goroutines count into one: a sample is one atomic addition, without a lock and without a copy for each
// goroutine to be merged later, which the usual library needs.
//
// Nothing here measures time.
// Read: histogram.go, distribution.go, svg.go.
package histogram

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	// fineBits: a power of two is divided into 2^fineBits buckets, each 1/128 of its lower bound wide at most.
	fineBits = 7
	// largestBits: what takes longer than 2^largestBits ns (73 minutes) is counted as that.
	largestBits = 42
	bucketCount = (largestBits-fineBits)<<fineBits + 1<<fineBits
)

// Histogram counts durations. The zero value is ready; it is safe for concurrent use and must not be copied.
type Histogram struct {
	counts [bucketCount]atomic.Int64
	sum    atomic.Int64 // nanoseconds
	max    atomic.Int64 // nanoseconds
}

// Add counts a duration; a negative one as 0.
func (h *Histogram) Add(d time.Duration) {
	n := max(int64(d), 0)
	h.counts[index(n)].Add(1)
	h.sum.Add(n)
	for {
		old := h.max.Load()
		if n <= old || h.max.CompareAndSwap(old, n) {
			return
		}
	}
}

// index of the bucket that holds n. Up to 2^(fineBits+1) every bucket holds one value, then two, four, and so on.
func index(n int64) int {
	n = min(n, 1<<largestBits-1)
	shift := max(bits.Len64(uint64(n))-fineBits-1, 0)
	return shift<<fineBits + int(n>>shift)
}

// highest value of a bucket.
func highest(index int) int64 {
	shift := max(index>>fineBits-1, 0)
	return (int64(index-shift<<fineBits)+1)<<shift - 1
}

// lowest value of a bucket.
func lowest(index int) int64 {
	if index == 0 {
		return 0
	}
	return highest(index-1) + 1
}

// Count of samples.
func (h *Histogram) Count() int64 {
	var n int64
	for i := range h.counts {
		n += h.counts[i].Load()
	}
	return n
}

// Max is the greatest sample, exactly.
func (h *Histogram) Max() time.Duration { return time.Duration(h.max.Load()) }

// Mean is 0 without samples.
func (h *Histogram) Mean() time.Duration {
	if n := h.Count(); n > 0 {
		return time.Duration(h.sum.Load() / n)
	}
	return 0
}

// Quantile is the least duration that a part q (0 to 1) of the samples does not exceed: never less than the exact one, and more by 1/128
// at most. 0 without samples.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := max(int64(math.Ceil(q*float64(h.Count()))), 1)
	var seen int64
	for i := range h.counts {
		if seen += h.counts[i].Load(); seen >= rank {
			return min(time.Duration(highest(i)), h.Max())
		}
	}
	return h.Max()
}
