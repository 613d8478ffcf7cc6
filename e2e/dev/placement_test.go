package dev_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
)

type leaseRow struct {
	Partition int     `json:"partition"`
	Leader    *string `json:"leader"`
	Zone      *string `json:"zone"`
	Pinned    bool    `json:"pinned"`
}

func (d *dev) leases(ctx context.Context, t *testing.T, topic string) []leaseRow {
	t.Helper()
	var rows []leaseRow
	d.JSON(ctx, t, &rows, "lease", "list", "--topic", topic)
	return rows
}

// An operator makes an agent group in a running dev, prefers zones, pins a partition, drains an agent and brings it back, and sees all of it.
func TestOperatorMovesPartitions(t *testing.T) {
	t.Parallel()
	d, ctx := newDev(t), bounded(t)
	d.up(ctx, t)

	d.Must(ctx, t, "topic", "create", "orders", "--partitions", "6")
	var plan, drained struct {
		MoveCount int     `json:"move_count"`
		EndReason *string `json:"end_reason"`
		Moves     []struct {
			To *string `json:"to"`
		} `json:"moves"`
	}
	d.JSON(ctx, t, &plan, "agent", "drain", "agent-az-a-1", "--dry-run")
	d.JSON(ctx, t, &drained, "agent", "drain", "agent-az-a-1", "--wait")
	if plan.MoveCount != 2 || drained.MoveCount != 2 || drained.EndReason == nil || *drained.EndReason != "deregistered" {
		t.Errorf("planned %+v, became %+v", plan, drained)
	}
	for _, l := range d.leases(ctx, t, "orders") {
		if l.Leader == nil || *l.Leader == "agent-az-a-1" {
			t.Errorf("after the drain: %+v", l)
		}
	}
	d.Must(ctx, t, "dev", "agent", "start", "--id", "agent-az-a-1")
	d.Must(ctx, t, "lease", "transfer", "orders", "3", "--to", "agent-az-a-1", "--wait")
	if l := d.leases(ctx, t, "orders")[3]; l.Leader == nil || *l.Leader != "agent-az-a-1" || !l.Pinned {
		t.Errorf("pinned: %+v", l)
	}
	var explained struct {
		Pinned     bool             `json:"pinned"`
		Reasons    []string         `json:"reasons"`
		Candidates []map[string]any `json:"candidates"`
	}
	d.JSON(ctx, t, &explained, "placement", "explain", "orders", "3")
	if !explained.Pinned || len(explained.Reasons) == 0 || len(explained.Candidates) != 3 {
		t.Errorf("placement explain: %+v", explained)
	}
	d.Must(ctx, t, "lease", "transfer", "orders", "3", "--unpin")

	d.Must(ctx, t, "dev", "agent", "start", "--agent-group", "staging", "--zone", "az-b")
	d.Must(ctx, t, "topic", "create", "clicks", "--agent-group", "staging", "--preferred-zones", "az-b")
	d.Must(ctx, t, "topic", "update", "orders", "--preferred-zones", "az-b,az-c")
	var status struct {
		Groups []struct {
			Name       string `json:"agent_group"`
			Partitions int    `json:"partitions"`
			Zones      []struct {
				Agents int `json:"agents"`
			} `json:"zones"`
		} `json:"agent_groups"`
	}
	d.JSON(ctx, t, &status, "cluster", "status")
	if fmt.Sprint(status.Groups) != "[{default 6 [{1} {1} {1}]} {staging 3 [{1}]}]" {
		t.Errorf("cluster status: %+v", status.Groups)
	}
	var described struct {
		Leases   []leaseRow `json:"leases"`
		Capacity int64      `json:"capacity_bytes_per_second"`
	}
	d.JSON(ctx, t, &described, "agent", "describe", "agent-az-b-2")
	if len(described.Leases) != 3 || described.Capacity == 0 {
		t.Errorf("agent describe: %+v", described)
	}
	if top := d.Must(ctx, t, "top", "--count", "2", "--every", "100ms"); bytes.Count(top, []byte("staging")) < 4 {
		t.Errorf("top shows %s", top)
	}
	d.down(ctx, t)
}
