package failover

import (
	"slices"
	"time"
)

// Quantiles of durations, in milliseconds. Exact: every sample is kept.
type Quantiles struct {
	Samples int     `json:"samples"`
	P50     float64 `json:"p50_ms"`
	P90     float64 `json:"p90_ms"`
	P99     float64 `json:"p99_ms"`
	Max     float64 `json:"max_ms"`
}

// Bucket counts samples above the bound before it and not above its own.
type Bucket struct {
	// UpTo is the bound in milliseconds; 0: none.
	UpTo  float64 `json:"up_to_ms"`
	Count int     `json:"count"`
}

// Spread is a distribution.
type Spread struct {
	Quantiles
	Buckets []Bucket `json:"buckets"`
}

// bounds of the buckets, in milliseconds.
var bounds = []float64{
	50, 100, 150, 200, 250, 300, 350, 400, 450, 500, 600, 700, 800, 900, 1000, 1250, 1500, 1750, 2000, 2250, 2500, 2750, 3000,
	3500, 4000, 5000, 7500, 10_000, 30_000,
}

// quantiles of samples: the least sample that so large a part of them does not exceed.
func quantiles(samples []time.Duration) Quantiles {
	if len(samples) == 0 {
		return Quantiles{}
	}
	sorted := slices.Sorted(slices.Values(samples))
	at := func(percent int) float64 {
		rank := (len(sorted)*percent + 99) / 100
		return millis(sorted[max(rank, 1)-1])
	}
	return Quantiles{Samples: len(sorted), P50: at(50), P90: at(90), P99: at(99), Max: at(100)}
}

// millis rounds to a tenth of a millisecond.
func millis(d time.Duration) float64 {
	return float64(d.Round(100*time.Microsecond)) / float64(time.Millisecond)
}

func spread(samples []time.Duration) Spread {
	s := Spread{Quantiles: quantiles(samples), Buckets: []Bucket{}}
	counts := make([]int, len(bounds)+1)
	for _, d := range samples {
		at, _ := slices.BinarySearch(bounds, float64(d)/float64(time.Millisecond))
		counts[at]++
	}
	for i, n := range counts {
		switch {
		case n > 0 && i < len(bounds):
			s.Buckets = append(s.Buckets, Bucket{UpTo: bounds[i], Count: n})
		case n > 0:
			s.Buckets = append(s.Buckets, Bucket{Count: n})
		}
	}
	return s
}
