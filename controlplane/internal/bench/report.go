package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// Report is what a run found; the package comment tells its fields.
type Report struct {
	Entries    int     `json:"entries"`
	Producers  int     `json:"producers"`
	Committers int     `json:"committers"`
	Seconds    float64 `json:"seconds"`
	Raw        Measure `json:"raw"`
	Store      Measure `json:"store"`
	StoreToRaw Ratio   `json:"store_to_raw"`
}

// Measure of one of the two.
type Measure struct {
	Commits               int      `json:"commits"`
	P50Ms                 float64  `json:"p50_ms"`
	P99Ms                 float64  `json:"p99_ms"`
	EntriesPerSecond      float64  `json:"entries_per_second"`
	WALBytesPerEntry      float64  `json:"wal_bytes_per_entry"`
	PostgresCPUUsPerEntry *float64 `json:"postgres_cpu_us_per_entry"`
	ClientCPUUsPerEntry   float64  `json:"client_cpu_us_per_entry"`
}

// Ratio of ours to the bare transaction.
type Ratio struct {
	P50         float64  `json:"p50"`
	P99         float64  `json:"p99"`
	WAL         float64  `json:"wal"`
	PostgresCPU *float64 `json:"postgres_cpu"`
}

func report(config Config, raw, store *side) *Report {
	r := &Report{
		Entries: config.Entries, Producers: config.Producers, Committers: config.Committers, Seconds: store.elapsed.Seconds(),
		Raw: raw.measure(config.Entries), Store: store.measure(config.Entries),
	}
	r.StoreToRaw = Ratio{P50: r.Store.P50Ms / r.Raw.P50Ms, P99: r.Store.P99Ms / r.Raw.P99Ms, WAL: r.Store.WALBytesPerEntry / r.Raw.WALBytesPerEntry}
	if ours, bare := r.Store.PostgresCPUUsPerEntry, r.Raw.PostgresCPUUsPerEntry; ours != nil && bare != nil {
		r.StoreToRaw.PostgresCPU = new(*ours / *bare)
	}
	return r
}

func (s *side) measure(entries int) Measure {
	slices.Sort(s.took)
	n := float64(len(s.took) * entries)
	m := Measure{
		Commits: len(s.took), P50Ms: milliseconds(quantile(s.took, 0.5)), P99Ms: milliseconds(quantile(s.took, 0.99)),
		EntriesPerSecond: n / s.elapsed.Seconds(), WALBytesPerEntry: s.cost.wal / n, ClientCPUUsPerEntry: microseconds(s.cost.client) / n,
	}
	if s.cost.known {
		m.PostgresCPUUsPerEntry = new(microseconds(s.cost.postgres) / n)
	}
	return m
}

// quantile of sorted values. Requires: at least one.
func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1e3 }
func microseconds(d time.Duration) float64 { return d.Seconds() * 1e6 }

// Write prints the report, as json or as a table.
func (r *Report) Write(w io.Writer, output string) error {
	if output == "json" {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(r)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "%d entries, %d producers\tp50 ms\tp99 ms\tentries/s\tWAL B/entry\tPostgreSQL us/entry\tclient us/entry\t\n", r.Entries, r.Producers)
	for _, row := range []struct {
		name string
		Measure
	}{{"bare transaction", r.Raw}, {"Store.Commit", r.Store}} {
		cpu := "unknown"
		if row.PostgresCPUUsPerEntry != nil {
			cpu = fmt.Sprintf("%.1f", *row.PostgresCPUUsPerEntry)
		}
		fmt.Fprintf(table, "%s\t%.2f\t%.2f\t%.0f\t%.0f\t%s\t%.1f\t\n",
			row.name, row.P50Ms, row.P99Ms, row.EntriesPerSecond, row.WALBytesPerEntry, cpu, row.ClientCPUUsPerEntry)
	}
	return table.Flush()
}
