package scenario

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

func doTopic(w *World, c command) (call, error) {
	name, err := c.word(0)
	if err != nil {
		return nil, err
	}
	request := &controlplanev1.CreateTopicRequest{Name: name, AgentGroup: c.text("group", ""), Config: &controlplanev1.TopicConfig{}}
	if c.has("buffered") {
		request.Config.AllowBufferedAcks = new(true)
	}
	if zones := c.text("zones", ""); zones != "" {
		request.Config.PreferredZones = &controlplanev1.PreferredZones{Zones: strings.Split(zones, ",")}
	}
	if c.has("compact") {
		request.Config.CleanupPolicy = new(controlplanev1.CleanupPolicy_CLEANUP_POLICY_COMPACT)
	}
	if err := keep(request.GetConfig(), c); err != nil {
		return nil, err
	}
	if request.PartitionCount, err = c.number32("partitions", 1); err != nil {
		return nil, err
	}
	return func(ctx context.Context) (string, error) {
		response, err := w.catalog.CreateTopic(ctx, request)
		if err != nil {
			return "", err
		}
		w.last = uuid.MustParse(response.GetTopic().GetTopicId())
		w.topics[name] = append(w.topics[name], w.last)
		return w.assignments(ctx, name)
	}, c.known("group", "partitions", "zones", "retention", "retention-bytes")
}

// assignments tells which agents a topic's partitions are assigned to. By pages of two.
func (w *World) assignments(ctx context.Context, name string) (string, error) {
	var lines []string
	for token, more := "", true; more; more = token != "" {
		response, err := w.catalog.GetTopic(ctx, store.EveryAgentGroup, &controlplanev1.GetTopicRequest{Name: name, PageSize: 2, PageToken: token})
		if err != nil {
			return "", err
		}
		for _, p := range response.GetPartitions() {
			lines = append(lines, fmt.Sprintf("%s/%d is assigned to %s", name, p.GetPartition(), orNobody(p.GetAssignedAgentId())))
		}
		token = response.GetNextPageToken()
	}
	return strings.Join(lines, "\n"), nil
}

func orNobody(agentID string) string {
	if agentID == "" {
		return "nobody"
	}
	return agentID
}

// keep reads how long records are kept: "retention=3m" (0s: for ever), "retention-bytes=300" (-1: all).
func keep(config *controlplanev1.TopicConfig, c command) error {
	if text := c.text("retention", ""); text != "" {
		kept, err := time.ParseDuration(text)
		if err != nil {
			return err
		}
		config.RetentionMs = new(kept.Milliseconds())
		if kept == 0 {
			config.RetentionMs = new(int64(-1))
		}
	}
	if c.text("retention-bytes", "") != "" {
		bytes, err := c.number("retention-bytes", 0)
		config.RetentionBytes = &bytes
		return err
	}
	return nil
}

// doUpdate: "update orders buffered", "update orders durable", "update orders zones=z1,z2" (zones=: none), "update orders partitions=5", and as
// for a new topic retention and retention-bytes.
func doUpdate(w *World, c command) (call, error) {
	name, err := c.word(0)
	config := &controlplanev1.TopicConfig{}
	if c.has("buffered") || c.has("durable") {
		config.AllowBufferedAcks = new(c.has("buffered"))
	}
	if zones, given := c.options["zones"]; given {
		config.PreferredZones = &controlplanev1.PreferredZones{}
		if zones != "" {
			config.PreferredZones.Zones = strings.Split(zones, ",")
		}
	}
	partitions, err1 := c.number32("partitions", 0)
	return func(ctx context.Context) (string, error) {
		_, err := w.catalog.UpdateTopic(ctx, &controlplanev1.UpdateTopicRequest{Name: name, Config: config, PartitionCount: partitions})
		return "", err
	}, errors.Join(err, err1, keep(config, c), c.known("zones", "partitions", "retention", "retention-bytes"))
}

func doDelete(w *World, c command) (call, error) {
	name, err := c.word(0)
	return func(ctx context.Context) (string, error) {
		_, err := w.catalog.DeleteTopic(ctx, &controlplanev1.DeleteTopicRequest{Name: name})
		return "", err
	}, err
}

func doPurge(w *World, _ command) (call, error) {
	return func(ctx context.Context) (string, error) {
		for {
			if _, more, err := w.catalog.PurgeDeleted(ctx); err != nil || !more {
				return "", err
			}
		}
	}, nil
}

// doTopics lists topics as a member of an agent group sees them; without one, as an admin does. By pages of two.
func doTopics(w *World, c command) (call, error) {
	return func(ctx context.Context) (string, error) {
		var lines []string
		for token, more := "", true; more; more = token != "" {
			response, err := w.catalog.ListTopics(ctx, store.AgentGroup(c.text("group", "")), &controlplanev1.ListTopicsRequest{PageSize: 2, PageToken: token})
			if err != nil {
				return "", err
			}
			for _, t := range response.GetTopics() {
				lines = append(lines, fmt.Sprintf("%s of %s, %d partitions", w.topicName(uuid.MustParse(t.GetTopicId())), t.GetAgentGroup(), t.GetPartitionCount()))
			}
			token = response.GetNextPageToken()
		}
		return strings.Join(lines, "\n"), nil
	}, c.known("group")
}

func doResolve(w *World, c command) (call, error) {
	_, group, err := w.speaker(c)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (string, error) {
		response, err := w.catalog.ResolveTopics(ctx, group, &controlplanev1.ResolveTopicsRequest{Names: c.words[1:]})
		if err != nil {
			return "", err
		}
		lines := []string{fmt.Sprintf("%d topics", len(response.GetTopics()))}
		for _, t := range response.GetTopics() {
			lines = append(lines, w.placedTopic(t))
		}
		for _, p := range response.GetPartitions() {
			lines = append(lines, w.placedPartition(p))
		}
		return strings.Join(lines, "\n"), nil
	}, c.known("key")
}

// doLeases lists who leads what, by pages of two.
func doLeases(w *World, c command) (call, error) {
	request := &controlplanev1.ListLeasesRequest{Topic: c.text("topic", ""), LeaderAgentId: c.text("leader", ""), PageSize: 2}
	return func(ctx context.Context) (string, error) {
		var lines []string
		for more := true; more; more = request.GetPageToken() != "" {
			response, err := w.catalog.ListLeases(ctx, store.AgentGroup(c.text("group", "")), request)
			if err != nil {
				return "", err
			}
			for _, l := range response.GetLeases() {
				lines = append(lines, fmt.Sprintf("%s/%d leader=%s epoch=%d high_watermark=%d assigned=%s",
					l.GetTopic(), l.GetPartition(), orNobody(l.GetLeader()), l.GetEpoch(), l.GetHighWatermark(), orNobody(l.GetAssignedAgentId())))
			}
			request.PageToken = response.GetNextPageToken()
		}
		return strings.Join(lines, "\n"), nil
	}, c.known("topic", "leader", "group")
}

// doHistory: "history orders/0 group=blue" lists its tenures, by pages of two.
func doHistory(w *World, c command) (call, error) {
	name, err := c.word(0)
	if err != nil {
		return nil, err
	}
	topic, number, _ := strings.Cut(name, "/")
	partition, err := strconv.ParseInt(number, 10, 32)
	request := &controlplanev1.GetPartitionHistoryRequest{Topic: topic, Partition: int32(partition), PageSize: 2}
	return func(ctx context.Context) (string, error) {
		var lines []string
		for more := true; more; more = request.GetPageToken() != "" {
			response, err := w.catalog.PartitionHistory(ctx, store.AgentGroup(c.text("group", "")), request)
			if err != nil {
				return "", err
			}
			for _, t := range response.GetTenures() {
				lines = append(lines, tenure(w, t))
			}
			request.PageToken = response.GetNextPageToken()
		}
		return strings.Join(lines, "\n"), nil
	}, err
}

func tenure(w *World, t *controlplanev1.Tenure) string {
	text := fmt.Sprintf("epoch=%d %s in %s from %d", t.GetEpoch(), w.sessionName(t.GetSessionId()), t.GetZone(), t.GetFirstOffset())
	switch {
	case t.GetEndedAt() == nil && t.GetEndReason() == "":
		return text + ", lasts"
	case t.GetEndedAt().AsTime().Before(t.GetStartedAt().AsTime()):
		return text + ", ended before it began"
	default:
		return text + ", " + t.GetEndReason()
	}
}
