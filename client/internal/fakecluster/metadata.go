package fakecluster

import (
	"context"

	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

func (s *records) GetMetadata(_ context.Context, r *dataplanev1.GetMetadataRequest) (*dataplanev1.GetMetadataResponse, error) {
	c := s.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	answer := &dataplanev1.GetMetadataResponse{AgentId: s.agent.id, AgentGroup: Group}
	for _, a := range c.agents {
		if c.alive(a.id) {
			answer.Agents = append(answer.Agents, &dataplanev1.AgentMetadata{
				AgentId: a.id, Zone: a.zone, Address: a.address, Draining: a.draining, Suspect: a.suspect,
			})
		}
	}
	for _, name := range r.GetTopics() {
		answer.Topics = append(answer.Topics, c.describe(name))
	}
	return answer, nil
}

// describe requires mu held.
func (c *Cluster) describe(name string) *dataplanev1.TopicMetadata {
	t := c.topics[name]
	if t == nil {
		r := Refusal(refusalv1.Reason_REASON_UNKNOWN_TOPIC, 0, "no such topic")
		return &dataplanev1.TopicMetadata{Name: name, Refusal: r}
	}
	m := &dataplanev1.TopicMetadata{
		Name: name, TopicId: t.id, MaxRecordBytes: t.config.GetMaxRecordBytes(), AllowBufferedAcks: t.config.GetAllowBufferedAcks(),
		KeysRequired: t.keysRequired(),
	}
	for i, p := range t.partitions {
		m.Partitions = append(m.Partitions, &dataplanev1.PartitionMetadata{Partition: int32(i), Leader: c.leader(p)})
	}
	return m
}

func (s *records) AllocateProducerId(
	context.Context, *dataplanev1.AllocateProducerIdRequest,
) (*dataplanev1.AllocateProducerIdResponse, error) {
	s.cluster.mu.Lock()
	defer s.cluster.mu.Unlock()
	s.cluster.nextID++
	return &dataplanev1.AllocateProducerIdResponse{ProducerId: s.cluster.nextID}, nil
}
