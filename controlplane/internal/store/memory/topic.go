package memory

import (
	"cmp"
	"context"
	"encoding/base64"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// What a new topic gets where the request does not say, and how many are listed.
const (
	defaultMaxRecordBytes = 1 << 20
	topicPage             = 1000
	statusPage            = 10_000
)

// byName are the live topics by name.
func (s *Store) byName() (topics []*topic) {
	for _, t := range s.topics {
		if !t.deleted {
			topics = append(topics, t)
		}
	}
	slices.SortFunc(topics, func(a, b *topic) int { return cmp.Compare(a.name, b.name) })
	return topics
}

// named is the live topic of this name that the caller may see; or a refusal.
func (s *Store) named(bound store.AgentGroup, name string) (*topic, error) {
	for _, t := range s.byName() {
		if t.name == name && (bound == store.EveryAgentGroup || t.group.name == bound) {
			return t, nil
		}
	}
	refused := store.Refuse(refusalv1.Reason_REASON_UNKNOWN_TOPIC, "there is no topic %q", name)
	refused.Refusal.Topic = name
	return nil, refused
}

// CreateTopic creates a topic and assigns its partitions where agents live.
func (s *Store) CreateTopic(_ context.Context, request *controlplanev1.CreateTopicRequest) (*controlplanev1.CreateTopicResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refuseHalted(); err != nil {
		return nil, err
	}
	g, err := s.group(cmp.Or(store.AgentGroup(request.GetAgentGroup()), store.DefaultAgentGroup))
	if err != nil {
		return nil, err
	}
	if _, err := s.named(store.EveryAgentGroup, request.GetName()); err == nil {
		refused := store.Refuse(refusalv1.Reason_REASON_TOPIC_EXISTS, "the topic exists")
		refused.Refusal.Topic = request.GetName()
		return nil, refused
	}
	t := &topic{
		id: s.config.NewID(), name: request.GetName(), group: g, createdAt: time.Now(), revision: s.stamp(g), partitionCount: request.GetPartitionCount(),
		maxRecordBytes: cmp.Or(request.GetConfig().GetMaxRecordBytes(), defaultMaxRecordBytes), buffered: request.GetConfig().GetAllowBufferedAcks(),
		preferred: slices.Clone(request.GetConfig().GetPreferredZones().GetZones()), kept: keptByDefault().with(request.GetConfig()),
	}
	s.topics[t.id] = t
	t.grow(t.partitionCount)
	if s.repair(g, func(p *partition) bool { return p.topic == t }) == 0 { // nobody is there
		for _, p := range t.partitions {
			p.revision = s.stamp(g)
		}
	}
	s.reshape(g)
	return &controlplanev1.CreateTopicResponse{Topic: t.message()}, nil
}

// grow adds partitions up to a number, and answers those that were added.
func (t *topic) grow(count int32) []*partition {
	before := int32(len(t.partitions))
	for number := before; number < count; number++ {
		t.partitions = append(t.partitions, &partition{topic: t, number: number, producers: map[int64]producer{}})
	}
	return t.partitions[before:]
}

func (t *topic) message() *controlplanev1.Topic {
	return &controlplanev1.Topic{
		TopicId: t.id.String(), Name: t.name, AgentGroup: string(t.group.name), PartitionCount: t.partitionCount,
		Config: t.config(), CreatedAt: timestamppb.New(t.createdAt),
	}
}

// GetTopic describes a topic and its partitions.
func (s *Store) GetTopic(_ context.Context, bound store.AgentGroup, request *controlplanev1.GetTopicRequest) (*controlplanev1.GetTopicResponse, error) {
	after, err := parseToken(request.GetPageToken())
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.named(bound, request.GetName())
	if err != nil {
		return nil, err
	}
	first, err := strconv.Atoi(cmp.Or(after, "0"))
	if err != nil || first < 0 {
		return nil, invalid("page_token", "must be the next_page_token of an answer")
	}
	response := &controlplanev1.GetTopicResponse{Topic: t.message()}
	last := first + int(cmp.Or(request.GetPageSize(), statusPage))
	if last < len(t.partitions) {
		response.NextPageToken = pageToken(strconv.Itoa(last))
	}
	for _, p := range t.partitions[min(first, len(t.partitions)):min(last, len(t.partitions))] {
		status := &controlplanev1.PartitionStatus{
			Partition: p.number, Epoch: p.epoch, LogStartOffset: p.logStart, HighWatermark: p.highWatermark, AssignedAgentId: p.assigned,
		}
		if p.leader != nil && p.leader.lives() {
			status.LeaderAgentId, status.LeaderZone = p.leader.agentID, p.leader.zone
		}
		response.Partitions = append(response.Partitions, status)
	}
	return response, nil
}

// ListTopics lists a page by name.
func (s *Store) ListTopics(_ context.Context, bound store.AgentGroup, request *controlplanev1.ListTopicsRequest) (*controlplanev1.ListTopicsResponse, error) {
	after, err := parseToken(request.GetPageToken())
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	response := &controlplanev1.ListTopicsResponse{}
	for _, t := range s.byName() {
		if t.name <= after || (bound != store.EveryAgentGroup && t.group.name != bound) {
			continue
		}
		if len(response.Topics) == int(cmp.Or(request.GetPageSize(), topicPage)) {
			response.NextPageToken = pageToken(response.GetTopics()[len(response.GetTopics())-1].GetName())
			break
		}
		response.Topics = append(response.Topics, t.message())
	}
	return response, nil
}

func pageToken(last string) string { return base64.RawURLEncoding.EncodeToString([]byte(last)) }

func parseToken(token string) (string, error) {
	last, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return "", invalid("page_token", "must be the next_page_token of an answer")
	}
	return string(last), nil
}

// UpdateTopic changes what is present in the request.
func (s *Store) UpdateTopic(_ context.Context, request *controlplanev1.UpdateTopicRequest) (*controlplanev1.UpdateTopicResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refuseHalted(); err != nil {
		return nil, err
	}
	t, err := s.named(store.EveryAgentGroup, request.GetName())
	if err != nil {
		return nil, err
	}
	if count := request.GetPartitionCount(); count > 0 && count < t.partitionCount {
		return nil, invalid("partition_count", "is fewer than the topic has")
	}
	t.kept = t.kept.with(request.GetConfig())
	if config := request.GetConfig(); config != nil && config.MaxRecordBytes != nil {
		t.maxRecordBytes = config.GetMaxRecordBytes()
	}
	if config := request.GetConfig(); config != nil && config.AllowBufferedAcks != nil {
		t.buffered = config.GetAllowBufferedAcks()
	}
	if config := request.GetConfig(); config.GetPreferredZones() != nil {
		t.preferred = slices.Clone(config.GetPreferredZones().GetZones())
	}
	t.partitionCount, t.revision = max(t.partitionCount, request.GetPartitionCount()), s.stamp(t.group)
	for _, p := range t.grow(t.partitionCount) { // nobody's at first
		p.revision = s.stamp(t.group)
	}
	s.unsettle(t.group) // a suspect may count otherwise now
	return &controlplanev1.UpdateTopicResponse{Topic: t.message()}, nil
}

// DeleteTopic marks the topic, which frees its name. Its partitions are gone for everyone at once, and removed by PurgeDeleted.
func (s *Store) DeleteTopic(_ context.Context, request *controlplanev1.DeleteTopicRequest) (*controlplanev1.DeleteTopicResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refuseHalted(); err != nil {
		return nil, err
	}
	t, err := s.named(store.EveryAgentGroup, request.GetName())
	if err != nil {
		return nil, err
	}
	t.deleted, t.revision = true, s.stamp(t.group)
	s.unsettle(t.group)
	return &controlplanev1.DeleteTopicResponse{TopicId: t.id.String()}, nil
}
