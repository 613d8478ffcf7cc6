package postgres

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/types/known/timestamppb"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

// DescribeAgent describes an agent that lives or ended within the last day.
func (s *Store) DescribeAgent(ctx context.Context, agentGroup store.AgentGroup, request *controlplanev1.DescribeAgentRequest) (
	*controlplanev1.DescribeAgentResponse, error,
) {
	response := &controlplanev1.DescribeAgentResponse{}
	err := s.snapshot(ctx, func(ctx context.Context, q *db.Queries) error {
		rows, err := q.ListAgents(ctx, string(agentGroup), request.GetAgentId())
		if err != nil {
			return fmt.Errorf("read agent: %w", err)
		}
		if len(rows) == 0 {
			return unknownAgent(request.GetAgentId())
		}
		response.Agent = agentMessage(rows[0])
		reports, err := q.TrafficOfSession(ctx, rows[0].SessionID)
		if err != nil || len(reports) == 0 {
			return err
		}
		report, err := decodeReport(reports[0].Traffic)
		response.Traffic, response.ReportedAt = report.GetTraffic(), timestamppb.New(reports[0].ReportedAt)
		return err
	})
	if err != nil {
		return nil, err
	}
	return response, nil
}

// ClusterView reads six statements in one snapshot.
func (s *Store) ClusterView(ctx context.Context, agentGroup store.AgentGroup) (*store.ClusterView, error) {
	var view *store.ClusterView
	err := s.snapshot(ctx, func(ctx context.Context, q *db.Queries) (err error) {
		view = &store.ClusterView{Topics: map[store.AgentGroup]int32{}}
		for _, read := range []func(context.Context, *db.Queries, string, *store.ClusterView) error{viewAgents, viewTallies, viewTraffic, viewDeserted} {
			if err := read(ctx, q, string(agentGroup), view); err != nil {
				return err
			}
		}
		view.PlacementBy, err = placementLeader(ctx, q)
		return err
	})
	return view, err
}

func viewAgents(ctx context.Context, q *db.Queries, agentGroup string, view *store.ClusterView) error {
	rows, err := q.ListAgents(ctx, agentGroup, "")
	for _, row := range rows {
		view.Agents = append(view.Agents, agentMessage(row))
	}
	return err
}

func viewTallies(ctx context.Context, q *db.Queries, agentGroup string, view *store.ClusterView) error {
	topics, err := q.TopicTally(ctx, agentGroup)
	if err != nil {
		return fmt.Errorf("count topics: %w", err)
	}
	for _, row := range topics {
		view.Topics[store.AgentGroup(row.AgentGroup)] = row.Topics
	}
	view.Partitions, err = tallyPartitions(ctx, q, agentGroup)
	return err
}

func tallyPartitions(ctx context.Context, q *db.Queries, agentGroup string) (tallies []store.PartitionTally, err error) {
	rows, err := q.PartitionTally(ctx, agentGroup)
	for _, row := range rows {
		tallies = append(tallies, store.PartitionTally{
			AgentGroup: store.AgentGroup(row.AgentGroup), Zone: row.Zone, Led: row.Led, Partitions: row.Partitions, Moving: row.Moving,
			Epoch: row.Epoch,
		})
	}
	return tallies, err
}

// Census counts what metrics show.
func (s *Store) Census(ctx context.Context) (store.Census, error) {
	census := store.Census{Sessions: map[store.AgentGroup]map[controlplanev1.AgentState]int{}}
	err := s.read(ctx, func(ctx context.Context, q *db.Queries) (err error) {
		if census.Partitions, err = tallyPartitions(ctx, q, string(store.EveryAgentGroup)); err != nil {
			return err
		}
		clear(census.Sessions)
		sessions, err := q.AllLiveSessions(ctx)
		for _, row := range sessions {
			name := store.AgentGroup(row.AgentGroup)
			if census.Sessions[name] == nil {
				census.Sessions[name] = map[controlplanev1.AgentState]int{}
			}
			census.Sessions[name][sessionState(row)]++
		}
		return err
	})
	return census, err
}

func viewTraffic(ctx context.Context, q *db.Queries, agentGroup string, view *store.ClusterView) error {
	rows, err := q.TrafficReports(ctx, agentGroup)
	if err != nil {
		return fmt.Errorf("read traffic: %w", err)
	}
	for _, row := range rows {
		report, err := decodeReport(row.Traffic)
		if err != nil {
			return err
		}
		view.Traffic = append(view.Traffic, store.ReportedTraffic{
			AgentGroup: store.AgentGroup(row.AgentGroup), Zone: row.Zone, Traffic: report.GetTraffic(),
		})
	}
	return nil
}

func viewDeserted(ctx context.Context, q *db.Queries, agentGroup string, view *store.ClusterView) error {
	rows, err := q.DesertedZones(ctx, agentGroup)
	for _, row := range rows {
		view.Deserted = append(view.Deserted, store.DesertedZone{AgentGroup: store.AgentGroup(row.AgentGroup), Zone: row.Zone, Topic: row.Topic})
	}
	return err
}
