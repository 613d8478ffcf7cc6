package bench

import "github.com/streamhouse/streamhouse/cli/internal/histogram"

// Commit is a row of bench controlplane: commits of one shape, one after the other.
type Commit struct {
	Entries   int                    `json:"entries"`
	Producers int                    `json:"producers"`
	PerSecond float64                `json:"commits_per_second"`
	Latency   histogram.Distribution `json:"latency"`
	// CPU microseconds an entry; null: unknown.
	PostgresMicros     *float64 `json:"postgres_cpu_us_per_entry"`
	ControlPlaneMicros *float64 `json:"controlplane_cpu_us_per_entry"`
}
