package fakecluster

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"

	"google.golang.org/protobuf/types/known/timestamppb"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1/controlplanev1connect"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

type topicService struct {
	controlplanev1connect.UnimplementedTopicServiceHandler

	cluster *Cluster
}

func (t *topic) message() *controlplanev1.Topic {
	return &controlplanev1.Topic{
		TopicId: t.id, Name: t.name, AgentGroup: Group, PartitionCount: int32(len(t.partitions)), Config: t.config,
	}
}

func unknownTopic(name string) error {
	return Error(Refusal(refusalv1.Reason_REASON_UNKNOWN_TOPIC, 0, "no topic %s", name))
}

func (s *topicService) CreateTopic(_ context.Context, r *controlplanev1.CreateTopicRequest) (*controlplanev1.CreateTopicResponse, error) {
	c := s.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.topics[r.GetName()] != nil:
		return nil, Error(Refusal(refusalv1.Reason_REASON_TOPIC_EXISTS, 0, "topic %s exists", r.GetName()))
	case r.GetPartitionCount() < 1:
		refused := Refusal(refusalv1.Reason_REASON_INVALID, 0, "at least one partition")
		refused.Field = "partition_count"
		return nil, Error(refused)
	}
	config := r.GetConfig()
	if config == nil {
		config = &controlplanev1.TopicConfig{}
	}
	if config.AllowBufferedAcks == nil {
		config.AllowBufferedAcks = new(bool)
	}
	return &controlplanev1.CreateTopicResponse{Topic: c.create(r.GetName(), int(r.GetPartitionCount()), config).message()}, nil
}

func (s *topicService) GetTopic(_ context.Context, r *controlplanev1.GetTopicRequest) (*controlplanev1.GetTopicResponse, error) {
	c := s.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.topics[r.GetName()]
	if t == nil {
		return nil, unknownTopic(r.GetName())
	}
	answer := &controlplanev1.GetTopicResponse{Topic: t.message()}
	for i, p := range t.partitions {
		answer.Partitions = append(answer.Partitions, &controlplanev1.PartitionStatus{
			Partition: int32(i), Epoch: p.epoch, LeaderAgentId: p.leader, LeaderZone: c.leader(p).GetZone(),
			LogStartOffset: p.start, HighWatermark: p.next, AssignedAgentId: p.leader,
		})
	}
	return answer, nil
}

func (s *topicService) ListTopics(_ context.Context, r *controlplanev1.ListTopicsRequest) (*controlplanev1.ListTopicsResponse, error) {
	s.cluster.mu.Lock()
	defer s.cluster.mu.Unlock()
	answer := &controlplanev1.ListTopicsResponse{}
	for _, name := range slices.Sorted(maps.Keys(s.cluster.topics)) {
		if name > r.GetPageToken() {
			answer.Topics = append(answer.Topics, s.cluster.topics[name].message())
		}
	}
	if n := int(r.GetPageSize()); n > 0 && len(answer.GetTopics()) > n {
		answer.Topics = answer.Topics[:n]
		answer.NextPageToken = answer.Topics[n-1].GetName()
	}
	return answer, nil
}

func (s *topicService) UpdateTopic(_ context.Context, r *controlplanev1.UpdateTopicRequest) (*controlplanev1.UpdateTopicResponse, error) {
	s.cluster.mu.Lock()
	defer s.cluster.mu.Unlock()
	t := s.cluster.topics[r.GetName()]
	if t == nil {
		return nil, unknownTopic(r.GetName())
	}
	config := &controlplanev1.TopicConfig{MaxRecordBytes: t.config.MaxRecordBytes, AllowBufferedAcks: t.config.AllowBufferedAcks}
	if r.GetConfig().MaxRecordBytes != nil {
		config.MaxRecordBytes = r.GetConfig().MaxRecordBytes
	}
	if r.GetConfig().AllowBufferedAcks != nil {
		config.AllowBufferedAcks = r.GetConfig().AllowBufferedAcks
	}
	t.config = config
	s.cluster.grow(t, int(r.GetPartitionCount()))
	return &controlplanev1.UpdateTopicResponse{Topic: t.message()}, nil
}

func (s *topicService) DeleteRecords(_ context.Context, r *controlplanev1.DeleteRecordsRequest) (*controlplanev1.DeleteRecordsResponse, error) {
	s.cluster.mu.Lock()
	defer s.cluster.mu.Unlock()
	t := s.cluster.topics[r.GetName()]
	if t == nil {
		return nil, unknownTopic(r.GetName())
	}
	answer := &controlplanev1.DeleteRecordsResponse{}
	for _, one := range r.GetPartitions() {
		p := t.partitions[one.GetPartition()]
		before := one.GetBeforeOffset()
		if before < 0 {
			before = p.next
		}
		if before > p.next {
			return nil, Error(p.inRange(before))
		}
		p.start = max(p.start, before)
		answer.Partitions = append(answer.Partitions, &controlplanev1.LogStart{Partition: one.GetPartition(), LogStartOffset: p.start})
	}
	s.cluster.change()
	return answer, nil
}

func (s *topicService) DeleteTopic(_ context.Context, r *controlplanev1.DeleteTopicRequest) (*controlplanev1.DeleteTopicResponse, error) {
	s.cluster.mu.Lock()
	defer s.cluster.mu.Unlock()
	t := s.cluster.topics[r.GetName()]
	if t == nil {
		return nil, unknownTopic(r.GetName())
	}
	s.cluster.remove(t)
	return &controlplanev1.DeleteTopicResponse{TopicId: t.id}, nil
}

type keyService struct {
	controlplanev1connect.UnimplementedKeyServiceHandler

	cluster *Cluster
}

func (s *keyService) CreateKey(_ context.Context, r *controlplanev1.CreateKeyRequest) (*controlplanev1.CreateKeyResponse, error) {
	s.cluster.mu.Lock()
	defer s.cluster.mu.Unlock()
	s.cluster.made++
	k := &controlplanev1.Key{
		KeyId: uuid(s.cluster.made), Name: r.GetName(), Role: r.GetRole(), AgentGroup: r.GetAgentGroup(), CreatedAt: timestamppb.Now(),
	}
	s.cluster.keys = append(s.cluster.keys, k)
	return &controlplanev1.CreateKeyResponse{Key: k, Secret: "shk_" + strconv.Itoa(s.cluster.made)}, nil
}

func (s *keyService) ListKeys(context.Context, *controlplanev1.ListKeysRequest) (*controlplanev1.ListKeysResponse, error) {
	s.cluster.mu.Lock()
	defer s.cluster.mu.Unlock()
	return &controlplanev1.ListKeysResponse{Keys: slices.Clone(s.cluster.keys)}, nil
}

func (s *keyService) RevokeKey(_ context.Context, r *controlplanev1.RevokeKeyRequest) (*controlplanev1.RevokeKeyResponse, error) {
	s.cluster.mu.Lock()
	defer s.cluster.mu.Unlock()
	for i, k := range s.cluster.keys {
		if k.GetKeyId() == r.GetKeyId() {
			revoked := &controlplanev1.Key{
				KeyId: k.GetKeyId(), Name: k.GetName(), Role: k.GetRole(), AgentGroup: k.GetAgentGroup(),
				CreatedAt: k.GetCreatedAt(), RevokedAt: timestamppb.Now(),
			}
			s.cluster.keys[i] = revoked
			return &controlplanev1.RevokeKeyResponse{Key: revoked}, nil
		}
	}
	return nil, Error(Refusal(refusalv1.Reason_REASON_UNKNOWN_KEY, 0, "no key %s", r.GetKeyId()))
}

type clusterService struct {
	controlplanev1connect.UnimplementedClusterServiceHandler

	cluster *Cluster
}

func (s *clusterService) ListAgents(context.Context, *controlplanev1.ListAgentsRequest) (*controlplanev1.ListAgentsResponse, error) {
	s.cluster.mu.Lock()
	defer s.cluster.mu.Unlock()
	answer := &controlplanev1.ListAgentsResponse{}
	for _, a := range s.cluster.agents {
		state := controlplanev1.AgentState_AGENT_STATE_LIVE
		switch {
		case !s.cluster.alive(a.id):
			state = controlplanev1.AgentState_AGENT_STATE_ENDED
		case a.draining:
			state = controlplanev1.AgentState_AGENT_STATE_DRAINING
		}
		answer.Agents = append(answer.Agents, &controlplanev1.Agent{
			AgentId: a.id, AgentGroup: Group, Zone: a.zone, Address: a.address, State: state,
		})
	}
	return answer, nil
}

func (s *clusterService) ListLeases(_ context.Context, r *controlplanev1.ListLeasesRequest) (*controlplanev1.ListLeasesResponse, error) {
	c := s.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []*controlplanev1.Lease
	for _, t := range slices.SortedFunc(maps.Values(c.byID), func(a, b *topic) int { return cmp.Compare(a.name, b.name) }) {
		for i, p := range t.partitions {
			if (r.GetTopic() == "" || r.GetTopic() == t.name) && (r.GetLeaderAgentId() == "" || r.GetLeaderAgentId() == p.leader) {
				all = append(all, &controlplanev1.Lease{
					Topic: t.name, TopicId: t.id, Partition: int32(i), Leader: p.leader, Epoch: p.epoch, HighWatermark: p.next,
				})
			}
		}
	}
	from, err := strconv.Atoi(cmp.Or(r.GetPageToken(), "0"))
	if err != nil || from > len(all) {
		return nil, Error(Refusal(refusalv1.Reason_REASON_INVALID, 0, "page token"))
	}
	answer := &controlplanev1.ListLeasesResponse{Leases: all[from:]}
	if n := int(r.GetPageSize()); n > 0 && len(answer.GetLeases()) > n {
		answer.Leases = answer.Leases[:n]
		answer.NextPageToken = strconv.Itoa(from + n)
	}
	return answer, nil
}
