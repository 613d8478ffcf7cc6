package record

import (
	"context"

	"github.com/streamhouse/streamhouse/dataplane/internal/callers"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	"github.com/streamhouse/streamhouse/dataplane/internal/route"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

// Metadata answers GetMetadata from the routing table.
type Metadata struct {
	table      *route.Table
	me         func() route.Agent
	agentGroup string
	leads      func(partition.ID) (partition.Epoch, bool)
}

// NewMetadata answers for the agent me of an agent group. leads tells whether the agent itself claims to lead a partition now, and in which epoch:
// it knows a moment before the table does, and past its own deadline it may not.
func NewMetadata(table *route.Table, me func() route.Agent, agentGroup string, leads func(partition.ID) (partition.Epoch, bool)) *Metadata {
	return &Metadata{table: table, me: me, agentGroup: agentGroup, leads: leads}
}

// GetMetadata names the agents of the agent group, and topics with the leaders of their partitions.
func (m *Metadata) GetMetadata(ctx context.Context, req *dataplanev1.GetMetadataRequest) (*dataplanev1.GetMetadataResponse, error) {
	if err := callers.Admit(ctx, m.agentGroup); err != nil {
		return nil, err
	}
	res := &dataplanev1.GetMetadataResponse{AgentId: m.me().ID, AgentGroup: m.agentGroup}
	found, err := m.table.ResolveNames(ctx, req.GetTopics()...)
	if err != nil {
		return nil, err
	}
	for _, name := range req.GetTopics() {
		if topic, ok := found[name]; ok {
			res.Topics = append(res.Topics, m.topic(topic))
			continue
		}
		unknown, _ := refusal.Of(refusal.UnknownTopic(name))
		res.Topics = append(res.Topics, &dataplanev1.TopicMetadata{Name: name, Refusal: unknown})
	}
	for _, a := range m.table.Agents() {
		res.Agents = append(res.Agents, &dataplanev1.AgentMetadata{
			AgentId: a.ID, Zone: a.Zone, Address: a.Address, Draining: a.Draining, Suspect: a.Suspect,
		})
	}
	return res, nil
}

// topic describes one topic.
func (m *Metadata) topic(topic route.Topic) *dataplanev1.TopicMetadata {
	res := &dataplanev1.TopicMetadata{
		Name: topic.Name, TopicId: topic.ID.String(), AllowBufferedAcks: topic.AllowBufferedAcks,
		MaxRecordBytes: int32(topic.MaxRecordBytes), KeysRequired: topic.KeysRequired,
		Partitions: make([]*dataplanev1.PartitionMetadata, topic.PartitionCount),
	}
	for i := range topic.PartitionCount {
		res.Partitions[i] = &dataplanev1.PartitionMetadata{Partition: i, Leader: m.leader(topic.Partition(i))}
	}
	return res
}

func (m *Metadata) leader(p partition.ID) *refusalv1.Leader {
	if epoch, leads := m.leads(p); leads {
		return route.Leader{Agent: m.me(), Epoch: epoch}.Wire()
	}
	leader := m.table.Leader(p)
	if leader.Address == "" || leader.ID == m.me().ID {
		return &refusalv1.Leader{Epoch: leader.Epoch}
	}
	return leader.Wire()
}
