package command

import (
	"context"
	"fmt"

	"github.com/streamhouse/streamhouse/client"

	"github.com/streamhouse/streamhouse/cli/internal/output"
)

type placementCommand struct {
	Explain placementExplainCommand `cmd:"" help:"Say why a partition is where it is, and what would move it."`
}

type placementExplainCommand struct {
	Topic     string `arg:"" help:"Topic."`
	Partition int32  `arg:"" help:"Partition."`
}

// explained is how a placement is printed. Stable.
type explained struct {
	lease
	Reasons    []string    `json:"reasons"`
	WouldMove  []string    `json:"would_move"`
	Candidates []candidate `json:"candidates"`
	Zones      []zoneShare `json:"zones"`
}

// candidate is an agent that might lead the partition.
type candidate struct {
	Agent                  string `json:"agent"`
	Zone                   string `json:"zone"`
	Eligible               bool   `json:"eligible"`
	Verdict                string `json:"verdict"`
	TopicPartitions        int32  `json:"topic_partitions"`
	Partitions             int32  `json:"partitions"`
	BytesPerSecond         int64  `json:"bytes_per_second"`
	CapacityBytesPerSecond int64  `json:"capacity_bytes_per_second"`
}

// zoneShare is a zone with what it should lead of the topic.
type zoneShare struct {
	Zone                   string `json:"zone"`
	Agents                 int32  `json:"agents"`
	CapacityBytesPerSecond int64  `json:"capacity_bytes_per_second"`
	LeastPartitions        int32  `json:"least_partitions"`
	MostPartitions         int32  `json:"most_partitions"`
	Partitions             int32  `json:"partitions"`
}

func explainedFrom(p client.Placement) explained {
	e := explained{
		lease: leasesFrom([]client.Lease{p.Lease})[0], Reasons: append([]string{}, p.Reasons...), WouldMove: append([]string{}, p.WouldMove...),
		Candidates: make([]candidate, 0, len(p.Candidates)), Zones: make([]zoneShare, 0, len(p.Zones)),
	}
	e.Pinned = p.Pinned
	for _, c := range p.Candidates {
		e.Candidates = append(e.Candidates, candidate{
			Agent: c.AgentID, Zone: c.Zone, Eligible: c.Eligible, Verdict: c.Verdict, TopicPartitions: c.TopicPartitions,
			Partitions: c.Partitions, BytesPerSecond: c.BytesPerSecond, CapacityBytesPerSecond: c.CapacityBytesPerSecond,
		})
	}
	for _, z := range p.Zones {
		e.Zones = append(e.Zones, zoneShare(z))
	}
	return e
}

// Run explains.
func (c placementExplainCommand) Run(ctx context.Context, e *env) error {
	admin, closing, err := e.admin()
	if err != nil {
		return err
	}
	defer closing()
	found, err := admin.ExplainPlacement(ctx, c.Topic, c.Partition)
	if err != nil {
		return fmt.Errorf("explain placement of %s/%d: %w", c.Topic, c.Partition, err)
	}
	x := explainedFrom(found)
	if e.Output != output.Table {
		return e.print(x, output.Rows{})
	}
	return e.tables(explainedTables(found.Lease, x)...)
}

func explainedTables(l client.Lease, x explained) []output.Rows {
	candidates := output.Rows{
		Head:  []string{"AGENT", "ZONE", "MAY LEAD IT", "OF THIS TOPIC", "IN ALL", "LOAD", "CAPACITY", "VERDICT"},
		Empty: "No agent of its agent group lives.",
	}
	for _, c := range x.Candidates {
		candidates.Body = append(candidates.Body, []string{
			c.Agent, c.Zone, yesNo(c.Eligible), fmt.Sprint(c.TopicPartitions), fmt.Sprint(c.Partitions),
			output.Rate(c.BytesPerSecond), output.Rate(c.CapacityBytesPerSecond), c.Verdict,
		})
	}
	zones := output.Rows{Head: []string{"ZONE", "AGENTS", "CAPACITY", "SHOULD LEAD", "ASSIGNED"}, Empty: "No zone has agents that may lead it."}
	for _, z := range x.Zones {
		zones.Body = append(zones.Body, []string{
			z.Zone, fmt.Sprint(z.Agents), output.Rate(z.CapacityBytesPerSecond), span(z.LeastPartitions, z.MostPartitions), fmt.Sprint(z.Partitions),
		})
	}
	return []output.Rows{
		leaseRows([]client.Lease{l}), sentences("WHY IT IS THERE", x.Reasons), sentences("WHAT WOULD MOVE IT", x.WouldMove), zones, candidates,
	}
}

func span(least, most int32) string {
	if least == most {
		return fmt.Sprint(least)
	}
	return fmt.Sprintf("%d to %d", least, most)
}

// sentences is a table of one column.
func sentences(head string, all []string) output.Rows {
	rows := output.Rows{Head: []string{head}}
	for _, s := range all {
		rows.Body = append(rows.Body, []string{s})
	}
	if len(all) == 0 {
		rows.Body = [][]string{{""}}
	}
	return rows
}
