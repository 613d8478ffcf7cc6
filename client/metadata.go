package client

import (
	"context"

	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
)

// Metadata is what an agent says about its agent group and some topics.
type Metadata struct {
	// AgentID of the agent that answered.
	AgentID    string
	AgentGroup string
	Agents     []AgentMetadata
	Topics     []TopicMetadata
}

// AgentMetadata is an agent whose session lives.
type AgentMetadata struct {
	ID, Zone, Address string
	Draining          bool // it takes no new work
	Suspect           bool // it is thought to be gone
}

// TopicMetadata is a topic with the leaders of its partitions.
type TopicMetadata struct {
	Name, ID          string
	MaxRecordBytes    int32
	AllowBufferedAcks bool
	Leaders           []Leader // by partition
}

// Leader is who leads a partition. AgentID is empty if nobody does.
type Leader struct {
	AgentID, Address, Zone string
	Epoch                  int32
}

// Metadata asks one agent about the agents, and about topics by name. Refused with ReasonUnknownTopic.
func (c *Client) Metadata(ctx context.Context, topics ...string) (Metadata, error) {
	var answer *dataplanev1.GetMetadataResponse
	e := c.agents.ask(ctx, "", func(ctx context.Context, agent *peer) (err error) {
		answer, err = agent.rpc.GetMetadata(ctx, &dataplanev1.GetMetadataRequest{Topics: topics})
		return err
	})
	if e != nil {
		return Metadata{}, e.but(WrittenNothing)
	}
	m := Metadata{AgentID: answer.GetAgentId(), AgentGroup: answer.GetAgentGroup()}
	for _, a := range answer.GetAgents() {
		m.Agents = append(m.Agents, AgentMetadata{
			ID: a.GetAgentId(), Zone: a.GetZone(), Address: a.GetAddress(), Draining: a.GetDraining(), Suspect: a.GetSuspect(),
		})
	}
	for _, t := range answer.GetTopics() {
		if r := t.GetRefusal(); r != nil {
			return Metadata{}, fromRefusal(r).at(t.GetName(), -1).but(WrittenNothing)
		}
		m.Topics = append(m.Topics, topicMetadataFrom(t))
	}
	return m, nil
}

func topicMetadataFrom(t *dataplanev1.TopicMetadata) TopicMetadata {
	m := TopicMetadata{
		Name: t.GetName(), ID: t.GetTopicId(), MaxRecordBytes: t.GetMaxRecordBytes(), AllowBufferedAcks: t.GetAllowBufferedAcks(),
		Leaders: make([]Leader, 0, len(t.GetPartitions())),
	}
	for _, p := range t.GetPartitions() {
		l := p.GetLeader()
		m.Leaders = append(m.Leaders, Leader{AgentID: l.GetAgentId(), Address: l.GetAddress(), Zone: l.GetZone(), Epoch: l.GetEpoch()})
	}
	return m
}
