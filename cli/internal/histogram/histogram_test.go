package histogram

import (
	"encoding/xml"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Every quantile is that of the sorted samples, or more by 1/128 at most; count, mean and greatest are exact.
func TestQuantilesAreThoseOfTheSamples(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		samples := rapid.SliceOfN(rapid.Int64Range(0, 1<<rapid.IntRange(1, largestBits-1).Draw(t, "bits")), 1, 500).Draw(t, "samples")
		var h Histogram
		var sum int64
		for _, n := range samples {
			h.Add(time.Duration(n))
			sum += n
		}
		slices.Sort(samples)
		for _, q := range []float64{0, 0.01, 0.5, 0.9, 0.99, 0.999, 1} {
			exact := samples[max(int(math.Ceil(q*float64(len(samples)))), 1)-1]
			got := int64(h.Quantile(q))
			if got < exact || got > exact+exact>>fineBits {
				t.Fatalf("quantile %v: got %d, exact %d", q, got, exact)
			}
		}
		if h.Count() != int64(len(samples)) || int64(h.Max()) != samples[len(samples)-1] || int64(h.Mean()) != sum/int64(len(samples)) {
			t.Fatalf("count %d, max %d, mean %d", h.Count(), h.Max(), h.Mean())
		}
	})
}

func TestBucketsFollowEachOther(t *testing.T) {
	t.Parallel()
	for i := range bucketCount {
		if index(lowest(i)) != i || index(highest(i)) != i || highest(i) < lowest(i) {
			t.Fatalf("bucket %d holds %d to %d, which go to %d and %d", i, lowest(i), highest(i), index(lowest(i)), index(highest(i)))
		}
	}
	if index(math.MaxInt64) != bucketCount-1 || highest(bucketCount-1) != 1<<largestBits-1 {
		t.Error("the last bucket takes all that is longer")
	}
}

func TestManyCountAtOnce(t *testing.T) {
	t.Parallel()
	var h Histogram
	var counting sync.WaitGroup
	for g := range 8 {
		counting.Go(func() {
			for i := range 1000 {
				h.Add(time.Duration(g*1000 + i))
			}
		})
	}
	counting.Wait()
	if h.Count() != 8000 || h.Max() != 7999 {
		t.Errorf("count %d, max %d", h.Count(), h.Max())
	}
}

func TestDistributionHasEverySample(t *testing.T) {
	t.Parallel()
	var h Histogram
	for _, d := range []time.Duration{-1, 0, 900 * time.Microsecond, time.Millisecond, 5 * time.Second, 100 * time.Hour} {
		h.Add(d)
	}
	d := h.Distribution()
	var n int64
	for i, b := range d.Buckets {
		n += b.Count
		if i > 0 && b.UpTo <= d.Buckets[i-1].UpTo {
			t.Errorf("bounds %v", d.Buckets)
		}
	}
	if d.Samples != 6 || n != 6 || d.P50 < 0.9 || d.P50 > 0.91 || d.Max != 3.6e8 {
		t.Errorf("%+v", d)
	}
	if empty := new(Histogram).Distribution(); empty.Samples != 0 || empty.P99 != 0 || len(empty.Buckets) != 0 {
		t.Errorf("without samples: %+v", empty)
	}
}

func TestSVGIsWellFormedAndStaysInside(t *testing.T) {
	t.Parallel()
	var h Histogram
	for i := range 10_000 {
		h.Add(time.Duration(i*i) * time.Nanosecond)
	}
	var w strings.Builder
	if err := WriteSVG(&w, "a <b>", []Series{{"x & y", &h}, {"none", new(Histogram)}}); err != nil {
		t.Fatal(err)
	}
	var drawn struct {
		Lines []struct {
			Points string `xml:"points,attr"`
		} `xml:"polyline"`
	}
	if err := xml.Unmarshal([]byte(w.String()), &drawn); err != nil || len(drawn.Lines) != 2 {
		t.Fatalf("%v, %d curves", err, len(drawn.Lines))
	}
	for i, p := range strings.Fields(drawn.Lines[0].Points) {
		var x, y float64
		if _, err := fmt.Sscanf(p, "%f,%f", &x, &y); err != nil || x < left-0.1 || x > left+plotWidth+0.1 || y < top-0.1 || y > top+plotHeight+0.1 {
			t.Fatalf("point %d is %s, %v", i, p, err)
		}
	}
}
