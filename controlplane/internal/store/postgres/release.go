package postgres

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/commit"
	"github.com/streamhouse/streamhouse/controlplane/internal/lease"
	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// Release ends tenures and grants their partitions to who should lead them.
func (s *Store) Release(ctx context.Context, agentGroup store.AgentGroup, request *controlplanev1.ReleaseRequest) (*controlplanev1.ReleaseResponse, error) {
	session, err := parseSession(request.GetSessionId())
	if err != nil {
		return nil, err
	}
	asked, err := partitionKeys(request.GetPartitions())
	if err != nil {
		return nil, err
	}
	var outcomes []*controlplanev1.ReleaseOutcome
	// Run twice, the second run finds the tenures ended and says so: false, which an agent takes as ended all the same.
	err = s.inPlace(ctx, harmless, agentGroup, func(ctx context.Context, p *place) error {
		outcomes, err = release(ctx, p, session, asked, request.GetPartitions())
		return err
	})
	if err != nil {
		return nil, err
	}
	return &controlplanev1.ReleaseResponse{Outcomes: outcomes}, nil
}

func release(ctx context.Context, p *place, session uuid.UUID, asked []commit.PartitionKey, entries []*controlplanev1.ReleasePartition) (
	[]*controlplanev1.ReleaseOutcome, error,
) {
	topics, numbers := columns(asked)
	successors, err := p.AssigneeSessions(ctx, topics, numbers)
	if err != nil {
		return nil, fmt.Errorf("read assignees: %w", err)
	}
	f, err := p.lockFloor(ctx, append(successors, session), asked)
	if err != nil {
		return nil, err
	}
	var grants []grant
	var freed, ended tenureEnds
	outcomes := make([]*controlplanev1.ReleaseOutcome, len(asked))
	for i, key := range asked {
		partition, row := f.partition(key), f.rows[key]
		outcomes[i] = &controlplanev1.ReleaseOutcome{TopicId: key.Topic[:], Partition: key.Number}
		h, err := lease.Release(session, string(p.agentGroup), partition, entries[i].GetEpoch(), f.incarnation)
		if err != nil {
			return nil, err
		}
		outcomes[i].Released = h.Released
		if !f.verified { // to nobody, then: no tenure begins now
			h.Successor = nil
		}
		switch {
		case !h.Released:
			if partition.AgentGroup == string(p.agentGroup) {
				outcomes[i].Leader = partition.LeaderNow()
			}
		case h.Successor == nil:
			freed.add(row.PartitionID, row.Epoch, lease.EndReleased)
			ended.add(row.PartitionID, row.Epoch, lease.EndReleased)
		default:
			outcomes[i].Leader = h.LeaderAfter()
			ended.add(row.PartitionID, row.Epoch, lease.EndReleased)
			grants = append(grants, grant{row: row, verdict: lease.Verdict{Epoch: h.Epoch, New: true}, to: h.Successor})
		}
	}
	if err := p.endTenures(ctx, ended); err != nil {
		return nil, err
	}
	if err := p.free(ctx, freed); err != nil {
		return nil, err
	}
	return outcomes, p.writeGrants(ctx, grants)
}

// free leaves partitions without a leader.
func (p *place) free(ctx context.Context, freed tenureEnds) error {
	n := len(freed.partitionIDs)
	if n == 0 {
		return nil
	}
	rows, err := p.FreeLeases(ctx, freed.partitionIDs, freed.epochs, p.takeEach(n))
	return verdict("free leases", rows, n, err)
}
