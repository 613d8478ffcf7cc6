package postgres

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

// saveReport keeps what the agent measured, if it says so. A heartbeat does not fail for it: the next report says more.
func (s *Store) saveReport(ctx context.Context, agentGroup store.AgentGroup, session uuid.UUID, report *controlplanev1.AgentReport) {
	if report == nil {
		return
	}
	if err := s.writeReport(ctx, agentGroup, session, report); err != nil && ctx.Err() == nil {
		s.config.Logger.WarnContext(ctx, "agent report lost", "session_id", session, "error", err)
	}
}

func (s *Store) writeReport(ctx context.Context, agentGroup store.AgentGroup, session uuid.UUID, report *controlplanev1.AgentReport) error {
	traffic, err := proto.Marshal(&controlplanev1.AgentReport{Traffic: report.GetTraffic()})
	if err != nil {
		return fmt.Errorf("encode traffic: %w", err)
	}
	partitions, err := proto.Marshal(&controlplanev1.AgentReport{Partitions: report.GetPartitions()})
	if err != nil {
		return fmt.Errorf("encode loads: %w", err)
	}
	_, err = s.queries.SaveReport(ctx, db.SaveReportParams{
		SessionID: session, AgentGroup: string(agentGroup), InBytesPerSecond: report.GetInBytesPerSecond(),
		OutBytesPerSecond: report.GetOutBytesPerSecond(), Traffic: notNil(traffic), Partitions: notNil(partitions),
	})
	return err
}

// notNil: an empty message is no bytes, which pgx would take for NULL.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// decodeReport reads a column of agent_reports.
func decodeReport(column []byte) (*controlplanev1.AgentReport, error) {
	report := &controlplanev1.AgentReport{}
	if err := proto.Unmarshal(column, report); err != nil {
		return nil, fmt.Errorf("decode report: %w", err)
	}
	return report, nil
}
