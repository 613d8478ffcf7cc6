package bench

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/streamhouse/streamhouse/cli/internal/histogram"
)

// Text is the report for people.
func (r *Report) Text() string {
	var b strings.Builder
	if r.Records > 0 {
		fmt.Fprintf(&b, "%s: %d records in %.2f s: %.0f records/s, %.1f MiB/s of values", r.Bench, r.Records, r.Seconds, r.RecordsPerSecond, r.ValueMiBPerSec)
		if r.StoredMiBPerSec > 0 {
			fmt.Fprintf(&b, ", %.1f MiB/s stored (values ÷ stored %.2f)", r.StoredMiBPerSec, r.StoredRatio)
		}
		fmt.Fprintf(&b, "; %d retries, %d errors\n", r.Retries, r.Errors)
	}
	if o := r.Objects; o != nil {
		fmt.Fprintf(&b, "%d objects, %.1f a second, %d bytes each\n", o.Count, o.PerSecond, o.Bytes/max(o.Count, 1))
	}
	if v := r.Verified; v != nil {
		fmt.Fprintf(&b, "read back: %d of %d records, %d lost, %d duplicated, %d there although refused, %d out of order\n",
			v.Read, v.Sent, v.Lost, v.Duplicated, v.Unwanted, v.Disordered)
	}
	r.writeLatencies(&b)
	r.writeTransactions(&b)
	r.writeCPU(&b)
	if r.Limits != nil {
		r.Limits.write(&b)
	}
	r.writeRatios(&b)
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "\nnote: %s\n", note)
	}
	return b.String()
}

func table(b *strings.Builder, head string, rows func(w *tabwriter.Writer)) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\n%s\n", strings.ReplaceAll(head, "|", "\t"))
	rows(w)
	_ = w.Flush() // into memory
}

func quantiles(w *tabwriter.Writer, name string, d histogram.Distribution) {
	fmt.Fprintf(w, "%s\t%d\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\n", name, d.Samples, d.Mean, d.P50, d.P90, d.P99, d.P999, d.Max)
}

func (r *Report) writeLatencies(b *strings.Builder) {
	if r.Latency == nil && r.Delivery == nil {
		return
	}
	table(b, "MILLISECONDS|SAMPLES|MEAN|P50|P90|P99|P99.9|MAX", func(w *tabwriter.Writer) {
		if r.Latency != nil {
			quantiles(w, "acknowledgement", *r.Latency)
		}
		if r.Delivery != nil {
			quantiles(w, "delivery by "+r.Delivery.Agent, r.Delivery.Distribution)
		}
	})
}

func (r *Report) writeTransactions(b *strings.Builder) {
	if len(r.Transactions) == 0 {
		return
	}
	table(b, "CALL|ENTRIES|PRODUCERS|SAMPLES|PER SECOND|ENTRIES/S|P50 ms|P90 ms|P99 ms|MAX ms|PG CPU us/ENTRY|CONTROL PLANE us/ENTRY", func(w *tabwriter.Writer) {
		for _, t := range r.Transactions {
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%.1f\t%.0f\t%.2f\t%.2f\t%.2f\t%.2f\t%s\t%s\n", t.What, t.Entries, t.Producers, t.Latency.Samples, t.PerSecond,
				t.PerSecond*float64(t.Entries), t.Latency.P50, t.Latency.P90, t.Latency.P99, t.Latency.Max, known(t.PostgresMicros), known(t.ControlPlaneMicros))
		}
	})
}

func known(value *float64) string {
	if value == nil {
		return "unknown"
	}
	return fmt.Sprintf("%.1f", *value)
}

func (r *Report) writeCPU(b *strings.Builder) {
	if len(r.CPU.Processes) == 0 {
		return
	}
	head := fmt.Sprintf("CPU (%.2f cores used)|SECONDS", r.CPU.CoresUsed)
	if r.ValueBytes > 0 {
		head += "|PER GiB OF VALUES"
	}
	table(b, head, func(w *tabwriter.Writer) {
		for _, p := range r.CPU.Processes {
			fmt.Fprintf(w, "%s\t%.2f", p.Name, p.Seconds)
			if r.ValueBytes > 0 {
				fmt.Fprintf(w, "\t%.3f", p.PerGiB)
			}
			fmt.Fprintln(w)
		}
		if r.ValueBytes > 0 && len(r.CPU.Processes) > 1 {
			fmt.Fprintf(w, "all\t%.2f\t%.3f\n", r.CPU.CoresUsed*r.Seconds, r.wholePerGiB())
		}
	})
}

func (r *Report) writeRatios(b *strings.Builder) {
	if len(r.Ratios) == 0 {
		return
	}
	table(b, "MEASURED AGAINST ITS LIMIT|VALUE|AIM", func(w *tabwriter.Writer) {
		for _, ratio := range r.Ratios {
			fmt.Fprintf(w, "%s\t%.2f %s\t%s\n", ratio.Name, ratio.Value, ratio.Unit, ratio.Aim)
		}
	})
}
