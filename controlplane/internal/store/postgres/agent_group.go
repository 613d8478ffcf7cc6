package postgres

import (
	"context"
	"fmt"
	"strings"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

// EnsureAgentGroup creates the agent group where it does not exist.
func (s *Store) EnsureAgentGroup(ctx context.Context, agentGroup store.AgentGroup) error {
	return s.read(ctx, func(ctx context.Context, q *db.Queries) error {
		_, err := insertAgentGroup(ctx, q, string(agentGroup))
		return err
	})
}

func insertAgentGroup(ctx context.Context, q *db.Queries, name string) (rows int64, err error) {
	rows, err = q.InsertAgentGroup(ctx, name)
	if violates(err, "agent_groups_name_is_a_key_prefix") {
		return 0, store.Refuse(refusalv1.Reason_REASON_INVALID, "agent group %q: must be 1 to 40 of a-z, 0-9 and -", name)
	}
	if err != nil {
		return 0, fmt.Errorf("insert agent group: %w", err)
	}
	return rows, nil
}

// CreateAgentGroup creates an agent group, also one that was removed. Run twice, it would say "exists" of its own work.
func (s *Store) CreateAgentGroup(ctx context.Context, request *controlplanev1.CreateAgentGroupRequest) (*controlplanev1.CreateAgentGroupResponse, error) {
	err := s.write(ctx, wrong, func(ctx context.Context, q *db.Queries) error {
		rows, err := insertAgentGroup(ctx, q, request.GetAgentGroup())
		if err == nil && rows == 0 {
			return store.Refuse(refusalv1.Reason_REASON_AGENT_GROUP_EXISTS, "an agent group %q exists", request.GetAgentGroup())
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	signal(s.placementChanged)
	return &controlplanev1.CreateAgentGroupResponse{AgentGroup: &controlplanev1.AgentGroup{AgentGroup: request.GetAgentGroup()}}, nil
}

// ListAgentGroups lists agent groups by name, with what is in them.
func (s *Store) ListAgentGroups(ctx context.Context) (*controlplanev1.ListAgentGroupsResponse, error) {
	response := &controlplanev1.ListAgentGroupsResponse{}
	err := s.read(ctx, func(ctx context.Context, q *db.Queries) error {
		rows, err := q.AgentGroupContents(ctx, string(store.EveryAgentGroup))
		response.AgentGroups = make([]*controlplanev1.AgentGroup, len(rows))
		for i, row := range rows {
			response.AgentGroups[i] = &controlplanev1.AgentGroup{AgentGroup: row.AgentGroup, Topics: row.Topics, Agents: row.Agents, Keys: row.Keys}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return response, nil
}

// DeleteAgentGroup removes an empty agent group. What would put something into it takes the same lock, and finds it removed. Run twice, it
// would say "unknown" of its own work.
func (s *Store) DeleteAgentGroup(ctx context.Context, request *controlplanev1.DeleteAgentGroupRequest) (*controlplanev1.DeleteAgentGroupResponse, error) {
	name := store.AgentGroup(request.GetAgentGroup())
	if name == store.DefaultAgentGroup {
		return nil, refuseField("agent_group", `must not be "default": that one always exists`)
	}
	err := s.write(ctx, wrong, func(ctx context.Context, q *db.Queries) error {
		if _, err := enterPlace(ctx, q, name); err != nil {
			return err
		}
		rows, err := q.AgentGroupContents(ctx, string(name))
		if err := verdict("look into agent group", int64(len(rows)), 1, err); err != nil {
			return err
		}
		if left := leftIn(rows[0]); left != "" {
			return store.Refuse(refusalv1.Reason_REASON_AGENT_GROUP_NOT_EMPTY, "agent group %q still has %s", name, left)
		}
		changed, err := q.MarkAgentGroupDeleted(ctx, string(name))
		return verdict("remove agent group", changed, 1, err)
	})
	if err != nil {
		return nil, err
	}
	signal(s.placementChanged)
	return &controlplanev1.DeleteAgentGroupResponse{}, nil
}

// leftIn says what keeps an agent group from being removed, and what to do about it; empty: nothing.
func leftIn(row db.AgentGroupContentsRow) string {
	var left []string
	if row.Topics > 0 {
		left = append(left, fmt.Sprintf("topics (%d): delete them", row.Topics))
	}
	if row.Topics == 0 && row.HasPartitions {
		left = append(left, "partitions of deleted topics: they are being removed, try again in a while")
	}
	if row.Agents > 0 {
		left = append(left, fmt.Sprintf("live agents (%d): drain or stop them", row.Agents))
	}
	if row.Keys > 0 {
		left = append(left, fmt.Sprintf("valid API keys (%d): revoke them", row.Keys))
	}
	return strings.Join(left, "; ")
}
