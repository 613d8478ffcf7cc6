package command

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/streamhouse/streamhouse/cli/internal/output"
	"github.com/streamhouse/streamhouse/cli/internal/recovery"
)

type fsckCommand struct {
	Deep        bool          `help:"Read every byte that the catalog refers to, and check all checksums."`
	OrphanAge   time.Duration `default:"12h"  help:"Age from which an object that the catalog does not know is wrong; younger ones are uploads under way, or the sweeper's. Default: ${default}."`
	MaxFindings int           `default:"1000" help:"Findings that are printed; all are counted. Default: ${default}."                                                                     placeholder:"N"`
}

// Help says what is compared.
func (fsckCommand) Help() string {
	return `Compares the catalog with the bucket and changes nothing: objects that are missing, or that nobody knows; footers, sizes and references that ` +
		`disagree; partitions whose segments leave a gap or overlap. The cluster may go on meanwhile. Exit status 1: something is wrong.`
}

// fsckResult is what a check has found. Stable.
type fsckResult struct {
	Clean        bool             `json:"clean"`
	Counts       map[string]int64 `json:"counts"` // by kind: missing, orphan, differs, corrupt, log, unchecked
	Findings     []fsckFinding    `json:"findings"`
	Objects      int64            `json:"objects"`
	Referenced   int64            `json:"referenced_objects"`
	Waiting      int64            `json:"waiting_objects"` // to be deleted
	Young        int64            `json:"young_objects"`   // not known to the catalog (yet)
	Partitions   int64            `json:"partitions"`
	Segments     int64            `json:"segments"`
	BytesRead    int64            `json:"bytes_read"` // with --deep
	Seconds      float64          `json:"seconds"`
	GiBPerMinute float64          `json:"gib_per_minute"`
}

type fsckFinding struct {
	Kind       string  `json:"kind"`
	Object     *string `json:"object"`
	Detail     string  `json:"detail"`
	AgeSeconds *int64  `json:"age_seconds"`
}

func fsckResultFrom(c *recovery.Checked) fsckResult {
	r := fsckResult{
		Clean: c.Clean(), Counts: map[string]int64{}, Findings: []fsckFinding{}, Objects: c.Objects, Referenced: c.Referenced, Waiting: c.Waiting, Young: c.Young,
		Partitions: c.Partitions, Segments: c.Segments, BytesRead: c.BytesRead, Seconds: c.Seconds,
	}
	if c.Seconds > 0 {
		r.GiBPerMinute = float64(c.BytesRead) / (1 << 30) / c.Seconds * 60
	}
	for kind, n := range c.Counts {
		r.Counts[string(kind)] = n
	}
	for _, f := range c.Findings {
		finding := fsckFinding{Kind: string(f.Kind), Object: orNull(f.Object), Detail: f.Detail}
		if f.Kind == recovery.Orphan {
			age := int64(f.Age / time.Second)
			finding.AgeSeconds = &age
		}
		r.Findings = append(r.Findings, finding)
	}
	return r
}

func (r fsckResult) rows() output.Rows {
	rows := output.Rows{
		Head: []string{"FINDING", "OBJECT", "DETAIL"},
		Empty: fmt.Sprintf("Nothing is wrong: %d objects (%d referenced, %d waiting to be deleted, %d under way), %d partitions, %d segments.",
			r.Objects, r.Referenced, r.Waiting, r.Young, r.Partitions, r.Segments),
	}
	for _, f := range r.Findings {
		object, detail := "", f.Detail
		if f.Object != nil {
			object = *f.Object
		}
		if f.AgeSeconds != nil {
			detail += fmt.Sprintf(" (it is %v old)", time.Duration(*f.AgeSeconds)*time.Second)
		}
		rows.Body = append(rows.Body, []string{f.Kind, object, detail})
	}
	return rows
}

// Run checks.
func (c fsckCommand) Run(ctx context.Context, e *env) error {
	admin, closing, err := e.admin()
	if err != nil {
		return err
	}
	defer closing()
	topics, err := admin.ListTopics(ctx)
	if err != nil {
		return fmt.Errorf("fsck: %w", err)
	}
	groups := map[string]bool{}
	for _, t := range topics {
		groups[t.AgentGroup] = true
	}
	cluster, err := e.reach(ctx, admin, "")
	if err != nil {
		return fmt.Errorf("fsck: %w", err)
	}
	defer cluster.Close()
	bar := newProgressBar(e.Stderr)
	checked, err := recovery.Check(ctx, cluster, recovery.CheckOptions{
		Deep: c.Deep, OrphanAge: c.OrphanAge, MaxFindings: c.MaxFindings, AgentGroups: slices.Sorted(maps.Keys(groups)), Show: bar.show,
	})
	bar.clear()
	if err != nil {
		return fmt.Errorf("fsck: %w", err)
	}
	result := fsckResultFrom(checked)
	if err := e.print(result, result.rows()); err != nil {
		return err
	}
	if !result.Clean {
		return fmt.Errorf("fsck: something is wrong: %v", result.Counts)
	}
	return nil
}
