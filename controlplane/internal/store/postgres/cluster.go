package postgres

import (
	"context"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

// leasePage is how many leases are listed where the request does not say.
const leasePage = 10_000

// ListAgents lists agents with their newest session.
func (s *Store) ListAgents(ctx context.Context, agentGroup store.AgentGroup, request *controlplanev1.ListAgentsRequest) (
	*controlplanev1.ListAgentsResponse, error,
) {
	wanted := store.AgentGroup(request.GetAgentGroup())
	if wanted == store.EveryAgentGroup {
		wanted = agentGroup
	}
	response := &controlplanev1.ListAgentsResponse{}
	if agentGroup != store.EveryAgentGroup && wanted != agentGroup { // P7: of other agent groups it sees nothing
		return response, nil
	}
	err := s.read(ctx, func(ctx context.Context, q *db.Queries) error {
		rows, err := q.ListAgents(ctx, string(wanted), "")
		response.Agents = make([]*controlplanev1.Agent, len(rows))
		for i, row := range rows {
			response.Agents[i] = agentMessage(row)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return response, nil
}

func agentMessage(row db.ListAgentsRow) *controlplanev1.Agent {
	return &controlplanev1.Agent{
		AgentId: row.AgentID, AgentGroup: row.AgentGroup, Zone: row.Zone, Address: row.Address, Version: row.Version,
		State: sessionState(sessionOf(row)), SessionId: row.SessionID.String(), StartedAt: timestamppb.New(row.StartedAt),
		LastHeartbeatAt: timestamppb.New(row.LastHeartbeatAt), ExpiresAt: timestamppb.New(row.ExpiresAt),
		LeaseCount: row.LeaseCount, AssignedCount: row.AssignedCount, EndReason: text(row.EndReason), CapacityBytesPerSecond: row.CapacityBytesPerSecond,
		InBytesPerSecond: row.InBytesPerSecond, OutBytesPerSecond: row.OutBytesPerSecond,
	}
}

// sessionOf has what decides the state.
func sessionOf(row db.ListAgentsRow) db.Session {
	return db.Session{EndedAt: row.EndedAt, Suspect: row.Suspect, Draining: row.Draining, DrainRequested: row.DrainRequested, Unfit: row.Unfit}
}

func sessionState(row db.Session) controlplanev1.AgentState {
	switch {
	case row.EndedAt != nil:
		return controlplanev1.AgentState_AGENT_STATE_ENDED
	case row.Suspect:
		return controlplanev1.AgentState_AGENT_STATE_SUSPECT
	case row.Draining || row.DrainRequested:
		return controlplanev1.AgentState_AGENT_STATE_DRAINING
	case row.Unfit:
		return controlplanev1.AgentState_AGENT_STATE_UNFIT
	default:
		return controlplanev1.AgentState_AGENT_STATE_LIVE
	}
}

// ListLeases lists a page by topic name and partition. The token is the last of both.
func (s *Store) ListLeases(ctx context.Context, agentGroup store.AgentGroup, request *controlplanev1.ListLeasesRequest) (
	*controlplanev1.ListLeasesResponse, error,
) {
	arg, err := leaseColumns(agentGroup, request)
	if err != nil {
		return nil, err
	}
	size := int(arg.Page) - 1
	var rows []db.ListLeasesRow
	err = s.read(ctx, func(ctx context.Context, q *db.Queries) (err error) {
		if request.GetTopic() != "" {
			if _, err := getTopic(ctx, q, agentGroup, request.GetTopic()); err != nil {
				return err
			}
		}
		rows, err = q.ListLeases(ctx, arg)
		return err
	})
	if err != nil {
		return nil, err
	}
	response := &controlplanev1.ListLeasesResponse{}
	if len(rows) > size {
		rows = rows[:size]
		last := rows[size-1]
		response.NextPageToken = pageToken(last.Topic + "/" + strconv.Itoa(int(last.Partition)))
	}
	for _, row := range rows {
		response.Leases = append(response.Leases, leaseMessage(row))
	}
	return response, nil
}

func leaseColumns(agentGroup store.AgentGroup, request *controlplanev1.ListLeasesRequest) (db.ListLeasesParams, error) {
	arg := db.ListLeasesParams{
		AgentGroup: string(agentGroup), Topic: request.GetTopic(), LeaderAgentID: request.GetLeaderAgentId(), AfterPartition: -1,
		Page: request.GetPageSize() + 1, // one more tells whether there is more
	}
	if request.GetPageSize() == 0 {
		arg.Page = leasePage + 1
	}
	last, err := parseToken(request.GetPageToken())
	if err != nil || last == "" {
		return arg, err
	}
	topic, number, ok := strings.Cut(last, "/")
	partition, err := strconv.ParseInt(number, 10, 32)
	if !ok || err != nil {
		return arg, refuseToken()
	}
	arg.AfterTopic, arg.AfterPartition = topic, int32(partition)
	return arg, nil
}

func leaseMessage(row db.ListLeasesRow) *controlplanev1.Lease {
	lease := &controlplanev1.Lease{
		Topic: row.Topic, TopicId: row.TopicID.String(), Partition: row.Partition, Leader: text(row.Leader), Zone: text(row.Zone),
		Epoch: row.Epoch, AssignedAgentId: text(row.AssignedAgentID), HighWatermark: row.HighWatermark, Pinned: row.Pinned,
	}
	if row.LastHeartbeatAt != nil && row.DurationMs != nil {
		lease.ExpiresAt = timestamppb.New(row.LastHeartbeatAt.Add(time.Duration(*row.DurationMs) * time.Millisecond))
	}
	return lease
}
