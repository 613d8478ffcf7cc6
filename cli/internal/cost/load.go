package cost

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Load is what a cluster is for, and how it is set.
type Load struct {
	// WriteBytesPerSecond of values, before compression; above 0.
	WriteBytesPerSecond float64
	// Compression is values' bytes for a stored byte; at least 1.
	Compression float64
	// Retention of records; above 0.
	Retention time.Duration
	// Zones with agents, producers and readers; at least 1.
	Zones int
	// AgentsPerZone; 0: as many as the load needs, at least two.
	AgentsPerZone int
	// Consumers is how many consumer groups read everything once, in every zone; 0: nobody reads.
	Consumers int
	// Keyed is the share of records whose partition their key decides, 0 to 1: their producers cannot choose a leader in their own zone.
	Keyed float64
	// Partitions led in all, of topics that are written to; at least 1.
	Partitions int
	// PutsPerSecond, Linger and ObjectBytes are the agents' settings of these names (--max-object-bytes).
	PutsPerSecond float64
	Linger        time.Duration
	ObjectBytes   float64
	// CompactionMinAge is the control plane's setting of this name; 0: nothing is compacted.
	CompactionMinAge time.Duration
}

// Validate says what is wrong.
func (l Load) Validate() error {
	var faults []error
	demand := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	demand(l.WriteBytesPerSecond > 0 && l.WriteBytesPerSecond <= 1e12, "write-mb: must be above 0 and at most 1000000")
	demand(l.Compression >= 1 && l.Compression <= 100, "compression: must be 1 to 100")
	demand(l.Retention > 0, "retention: must be above 0")
	demand(l.Zones >= 1 && l.Zones <= 10, "zones: must be 1 to 10")
	demand(l.AgentsPerZone >= 0 && l.AgentsPerZone <= 1000, "agents-per-zone: must be 0 to 1000")
	demand(l.Consumers >= 0 && l.Consumers <= 1000, "consumers: must be 0 to 1000")
	demand(l.Keyed >= 0 && l.Keyed <= 1, "keyed: must be 0 to 1")
	demand(l.Partitions >= 1 && l.Partitions <= 10_000_000, "partitions: must be 1 to 10000000")
	demand(l.PutsPerSecond >= 0.1 && l.PutsPerSecond <= 10_000, "puts-per-second: must be 0.1 to 10000")
	demand(l.Linger >= 0 && l.Linger <= time.Minute, "linger: must be 0 to 1m")
	demand(l.ObjectBytes >= 64<<10 && l.ObjectBytes <= 256<<20, "max-object-bytes: must be 65536 to 268435456")
	demand(l.CompactionMinAge >= 0 && l.CompactionMinAge <= 24*time.Hour, "compaction-min-age: must be 0 to 24h")
	return errors.Join(faults...)
}

// What an agent needs, measured (docs/performance.md), and what one has.
const (
	cpuSecondsPerByteIn  = 0.87 / (1 << 30) // of values, verified in full
	cpuSecondsPerByteOut = 0.70 / (1 << 30) // stored, read cold, the dearest way
	agentCores           = 2
	agentMemoryGB        = 4
	busiest              = 0.6 // share of its cores that an agent should use
	fewestAgents         = 2   // in a zone: one may go while the other reads for the zone
)

// stored is the rate of stored bytes.
func (l Load) stored() float64 { return l.WriteBytesPerSecond / l.Compression }

// agentsPerZone as given, or as needed.
func (l Load) agentsPerZone() int {
	if l.AgentsPerZone > 0 {
		return l.AgentsPerZone
	}
	cores := l.WriteBytesPerSecond*cpuSecondsPerByteIn + l.stored()*float64(l.Consumers)*cpuSecondsPerByteOut
	return max(fewestAgents, int(math.Ceil(cores/(agentCores*busiest)/float64(l.Zones))))
}

// Requests to the bucket, of all agents together. Hedges, which are at most one in twenty, are not in them, nor are checkpoints and sweeps, a few an
// hour; S3 takes nothing for deletions.
type Requests struct {
	PutsPerSecond float64 `json:"puts_per_second"` // of records
	GetsPerSecond float64 `json:"gets_per_second"` // for readers
	// Compaction's. What creates, fills and completes an upload is billed as a PUT.
	CompactionPutsPerSecond float64 `json:"compaction_puts_per_second"`
	CompactionGetsPerSecond float64 `json:"compaction_gets_per_second"`
}

// grownSegmentBytes is the size from which a segment is not worth waiting for (package ingest of the agent).
const grownSegmentBytes = 8 << 10

// Requests of a steady load that is spread evenly over agents.
//
// An agent puts an object whenever its budget has room, and never fewer than its bytes need. Where the object's segments would be many and small it
// waits for its linger instead, if that is longer.
//
// An object is read once in each zone, by the agent that owns it there, for all readers of the zone. In the zone of its leader that is spared where
// the leader itself is the owner: it has the bytes. So with one agent in each zone, the leader's zone reads nothing.
func (l Load) Requests() Requests {
	agents := float64(l.Zones * l.agentsPerZone())
	each := l.stored() / agents
	interval := 1 / l.PutsPerSecond
	if segment := each * interval / math.Max(1, float64(l.Partitions)/agents); segment < grownSegmentBytes {
		interval = math.Max(interval, l.Linger.Seconds())
	}
	r := Requests{PutsPerSecond: agents * math.Max(1/interval, each/l.ObjectBytes)}
	if l.Consumers > 0 {
		r.GetsPerSecond = r.PutsPerSecond * (float64(l.Zones) - 1/float64(l.agentsPerZone()))
	}
	l.addCompaction(&r)
	return r
}
