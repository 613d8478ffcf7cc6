package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// watcher applies pages of placement, as an agent does.
type watcher struct {
	group      store.AgentGroup
	limit      int
	revision   int64
	partitions map[place]*controlplanev1.PlacedPartition
	agents     string
}

// doWatch: "watch w limit=2" tells what changed since w last watched, read by pages of at most two rows of each kind.
func doWatch(w *World, c command) (call, error) {
	name, err := c.word(0)
	if err != nil {
		return nil, err
	}
	limit, err := c.number("limit", 0)
	if w.watchers[name] == nil {
		w.watchers[name] = &watcher{group: store.AgentGroup(c.text("group", "default")), partitions: map[place]*controlplanev1.PlacedPartition{}}
	}
	w.watchers[name].limit = int(limit)
	return func(ctx context.Context) (string, error) {
		lines, err := w.catchUp(ctx, w.watchers[name])
		if err == nil && len(lines) == 0 {
			return "nothing new", nil
		}
		return strings.Join(lines, "\n"), err
	}, err
}

func (w *World) catchUp(ctx context.Context, v *watcher) (lines []string, err error) {
	for more := true; more; {
		page, err := w.catalog.PlacementAfter(ctx, v.group, v.revision, v.limit)
		if err != nil {
			return nil, err
		}
		if page.GetMore() && page.GetRevision() <= v.revision {
			return nil, fmt.Errorf("a page after revision %d ends at %d", v.revision, page.GetRevision())
		}
		for _, t := range page.GetTopics() {
			lines = append(lines, w.placedTopic(t))
			v.forget(t)
		}
		for _, p := range page.GetPartitions() {
			v.partitions[place{uuid.UUID(p.GetTopicId()), p.GetPartition()}] = p
			lines = append(lines, w.placedPartition(p))
		}
		slices.Sort(lines)
		if agents := placedAgents(page); agents != v.agents {
			v.agents = agents
			lines = append(lines, agents)
		}
		v.revision, more = page.GetRevision(), page.GetMore()
	}
	return lines, nil
}

// forget drops the partitions of a deleted topic.
func (v *watcher) forget(t *controlplanev1.PlacedTopic) {
	for at := range v.partitions {
		if t.GetDeleted() && at.topic == uuid.UUID(t.GetTopicId()) {
			delete(v.partitions, at)
		}
	}
}

func (w *World) placedTopic(t *controlplanev1.PlacedTopic) string {
	text := fmt.Sprintf("topic %s, %d partitions", w.topicName(uuid.UUID(t.GetTopicId())), t.GetPartitionCount())
	if t.GetConfig().GetAllowBufferedAcks() {
		text += ", buffered"
	}
	if t.GetDeleted() {
		text += ", deleted"
	}
	return text
}

func (w *World) placedPartition(p *controlplanev1.PlacedPartition) string {
	holder := "nobody"
	if p.GetLeaderSessionId() != "" {
		holder = w.sessionName(p.GetLeaderSessionId())
	}
	return fmt.Sprintf("%s session=%s leader=%s epoch=%d assigned=%s", w.placeName(p.GetTopicId(), p.GetPartition()), holder,
		orNobody(p.GetLeaderAgentId()), p.GetEpoch(), orNobody(p.GetAssignedAgentId()))
}

func placedAgents(page *controlplanev1.Placement) string {
	var text strings.Builder
	text.WriteString("agents:")
	for _, a := range page.GetAgents() {
		fmt.Fprintf(&text, " %s in %s", a.GetAgentId(), a.GetZone())
		if a.GetDraining() {
			text.WriteString(" draining")
		}
		if a.GetSuspect() {
			text.WriteString(" suspect")
		}
	}
	return text.String()
}

// CheckWatchers says whether a watcher, once it has caught up, knows something else than one who reads everything anew.
func (w *World) CheckWatchers(ctx context.Context) error {
	for name, v := range w.watchers {
		if _, err := w.catchUp(ctx, v); err != nil {
			if refused, ok := errors.AsType[*store.Refused](err); ok && refused.Refusal.GetReason() == refusalv1.Reason_REASON_UNKNOWN_AGENT_GROUP {
				continue // there is nothing left to know
			}
			return fmt.Errorf("watcher %s: %w", name, err)
		}
		truth := &watcher{group: v.group, partitions: map[place]*controlplanev1.PlacedPartition{}}
		if _, err := w.catchUp(ctx, truth); err != nil {
			return fmt.Errorf("read all: %w", err)
		}
		if len(v.partitions) != len(truth.partitions) {
			return fmt.Errorf("watcher %s knows %d partitions instead of %d", name, len(v.partitions), len(truth.partitions))
		}
		for at, p := range truth.partitions {
			known := v.partitions[at]
			if known.GetRevision() != p.GetRevision() || known.GetEpoch() != p.GetEpoch() || known.GetLeaderSessionId() != p.GetLeaderSessionId() ||
				known.GetAssignedAgentId() != p.GetAssignedAgentId() {
				return fmt.Errorf("watcher %s missed a change: it knows %v instead of %v", name, known, p)
			}
		}
		if v.agents != truth.agents {
			return fmt.Errorf("watcher %s knows %s instead of %s", name, v.agents, truth.agents)
		}
	}
	return nil
}
