package histogram

import (
	"fmt"
	"html"
	"io"
	"math"
	"strings"
	"time"
)

// Series is a histogram with a name, to be drawn.
type Series struct {
	Name      string
	Histogram *Histogram
}

// The drawing, in pixels.
const (
	width, height            = 800, 420
	left, right, top, bottom = 70, 20, 50, 60
	plotWidth                = width - left - right
	plotHeight               = height - top - bottom
	lineHeight               = 16
)

var colours = []string{"#1f5fa8", "#c4501b", "#2c8a4b", "#7a3fa0", "#8a6d1f", "#555555"}

// WriteSVG draws the share of samples (up) that take at most so long (right, logarithmic): where a curve is steep, most samples are.
// The upward axis counts nines, so that the tail can be read.
func WriteSVG(w io.Writer, title string, all []Series) error {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/><text x="%d" y="22" font-size="15">%s</text>`+"\n", width, height, left, html.EscapeString(title))
	least, most := decades(all)
	axes(&b, least, most)
	for i, s := range all {
		colour := colours[i%len(colours)]
		fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" stroke-width="2" points="%s"/>`+"\n", colour, points(s.Histogram, least, most))
		fmt.Fprintf(&b, `<text x="%d" y="%d" fill="%s">%s: p50 %s, p99 %s, max %s</text>`+"\n", left+10, top+lineHeight*(i+1), colour,
			html.EscapeString(s.Name), short(s.Histogram.Quantile(0.5)), short(s.Histogram.Quantile(0.99)), short(s.Histogram.Max()))
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// decades are the powers of ten, in nanoseconds, between which all samples lie.
func decades(all []Series) (least, most int) {
	least, most = math.MaxInt, math.MinInt
	for _, s := range all {
		if s.Histogram.Count() == 0 {
			continue
		}
		least = min(least, int(math.Floor(math.Log10(float64(max(s.Histogram.Quantile(0), 1))))))
		most = max(most, int(math.Ceil(math.Log10(float64(max(s.Histogram.Max(), 2))))))
	}
	if least > most {
		return 0, 1
	}
	return least, max(most, least+1)
}

// levels of the upward axis.
var levels = []float64{0, 0.5, 0.9, 0.99, 0.999, 0.9999}

// rise is how high a share stands, 0 to 1: each nine is as high as the one before.
func rise(share float64) float64 {
	const most = 4 // nines
	return min(-math.Log10(max(1-share, 1e-9)), most) / most
}

func axes(b *strings.Builder, least, most int) {
	for _, level := range levels {
		y := float64(top) + plotHeight*(1-rise(level))
		fmt.Fprintf(b, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%v %%</text>`+"\n",
			left, y, left+plotWidth, y, left-8, y+4, math.Round(level*1e6)/1e4)
	}
	for d := least; d <= most; d++ {
		x := left + plotWidth*float64(d-least)/float64(most-least)
		fmt.Fprintf(b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#ddd"/><text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n",
			x, top, x, top+plotHeight, x, top+plotHeight+18, short(time.Duration(math.Pow10(d))))
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="middle">at most this long</text>`+"\n", left+plotWidth/2, height-14)
}

// points of the curve.
func points(h *Histogram, least, most int) string {
	var b strings.Builder
	total, seen := float64(h.Count()), int64(0)
	for i := range h.counts {
		n := h.counts[i].Load()
		if n == 0 {
			continue
		}
		seen += n
		at := math.Log10(float64(max(min(highest(i), int64(h.Max())), 1)))
		x := left + plotWidth*(at-float64(least))/float64(most-least)
		y := top + plotHeight*(1-rise(float64(seen)/total))
		fmt.Fprintf(&b, "%.1f,%.1f ", x, y)
	}
	return strings.TrimSpace(b.String())
}

// short is a duration with three digits at most.
func short(d time.Duration) string {
	for unit := time.Nanosecond; unit <= time.Second; unit *= 1000 {
		if d < 1000*unit {
			return d.Round(max(unit/100, 1)).String()
		}
	}
	return d.Round(time.Second).String()
}
