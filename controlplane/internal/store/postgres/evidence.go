package postgres

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math"

	"github.com/google/uuid"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/commit"
	"github.com/streamhouse/streamhouse/controlplane/internal/evidence"
	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

// attend takes what a heartbeat says of the past, whether its session lives or not, and answers how the catalog stands. One statement where
// the agent has nothing new to say, two where it has; more only once in each life of the server.
func (s *Store) attend(ctx context.Context, agentGroup store.AgentGroup, session uuid.UUID, request *controlplanev1.HeartbeatRequest) (
	life string, state controlplanev1.CatalogState, err error,
) {
	told := request.GetEvidence()
	found, known, err := s.compare(ctx, agentGroup, session, told)
	if err != nil {
		return "", 0, err
	}
	if missing := evidence.Missing(cmp.Or(found.AgentID, "of session "+session.String()), told, request.GetRevision(), known); len(missing) > 0 {
		return found.Life, controlplanev1.CatalogState_CATALOG_STATE_HALTED, s.halt(ctx, found, told, missing)
	}
	verified := found.Verified
	if shown := told.GetCompleteFor() == found.Life; shown && found.Lives && found.EvidenceFor != found.Life {
		if err := s.acceptEvidence(ctx, agentGroup, session, found.Life); err != nil {
			return "", 0, err
		}
	}
	if !found.Halted && !verified {
		if verified, err = s.attest(ctx); err != nil {
			return "", 0, err
		}
	}
	return found.Life, catalogState(found.Halted, verified), nil
}

// compare reads what the catalog has on what the agent was told.
func (s *Store) compare(ctx context.Context, agentGroup store.AgentGroup, session uuid.UUID, told *controlplanev1.Evidence) (
	found db.EvidenceStateRow, known evidence.Known, err error,
) {
	arg := db.EvidenceStateParams{AgentGroup: string(agentGroup), ObjectKey: told.GetObjectKey(), SessionID: session}
	if parts, ok := commit.ParseKey(string(agentGroup), told.GetObjectKey()); ok {
		arg.KeySessionID, arg.KeyCounter = parts.Writer, int64(min(parts.Counter, math.MaxInt64))
	}
	partitions, err := evidenceColumns(agentGroup, told.GetPartitions())
	if err != nil {
		return found, known, err
	}
	err = s.read(ctx, func(ctx context.Context, q *db.Queries) error {
		if found, err = q.EvidenceState(ctx, arg); err != nil {
			return fmt.Errorf("read evidence state: %w", err)
		}
		known = evidence.Known{
			Incarnation: int32(found.Incarnation), Revision: found.Revision, Lives: found.Lives,
			KeyKnown: found.KeyKnown, SessionOfKeyKnown: found.KeySessionKnown,
		}
		if len(partitions.Ordinals) == 0 {
			return nil
		}
		rows, err := q.PartitionsAsKnown(ctx, partitions)
		for _, row := range rows {
			known.Partitions = append(known.Partitions, evidence.Partition{
				Known: row.Known, Epoch: row.Epoch, HighWatermark: row.HighWatermark, TopicKnown: row.TopicKnown, OutOfSight: row.OutOfSight,
			})
		}
		return err
	})
	return found, known, err
}

func evidenceColumns(agentGroup store.AgentGroup, told []*controlplanev1.PartitionEvidence) (db.PartitionsAsKnownParams, error) {
	n := len(told)
	arg := db.PartitionsAsKnownParams{
		AgentGroup: string(agentGroup), TopicIds: make([]uuid.UUID, n), Partitions: make([]int32, n), Ordinals: make([]int32, n),
	}
	for i, t := range told {
		id, err := uuid.FromBytes(t.GetTopicId())
		if err != nil {
			refused := store.Refuse(refusalv1.Reason_REASON_INVALID, "evidence.partitions[%d].topic_id must be 16 bytes", i)
			refused.Refusal.Field = fmt.Sprintf("evidence.partitions[%d].topic_id", i)
			return arg, refused
		}
		arg.TopicIds[i], arg.Partitions[i], arg.Ordinals[i] = id, t.GetPartition(), int32(i)
	}
	return arg, nil
}

// halt writes down that transactions were lost.
func (s *Store) halt(ctx context.Context, found db.EvidenceStateRow, told *controlplanev1.Evidence, missing []string) error {
	return s.read(ctx, func(ctx context.Context, q *db.Queries) error {
		rows, err := q.HaltCatalog(ctx, missing, int16(max(told.GetIncarnation(), int32(found.Incarnation))), found.Incarnation)
		if err != nil {
			return fmt.Errorf("halt catalog: %w", err)
		}
		if rows == 1 {
			s.config.Logger.ErrorContext(ctx, "catalog halted: transactions were lost", slog.Any("reasons", missing))
		}
		return nil
	})
}

func (s *Store) acceptEvidence(ctx context.Context, agentGroup store.AgentGroup, session uuid.UUID, life string) error {
	return s.read(ctx, func(ctx context.Context, q *db.Queries) error {
		_, err := q.AcceptEvidence(ctx, life, session, string(agentGroup))
		return err
	})
}
