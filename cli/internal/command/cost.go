package command

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/streamhouse/streamhouse/cli/internal/cost"
	"github.com/streamhouse/streamhouse/cli/internal/output"
)

// costCommand asks no cluster: it computes.
type costCommand struct {
	WriteMB        float64       `default:"10"      help:"Values written, in MB (10^6 bytes) a second, before compression." name:"write-mb" placeholder:"MB"`
	Compression    float64       `default:"2.4"     help:"Bytes of values for a stored byte; about 2.4 for JSON."`
	Retention      time.Duration `default:"168h"    help:"How long records are kept."`
	Zones          int           `default:"3"       help:"Availability zones with agents, producers and readers."`
	AgentsPerZone  int           `default:"0"       help:"Agents in each zone; 0: as many as the load needs, at least two."`
	Consumers      int           `default:"1"       help:"Consumer groups that read everything once, in every zone; 0: nobody reads."`
	Keyed          float64       `default:"0"       help:"Share of records with a key, 0 to 1: their leader may be in another zone."`
	Partitions     int           `default:"30"      help:"Partitions that are written to."`
	PutsPerSecond  float64       `default:"4"       help:"The agents' budget of PUTs."`
	Linger         time.Duration `default:"250ms"   help:"The agents' linger."`
	MaxObjectBytes float64       `default:"8388608" help:"The agents' size of a full object."`

	CompactionMinAge time.Duration `default:"5m" help:"The control plane's age from which on small objects are compacted; 0: none are."`
}

// costs is how an estimate is printed. Stable.
type costs struct {
	cost.Requests
	StreamHouse cost.Bill `json:"streamhouse"`
	Kafka       cost.Bill `json:"kafka"`
	WarpStream  cost.Bill `json:"warpstream"`
}

func (c costCommand) load() cost.Load {
	return cost.Load{
		WriteBytesPerSecond: c.WriteMB * 1e6, Compression: c.Compression, Retention: c.Retention, Zones: c.Zones, AgentsPerZone: c.AgentsPerZone,
		Consumers: c.Consumers, Keyed: c.Keyed, Partitions: c.Partitions, PutsPerSecond: c.PutsPerSecond, Linger: c.Linger, ObjectBytes: c.MaxObjectBytes,
		CompactionMinAge: c.CompactionMinAge,
	}
}

// Run prints the estimate.
func (c costCommand) Run(e *env) error {
	load := c.load()
	if err := load.Validate(); err != nil {
		return usageError{err}
	}
	prices := cost.List()
	all := costs{
		Requests: load.Requests(), StreamHouse: cost.StreamHouse(load, prices), Kafka: cost.Kafka(load, prices), WarpStream: cost.WarpStream(load, prices),
	}
	if e.Output != output.Table {
		return e.print(all, output.Rows{})
	}
	return e.tables(billRows("STREAMHOUSE", all.StreamHouse), billRows("KAFKA, RUN BY YOURSELF", all.Kafka),
		billRows("WARPSTREAM, IN YOUR ACCOUNT", all.WarpStream))
}

func billRows(title string, b cost.Bill) output.Rows {
	rows := output.Rows{Head: []string{title, "A MONTH", "UNIT", "$ EACH", "$ A MONTH", "PRICE READ"}}
	for _, line := range b.Lines {
		rows.Body = append(rows.Body, []string{
			line.Name, quantity(line.Quantity), line.Unit, strconv.FormatFloat(line.Price.Dollars, 'g', 6, 64), dollars(line.Dollars), line.Price.Read,
		})
	}
	rows.Body = append(rows.Body, []string{"sum", "", "", "", dollars(b.Dollars), ""})
	return rows
}

func dollars(d float64) string { return fmt.Sprintf("%.2f", d) }

// quantity is exact enough to multiply by hand.
func quantity(q float64) string {
	if q >= 1000 {
		return strconv.FormatFloat(math.Round(q), 'f', 0, 64)
	}
	return strconv.FormatFloat(q, 'g', 4, 64)
}
