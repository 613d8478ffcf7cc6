// Package performance runs the rows of docs/performance.md on clusters of its own, one after the other, and prints them as a table: what was
// measured, and the aim. Every row is a command that anybody can run; nothing is timed here.
// What the numbers mean, and the limits beside them, the commands themselves tell.
// Read: rows.go, run.go.
package performance

import (
	"fmt"
	"slices"
	"strings"
)

// Cluster is a dev, with the agents that are added to it.
type Cluster struct {
	Name string
	Dev  []string   // arguments of `streamhouse dev`
	More [][]string // of `streamhouse dev agent start`
}

// Row is one line of the table.
type Row struct {
	What    string
	Aim     string
	Cluster string
	Args    []string // of `streamhouse`
	Value   func(Report) string
}

// Command is the row's, as people type it.
func (r Row) Command() string { return "streamhouse " + strings.Join(r.Args, " ") }

// Report is what the rows look at of what the commands print with -o json.
type Report struct {
	RecordsPerSecond float64 `json:"records_per_second"`
	ValueMiBPerSec   float64 `json:"value_mib_per_second"`
	Latency          times   `json:"latency"`
	Delivery         *times  `json:"delivery"`
	Objects          *struct {
		PerSecond float64 `json:"per_second"`
		Count     int64   `json:"count"`
	} `json:"objects"`
	CPU struct {
		Cores     float64 `json:"cores_used"`
		Processes []struct {
			Name   string  `json:"name"`
			PerGiB float64 `json:"seconds_per_gib"`
		} `json:"processes"`
	} `json:"cpu"`
	Transactions []struct {
		What      string `json:"what"`
		Entries   int    `json:"entries"`
		Producers int    `json:"producers"`
		Latency   times  `json:"latency"`
	} `json:"transactions"`
	Ratios []struct {
		Name  string  `json:"name"`
		Value float64 `json:"value"`
	} `json:"ratios"`
	Notes []string `json:"notes"`
}

type times struct {
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
}

const unknown = "not measured"

// ratio is one that the command printed.
func ratio(name, format string) func(Report) string {
	return func(r Report) string {
		for _, found := range r.Ratios {
			if found.Name == name {
				return fmt.Sprintf(format, found.Value)
			}
		}
		return unknown
	}
}

// join shows several values.
func join(values ...func(Report) string) func(Report) string {
	return func(r Report) string {
		var all []string
		for _, v := range values {
			all = append(all, v(r))
		}
		return strings.Join(all, "; ")
	}
}

// perGiB is the CPU time of some processes, all of them without names.
func perGiB(names ...string) func(Report) string {
	return func(r Report) string {
		var sum float64
		found := 0
		for _, p := range r.CPU.Processes {
			if len(names) == 0 || strings.Contains(strings.Join(names, ","), p.Name) {
				sum += p.PerGiB
				found++
			}
		}
		if found == 0 || found < len(names) {
			return unknown
		}
		return fmt.Sprintf("%.2f", sum)
	}
}

func rate(r Report) string { return fmt.Sprintf("%.2f M/s", r.RecordsPerSecond/1e6) }

func cores(r Report) string { return fmt.Sprintf("%.1f cores used", r.CPU.Cores) }

func acknowledged(r Report) string {
	return fmt.Sprintf("p50 %.2f, p99 %.2f ms", r.Latency.P50, r.Latency.P99)
}

func puts(r Report) string {
	if r.Objects == nil {
		return unknown
	}
	return fmt.Sprintf("%.1f/s", r.Objects.PerSecond)
}

// commit is p50 and p99 of commits of so many entries without producers.
func commit(entries int) func(Report) string {
	return func(r Report) string {
		for _, t := range r.Transactions {
			if t.What == "commit" && t.Entries == entries && t.Producers == 0 {
				return fmt.Sprintf("%.2f / %.2f ms", t.Latency.P50, t.Latency.P99)
			}
		}
		return unknown
	}
}

// Clusters that the rows need. One agent does all the work where throughput is measured: more would only share the same cores.
func Clusters() []Cluster {
	generous := []string{"--agent-flag", "puts-per-second=1000", "--agent-flag", "put-burst=1000"}
	fast := func(zone string) []string {
		return append([]string{"--agent-group", "fast", "--zone", zone}, generous...)
	}
	return []Cluster{
		{
			Name: "plain", Dev: []string{"--zones", "az-a"},
			More: [][]string{fast("az-a"), fast("az-b"), {"--agent-group", "checksum", "--agent-flag", "verify=checksum"}},
		},
		{Name: "md5", Dev: []string{"--zones", "az-a", "--s3-md5"}},
		{Name: "slow", Dev: append([]string{"--zones", "az-a,az-b", "--s3-put-delay", "20ms"}, generous...)},
	}
}

// Rows of the table.
func Rows() []Row { return slices.Concat(writing(), waiting(), reading(), catalog()) }

func bench(args string) []string { return append([]string{"bench"}, strings.Fields(args)...) }

// writing is how much goes in, and what it costs.
func writing() []Row {
	const (
		parts  = "CPU of the parts alone ÷ CPU of the whole path"
		stored = "stored bytes/s ÷ PutObject alone"
	)
	return []Row{
		{
			"CPU of the parts alone ÷ CPU of the whole path, 1 KiB JSON records, one producer", "≥ 0.75",
			"plain", bench("produce"), join(ratio(parts, "%.2f"), cores),
		},
		{
			"CPU-s/GiB: whole path", "≤ 2.9",
			"plain", bench("produce --no-limits --duration 15s"), join(perGiB(), cores),
		},
		{
			"CPU-s/GiB: agent, full verification", "≤ 0.80",
			"plain", bench("produce --no-limits --duration 20s"), perGiB("agents"),
		},
		{
			"CPU-s/GiB: agent, checksum only", "≤ 0.55",
			"plain", bench("produce --no-limits --agent-group checksum"), perGiB("agents"),
		},
		{
			"CPU-s/GiB: control plane + PostgreSQL", "≤ 0.08",
			"plain", bench("produce --no-limits --duration 25s"), perGiB("control planes", "postgres"),
		},
		{
			"durable records/s, 100 bytes, SDK, full verification, idempotent", "≥ 5.5 M/s",
			"plain", bench("produce --record-bytes 100 --no-limits"), join(rate, cores),
		},
		{
			"prebuilt batches: stored bytes/s ÷ PutObject alone, S3 server with MD5", "≥ 0.9",
			"md5", bench("produce --batch prebuilt"), ratio(stored, "%.2f"),
		},
		{
			"the same, without MD5", "≥ 0.35",
			"plain", bench("produce --batch prebuilt"), ratio(stored, "%.2f"),
		},
	}
}

// waiting is how long it takes.
func waiting() []Row {
	minus := join(acknowledged, ratio("acknowledgement − (PUT + commit), p50", "minus PUT and commit: p50 %.2f"),
		ratio("acknowledgement − (PUT + commit), p99", "p99 %.2f ms"))
	divided := ratio("acknowledgement ÷ (PUT + commit), p50", "ratio %.2f")
	return []Row{
		{
			"acknowledgement at 100 records/s, PUT budget out of the way", "minus PUT + commit ≤ 0.8 ms p50, ≤ 2 ms p99",
			"plain", bench("latency --agent-group fast"), minus,
		},
		{
			"the same, PUTs delayed by 20 ms", "÷ (PUT + commit) ≤ 1.1",
			"slow", bench("latency"), join(acknowledged, divided),
		},
		{
			"the same, default PUT budget", "as it is",
			"plain", bench("latency --no-limits --no-delivery"), acknowledged,
		},
		{
			"delivery by an agent that does not lead, minus acknowledgement, p99", "≤ 20 ms",
			"plain", bench("latency --agent-group fast --no-limits"), ratio("delivery − acknowledgement, p99", "%.2f ms"),
		},
	}
}

// reading is how much comes out.
func reading() []Row {
	catchUp := join(ratio("values/s ÷ GetObject alone", "%.2f"), ratio("agents' CPU seconds per GiB stored", "%.2f"), cores)
	return []Row{
		{
			"fetch from memory or cache, as views", "≥ 12 M/s",
			"plain", bench("consume --record-bytes 100 --records 4000000 --passes 4 --as views --no-limits"), join(rate, cores),
		},
		{
			"fetch from memory or cache, as structs", "≥ 7 M/s",
			"plain", bench("consume --record-bytes 100 --records 4000000 --passes 4 --no-limits"), join(rate, cores),
		},
		{
			"cold catch-up, as views: values/s ÷ GetObject alone; agent's CPU-s/GiB stored", "≥ 0.6; ≤ 0.70",
			"plain", bench("consume --cold --as views"), catchUp,
		},
		{
			"the same, as structs", "as it is",
			"plain", bench("consume --cold"), catchUp,
		},
	}
}

// catalog is what it asks of the database and the bucket.
func catalog() []Row {
	return []Row{
		{
			"commit of 1,000 entries, p50 / p99", "≤ 8 / 15 ms",
			"plain", bench("controlplane --entries 1000 --no-limits"), commit(1000),
		},
		{
			"commit of one entry, p50 / p99", "p50 ≤ 0.5 ms",
			"plain", bench("controlplane --entries 1 --no-limits"), commit(1),
		},
		{
			"WAL an entry without producers, with one; PostgreSQL's CPU", "≤ 330 B; ≤ 520 B; ≤ 7 µs",
			"plain", bench("controlplane --entries 1000 --duration 1s"), join(
				ratio("WAL of an entry without producers", "%.0f B"), ratio("WAL of an entry with one idempotent producer", "%.0f B"),
				ratio("PostgreSQL's CPU for an entry without producers", "%.1f µs")),
		},
		{
			"PUTs a second, 1 partition, 2,000 records/s", "(compare)",
			"plain", bench("produce --no-limits --rate 2000 --partitions 1"), puts,
		},
		{
			"100 partitions, the same load", "never more",
			"plain", bench("produce --no-limits --rate 2000 --partitions 100"), puts,
		},
		{
			"5,000 partitions, the same load", "never more",
			"plain", bench("produce --no-limits --rate 2000 --partitions 5000"), puts,
		},
	}
}
