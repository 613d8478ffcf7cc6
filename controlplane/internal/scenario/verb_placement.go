package scenario

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/overview"
	"github.com/streamhouse/streamhouse/controlplane/internal/rebalance"
	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// doReport: "report a in=10 out=20 z2=30" and below it "orders/0 rate=1000": a heartbeat with what a measured; z2=30: it gave consumers of z2 30 bytes.
func doReport(w *World, c command) (call, error) {
	p, group, err := w.speaker(c)
	if err != nil {
		return nil, err
	}
	report := &controlplanev1.AgentReport{}
	for _, option := range slices.Sorted(maps.Keys(c.options)) {
		n, err := c.number(option, 0)
		if err != nil {
			return nil, err
		}
		switch option {
		case "in":
			report.InBytesPerSecond = n
		case "out":
			report.OutBytesPerSecond = n
		default:
			report.Traffic = append(report.Traffic, &controlplanev1.Traffic{
				Direction: controlplanev1.TrafficDirection_TRAFFIC_DIRECTION_FETCH, Zone: option, Bytes: n,
			})
		}
	}
	for _, entry := range c.entries {
		at, err := w.place(entry.verb)
		if err != nil {
			return nil, err
		}
		rate, err := entry.number("rate", 0)
		if err != nil {
			return nil, err
		}
		report.Partitions = append(report.Partitions, &controlplanev1.PartitionLoad{TopicId: at.topic[:], Partition: at.number, BytesPerSecond: rate})
	}
	return func(ctx context.Context) (string, error) {
		_, err := w.catalog.Heartbeat(ctx, group, &controlplanev1.HeartbeatRequest{SessionId: p.id.String(), Report: report})
		return "", err
	}, nil
}

// doDescribe: "describe a group=blue", as a client of that agent group sees it.
func doDescribe(w *World, c command) (call, error) {
	id, err := c.word(0)
	return func(ctx context.Context) (string, error) {
		response, err := w.catalog.DescribeAgent(ctx, store.AgentGroup(c.text("group", "")), &controlplanev1.DescribeAgentRequest{AgentId: id})
		if err != nil {
			return "", err
		}
		a := response.GetAgent()
		var text strings.Builder
		fmt.Fprintf(&text, "%s of %s: %s, leads %d of %d, in %d out %d of %d", w.sessionName(a.GetSessionId()), a.GetAgentGroup(), state(a),
			a.GetLeaseCount(), a.GetAssignedCount(), a.GetInBytesPerSecond(), a.GetOutBytesPerSecond(), a.GetCapacityBytesPerSecond())
		for _, t := range response.GetTraffic() {
			fmt.Fprintf(&text, ", %d to %s", t.GetBytes(), t.GetZone())
		}
		return text.String(), nil
	}, err
}

// doStatus tells the cluster at a glance, as a member of an agent group sees it.
func doStatus(w *World, c command) (call, error) {
	return func(ctx context.Context) (string, error) {
		view, err := w.catalog.ClusterView(ctx, store.AgentGroup(c.text("group", "")))
		if err != nil {
			return "", err
		}
		status := overview.Of(view, nil, "this one")
		var lines []string
		for _, g := range status.GetAgentGroups() {
			lines = append(lines, fmt.Sprintf("%s: %d topics, %d partitions, %d leaderless, %d moving, across zones %d of clients, %d of agents", g.GetAgentGroup(),
				g.GetTopics(), g.GetPartitions(), g.GetLeaderlessPartitions(), g.GetMovingPartitions(), g.GetClientBytesAcrossZones(), g.GetAgentBytesAcrossZones()))
			for _, z := range g.GetZones() {
				lines = append(lines, fmt.Sprintf("%s in %s: %d agents (%d draining, %d suspect), leads %d", g.GetAgentGroup(), z.GetZone(), z.GetAgents(),
					z.GetDrainingAgents(), z.GetSuspectAgents(), z.GetPartitions()))
			}
		}
		lines = append(lines, status.GetWarnings()...)
		return strings.Join(append(lines, "placement by "+orNobody(status.GetPlacementBy())), "\n"), nil
	}, c.known("group")
}

// doDrain: "drain a", "drain a dry".
func doDrain(w *World, c command) (call, error) {
	id, err := c.word(0)
	return func(ctx context.Context) (string, error) {
		response, err := rebalance.Drain(ctx, w.catalog, &controlplanev1.DrainAgentRequest{AgentId: id, DryRun: c.has("dry")})
		lines := []string{strconv.Itoa(int(response.GetMoveCount())) + " moves"}
		for _, m := range response.GetMoves() {
			lines = append(lines, fmt.Sprintf("%s/%d from %s to %s", m.GetTopic(), m.GetPartition(), orNobody(m.GetFromAgentId()), orNobody(m.GetToAgentId())))
		}
		return strings.Join(lines, "\n"), err
	}, err
}

// doTransfer: "transfer orders/0 to=b"; without "to": it is unpinned.
func doTransfer(w *World, c command) (call, error) {
	name, err := c.word(0)
	if err != nil {
		return nil, err
	}
	topic, number, _ := strings.Cut(name, "/")
	partition, err := strconv.ParseInt(number, 10, 32)
	request := &controlplanev1.TransferLeaseRequest{Topic: topic, Partition: int32(partition), ToAgentId: c.text("to", "")}
	return func(ctx context.Context) (string, error) {
		response, err := w.catalog.TransferLease(ctx, request)
		l := response.GetLease()
		text := fmt.Sprintf("%s/%d leader=%s assigned=%s", l.GetTopic(), l.GetPartition(), orNobody(l.GetLeader()), orNobody(l.GetAssignedAgentId()))
		if l.GetPinned() {
			text += " pinned"
		}
		return text, err
	}, err
}

// doBalance: one look of a replica that has just begun to decide placement.
func doBalance(w *World, _ command) (call, error) {
	return func(ctx context.Context) (string, error) {
		before, err := w.scene(ctx)
		if err != nil {
			return "", err
		}
		config := rebalance.Config{Name: "balance", Logger: slog.New(slog.DiscardHandler)}
		r, err := rebalance.New(w.catalog, config) //nolint:contextcheck // its meter wants one and uses none
		if err != nil {
			return "", err
		}
		if err := r.Once(ctx); err != nil {
			return "", err
		}
		return w.difference(ctx, before)
	}, nil
}

// doExplain: "explain orders/0 group=blue", as a client of that agent group sees it. The sentences are for people, and may change.
func doExplain(w *World, c command) (call, error) {
	name, err := c.word(0)
	if err != nil {
		return nil, err
	}
	topic, number, _ := strings.Cut(name, "/")
	partition, err := strconv.ParseInt(number, 10, 32)
	request := &controlplanev1.ExplainPlacementRequest{Topic: topic, Partition: int32(partition)}
	return func(ctx context.Context) (string, error) {
		response, err := rebalance.Explain(ctx, w.catalog, store.AgentGroup(c.text("group", "")), request)
		if err != nil {
			return "", err
		}
		if len(response.GetReasons()) == 0 {
			return "", fmt.Errorf("%s: no reason is given", name)
		}
		text := name + " is assigned to " + orNobody(response.GetLease().GetAssignedAgentId())
		if response.GetPinned() {
			text += ", pinned"
		}
		lines := []string{text}
		for _, a := range response.GetCandidates() {
			lines = append(lines, fmt.Sprintf("%s in %s: %d of the topic, %d in all, eligible=%v",
				a.GetAgentId(), a.GetZone(), a.GetTopicPartitions(), a.GetPartitions(), a.GetEligible()))
		}
		for _, z := range response.GetZones() {
			lines = append(lines, fmt.Sprintf("%s: %d of %d to %d", z.GetZone(), z.GetPartitions(), z.GetLeastPartitions(), z.GetMostPartitions()))
		}
		return strings.Join(lines, "\n"), nil
	}, err
}

// doLead: "lead p" has replica p ask for the lead of placement; "lead p gone" ends it.
func doLead(w *World, c command) (call, error) {
	name, err := c.word(0)
	if err == nil && w.candidates[name] == nil {
		w.candidates[name] = w.catalog.PlacementCandidate(name)
	}
	candidate := w.candidates[name]
	return func(ctx context.Context) (string, error) {
		if c.has("gone") {
			candidate.Close()
			return "", nil
		}
		leads, err := candidate.Leads(ctx)
		if leads {
			return name + " decides", err
		}
		return name + " stands by", err
	}, err
}

// Close lets go of what a story holds beyond the catalog.
func (w *World) Close() {
	for _, candidate := range w.candidates {
		candidate.Close()
	}
}
