package postgres

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/streamhouse/streamhouse/controlplane/internal/placement"
	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

// movePage is how many transfers one transaction looks at.
const movePage = 1000

// MovePartitions makes a page of moves. Run twice, the second run finds partitions that are not assigned as the plan had it, and passes over them.
func (s *Store) MovePartitions(ctx context.Context, agentGroup store.AgentGroup, transfers []store.Transfer) (moved store.Moved, err error) {
	transfers = transfers[:min(len(transfers), movePage)]
	err = s.inPlace(ctx, harmless, agentGroup, func(ctx context.Context, p *place) (err error) {
		moved, err = movePartitions(ctx, p, transfers, s.config.MaxMoves)
		return err
	})
	return moved, err
}

func movePartitions(ctx context.Context, p *place, transfers []store.Transfer, maxMoves int) (store.Moved, error) {
	who, err := readPresence(ctx, p)
	if err != nil {
		return store.Moved{}, err
	}
	found, err := p.FindMoves(ctx, moveColumns(p.agentGroup, transfers))
	if err != nil {
		return store.Moved{}, fmt.Errorf("find moves: %w", err)
	}
	moving, err := p.CountMoving(ctx, string(p.agentGroup))
	if err != nil {
		return store.Moved{}, fmt.Errorf("count hand-offs: %w", err)
	}
	budget := maxMoves - int(moving)
	moved := store.Moved{Taken: len(transfers)}
	var ids []int64
	var agents []string
	for _, row := range found {
		to := transfers[row.Ordinal].To
		if i, lives := who.index[to]; !lives || who.agents[i].State != placement.Eligible {
			continue
		}
		if row.Led {
			if budget--; budget < 0 {
				moved.Taken, moved.Full = int(row.Ordinal), true
				break
			}
		}
		ids, agents = append(ids, row.PartitionID), append(agents, to)
	}
	moved.Assigned = len(ids)
	if len(ids) == 0 {
		return moved, nil
	}
	return moved, p.assign(ctx, ids, agents)
}

func moveColumns(agentGroup store.AgentGroup, transfers []store.Transfer) db.FindMovesParams {
	n := len(transfers)
	arg := db.FindMovesParams{
		AgentGroup: string(agentGroup), TopicIds: make([]uuid.UUID, n), Partitions: make([]int32, n), FromAgentIds: make([]string, n),
		ToAgentIds: make([]string, n), Ordinals: make([]int32, n),
	}
	for i, t := range transfers {
		arg.TopicIds[i], arg.Partitions[i], arg.FromAgentIds[i], arg.ToAgentIds[i], arg.Ordinals[i] = t.Topic, t.Number, t.From, t.To, int32(i)
	}
	return arg
}
