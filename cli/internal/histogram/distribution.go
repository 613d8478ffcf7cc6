package histogram

import (
	"math"
	"time"
)

// Distribution is a histogram to be printed, in milliseconds. Its JSON form is stable.
type Distribution struct {
	Samples int64   `json:"samples"`
	Mean    float64 `json:"mean_ms"`
	P50     float64 `json:"p50_ms"`
	P90     float64 `json:"p90_ms"`
	P99     float64 `json:"p99_ms"`
	P999    float64 `json:"p999_ms"`
	Max     float64 `json:"max_ms"`
	// Buckets that hold something, from short to long; eight for a power of two.
	Buckets []Bucket `json:"buckets"`
}

// Bucket counts samples above the bucket before it and not above its own bound.
type Bucket struct {
	UpTo  float64 `json:"up_to_ms"`
	Count int64   `json:"count"`
}

// coarseBits: this many fine buckets make one that is printed.
const coarseBits = fineBits - 3

// Distribution of what was counted so far.
func (h *Histogram) Distribution() Distribution {
	d := Distribution{
		Samples: h.Count(), Mean: millis(h.Mean()), P50: millis(h.Quantile(0.5)), P90: millis(h.Quantile(0.9)),
		P99: millis(h.Quantile(0.99)), P999: millis(h.Quantile(0.999)), Max: millis(h.Max()), Buckets: []Bucket{},
	}
	for i := 0; i < bucketCount; i += 1 << coarseBits {
		var n int64
		for j := range 1 << coarseBits {
			n += h.counts[i+j].Load()
		}
		if n > 0 {
			d.Buckets = append(d.Buckets, Bucket{UpTo: millis(time.Duration(highest(i + 1<<coarseBits - 1))), Count: n})
		}
	}
	return d
}

// millis keeps microseconds.
func millis(d time.Duration) float64 {
	return math.Round(float64(d)/float64(time.Microsecond)) / 1000
}
