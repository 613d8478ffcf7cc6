package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/placement"
	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

// agentGroupOf finds the agent group of an agent id, which never changes.
func (s *Store) agentGroupOf(ctx context.Context, agentID string) (agentGroup store.AgentGroup, err error) {
	err = s.read(ctx, func(ctx context.Context, q *db.Queries) error {
		name, err := q.GetAgent(ctx, agentID)
		if errors.Is(err, pgx.ErrNoRows) {
			return unknownAgent(agentID)
		}
		agentGroup = store.AgentGroup(name)
		return err
	})
	return agentGroup, err
}

func unknownAgent(agentID string) error {
	return store.Refuse(refusalv1.Reason_REASON_UNKNOWN_AGENT, "there is no agent %q, or its session has ended", agentID)
}

// RequestDrain has an agent drain.
func (s *Store) RequestDrain(ctx context.Context, agentID string) (store.AgentGroup, error) {
	agentGroup, err := s.agentGroupOf(ctx, agentID)
	if err != nil {
		return "", err
	}
	err = s.inPlace(ctx, harmless, agentGroup, func(ctx context.Context, p *place) error {
		rows, err := p.RequestDrain(ctx, agentID, string(agentGroup))
		if err != nil {
			return fmt.Errorf("request drain: %w", err)
		}
		if rows == 1 {
			p.sessionsChanged()
			return nil
		}
		who, err := readPresence(ctx, p)
		if err == nil && who.at(agentID) == placement.Nobody {
			return unknownAgent(agentID)
		}
		return err
	})
	return agentGroup, err
}

// TransferLease pins a partition to an agent, or unpins it. Whoever leads goes on until it has handed over.
func (s *Store) TransferLease(ctx context.Context, request *controlplanev1.TransferLeaseRequest) (*controlplanev1.TransferLeaseResponse, error) {
	response := &controlplanev1.TransferLeaseResponse{}
	err := s.changeTopic(ctx, harmless, request.GetTopic(), func(ctx context.Context, p *place, topic db.Topic) error {
		if _, err := findLease(ctx, p.Queries, topic.TopicID, request.GetTopic(), request.GetPartition()); err != nil {
			return err
		}
		if err := p.transfer(ctx, topic.TopicID, request); err != nil {
			return err
		}
		lease, err := findLease(ctx, p.Queries, topic.TopicID, request.GetTopic(), request.GetPartition())
		response.Lease = lease
		return err
	})
	if err != nil {
		return nil, err
	}
	return response, nil
}

func (p *place) transfer(ctx context.Context, id uuid.UUID, request *controlplanev1.TransferLeaseRequest) error {
	if request.GetToAgentId() == "" {
		_, err := p.UnpinPartition(ctx, p.take(), id, request.GetPartition())
		return err
	}
	if err := p.refuseIneligible(ctx, request.GetToAgentId()); err != nil {
		return err
	}
	rows, err := p.PinPartition(ctx, db.PinPartitionParams{
		AgentID: request.GetToAgentId(), Revision: p.take(), TopicID: id, Partition: request.GetPartition(),
	})
	return verdict("pin partition", rows, 1, err)
}

// refuseIneligible refuses an agent that cannot be given partitions of this agent group.
func (p *place) refuseIneligible(ctx context.Context, agentID string) error {
	owner, err := p.GetAgent(ctx, agentID)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return unknownAgent(agentID)
	case err != nil:
		return fmt.Errorf("get agent: %w", err)
	case store.AgentGroup(owner) != p.agentGroup: // P7
		return store.Refuse(refusalv1.Reason_REASON_WRONG_AGENT_GROUP, "agent %q belongs to agent group %q, the topic to %q", agentID, owner, p.agentGroup)
	}
	who, err := readPresence(ctx, p)
	if err != nil {
		return err
	}
	if i := who.at(agentID); i == placement.Nobody || who.agents[i].State != placement.Eligible {
		return store.Refuse(refusalv1.Reason_REASON_AGENT_NOT_ELIGIBLE, "agent %q has left, or is draining, suspect or unfit: choose another one", agentID)
	}
	return nil
}

// FindLease answers the lease of one partition.
func (s *Store) FindLease(ctx context.Context, agentGroup store.AgentGroup, topic string, partition int32) (
	of store.AgentGroup, lease *controlplanev1.Lease, err error,
) {
	err = s.read(ctx, func(ctx context.Context, q *db.Queries) error {
		row, err := getTopic(ctx, q, agentGroup, topic)
		if err != nil {
			return err
		}
		of = store.AgentGroup(row.AgentGroup)
		lease, err = findLease(ctx, q, row.TopicID, topic, partition)
		return err
	})
	return of, lease, err
}

func findLease(ctx context.Context, q *db.Queries, id uuid.UUID, topic string, partition int32) (*controlplanev1.Lease, error) {
	rows, err := q.GetLease(ctx, id, partition)
	if err != nil {
		return nil, fmt.Errorf("get lease: %w", err)
	}
	if len(rows) == 1 {
		return leaseMessage(db.ListLeasesRow(rows[0])), nil
	}
	refused := store.Refuse(refusalv1.Reason_REASON_UNKNOWN_PARTITION, "topic %q has no partition %d", topic, partition)
	refused.Refusal.Topic, refused.Refusal.Partition = topic, new(partition)
	return nil, refused
}
