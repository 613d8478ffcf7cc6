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

// attend judges what a heartbeat says of the past by what the catalog has on it, whether its session lives or not, and answers how the catalog
// stands. It asks for more only once in each life of the server.
func (s *Store) attend(ctx context.Context, agentGroup store.AgentGroup, session uuid.UUID, request *controlplanev1.HeartbeatRequest, b *beat) (
	life string, state controlplanev1.CatalogState, err error,
) {
	told, found := request.GetEvidence(), b.found
	who := cmp.Or(found.AgentID, "of session "+session.String())
	if missing := evidence.Missing(who, told, request.GetRevision(), b.known()); len(missing) > 0 {
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

// beat is what the one round trip of a heartbeat finds: what the catalog has on what the agent was told, then whether the session was renewed, then
// the agents of its group.
type beat struct {
	found      db.EvidenceStateRow
	partitions []db.PartitionsAsKnownRow
	renewed    []bool
	agents     []db.Session
}

// beat looks and renews in one round trip, which is one transaction.
func (s *Store) beat(ctx context.Context, agentGroup store.AgentGroup, session uuid.UUID, request *controlplanev1.HeartbeatRequest) (*beat, error) {
	told := request.GetEvidence()
	arg := db.EvidenceStateParams{AgentGroup: string(agentGroup), ObjectKey: told.GetObjectKey(), SessionID: session}
	if parts, ok := commit.ParseKey(string(agentGroup), told.GetObjectKey()); ok {
		arg.KeySessionID, arg.KeyCounter = parts.Writer, int64(min(parts.Counter, math.MaxInt64))
	}
	partitions, err := evidenceColumns(agentGroup, told.GetPartitions())
	if err != nil {
		return nil, err
	}
	var b *beat
	err = s.together(ctx, func() []step {
		b = &beat{}
		return b.steps(arg, partitions, renewal(agentGroup, session, request))
	})
	return b, err
}

func (b *beat) steps(arg db.EvidenceStateParams, partitions db.PartitionsAsKnownParams, renew db.RenewSessionParams) []step {
	steps := []step{func(ctx context.Context, d db.DBTX) (err error) {
		b.found, err = db.New(d).EvidenceState(ctx, arg)
		return err
	}}
	if len(partitions.Ordinals) > 0 {
		steps = append(steps, func(ctx context.Context, d db.DBTX) (err error) {
			b.partitions, err = db.New(d).PartitionsAsKnown(ctx, partitions)
			return err
		})
	}
	return append(steps,
		func(ctx context.Context, d db.DBTX) (err error) {
			b.renewed, err = db.New(d).RenewSession(ctx, renew)
			return err
		},
		func(ctx context.Context, d db.DBTX) (err error) {
			b.agents, err = db.New(d).LiveSessions(ctx, arg.AgentGroup)
			return err
		})
}

func (b *beat) known() evidence.Known {
	known := evidence.Known{
		Incarnation: int32(b.found.Incarnation), Revision: b.found.Revision, Lives: b.found.Lives,
		KeyKnown: b.found.KeyKnown, SessionOfKeyKnown: b.found.KeySessionKnown,
	}
	for _, row := range b.partitions {
		known.Partitions = append(known.Partitions, evidence.Partition{
			Known: row.Known, Epoch: row.Epoch, HighWatermark: row.HighWatermark, TopicKnown: row.TopicKnown, OutOfSight: row.OutOfSight,
		})
	}
	return known
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
