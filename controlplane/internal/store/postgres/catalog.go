package postgres

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/lease"
	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

const (
	// verifyWait is the advice to a caller who waits for the verification.
	verifyWait = 200 * time.Millisecond
	// haltWait is the advice to a caller who waits for an operator.
	haltWait = 5 * time.Second
	// adoptTime bounds an adoption, which touches every partition.
	adoptTime = 5 * time.Minute
	// newestIncarnation is the last that fits a byte.
	newestIncarnation = 255
	// RevisionBits and producerIDBits are what an incarnation leaves for revisions and producer ids: what lost transactions gave out is below
	// everything that is given out after the adoption.
	revisionBits   = 48
	producerIDBits = 40
)

// attest notices a new life of the server, and calls it verified once nobody is awaited any more. Any replica, any number of times.
func (s *Store) attest(ctx context.Context) (verified bool, err error) {
	err = s.read(ctx, func(ctx context.Context, q *db.Queries) error {
		state, err := q.CatalogState(ctx)
		if err != nil || state.Verified || state.HaltedAt != nil {
			verified = state.Verified
			return err
		}
		noticed, err := q.NoticeLife(ctx)
		if err != nil {
			return fmt.Errorf("notice life: %w", err)
		}
		if noticed == 1 {
			s.config.Logger.InfoContext(ctx, "the database was restarted: its catalog is being verified", "catalog_start", state.Life)
		}
		marked, err := q.MarkVerified(ctx)
		if err != nil {
			return fmt.Errorf("mark verified: %w", err)
		}
		if verified = marked == 1; verified {
			s.config.Logger.InfoContext(ctx, "catalog verified", "catalog_start", state.Life)
		}
		return nil
	})
	return verified, err
}

// refuseHalted refuses while the catalog is halted.
func refuseHalted(ctx context.Context, q *db.Queries) error {
	state, err := q.CatalogState(ctx)
	if err != nil {
		return fmt.Errorf("read catalog state: %w", err)
	}
	return haltedRefusal(state)
}

// refuseUnserved refuses while the catalog is halted, or is being verified and somebody has not had the time to object.
func refuseUnserved(ctx context.Context, q *db.Queries) error {
	state, err := q.CatalogState(ctx)
	if err != nil {
		return fmt.Errorf("read catalog state: %w", err)
	}
	return unservedRefusal(state)
}

func unservedRefusal(state db.CatalogStateRow) error {
	if err := haltedRefusal(state); err != nil || state.Serves {
		return err
	}
	return &store.Refused{Refusal: verifyingRefusal()}
}

// refuseUnverified refuses while the catalog is halted or being verified.
func refuseUnverified(ctx context.Context, q *db.Queries) error {
	state, err := q.CatalogState(ctx)
	if err != nil {
		return fmt.Errorf("read catalog state: %w", err)
	}
	if err := haltedRefusal(state); err != nil || state.Verified {
		return err
	}
	return &store.Refused{Refusal: verifyingRefusal()}
}

func haltedRefusal(state db.CatalogStateRow) error {
	if state.HaltedAt == nil {
		return nil
	}
	refused := store.Refuse(refusalv1.Reason_REASON_CATALOG_HALTED,
		"the catalog has lost transactions and is halted: an operator must look at it (streamhouse catalog status)")
	refused.Refusal.RetryAfterMs = haltWait.Milliseconds()
	return refused
}

func verifyingRefusal() *refusalv1.Refusal {
	return &refusalv1.Refusal{
		Reason: refusalv1.Reason_REASON_CATALOG_UNAVAILABLE, RetryAfterMs: verifyWait.Milliseconds(),
		Message: "the database was restarted and its catalog is being verified: try again",
	}
}

// CatalogStatus reads one snapshot.
func (s *Store) CatalogStatus(ctx context.Context) (*controlplanev1.GetCatalogStatusResponse, error) {
	var response *controlplanev1.GetCatalogStatusResponse
	err := s.snapshot(ctx, func(ctx context.Context, q *db.Queries) error {
		state, err := q.CatalogState(ctx)
		if err != nil {
			return fmt.Errorf("read catalog state: %w", err)
		}
		response = &controlplanev1.GetCatalogStatusResponse{
			State: catalogState(state.HaltedAt != nil, state.Verified), Incarnation: int32(state.Incarnation),
			Reasons: state.HaltReasons, CatalogStart: state.Life,
		}
		if state.HaltedAt != nil {
			response.HaltedAt = timestamppb.New(*state.HaltedAt)
		}
		if response.GetState() == controlplanev1.CatalogState_CATALOG_STATE_VERIFYING {
			response.AwaitedAgentIds, err = q.AwaitedAgents(ctx)
		}
		return err
	})
	return response, err
}

func catalogState(halted, verified bool) controlplanev1.CatalogState {
	switch {
	case halted:
		return controlplanev1.CatalogState_CATALOG_STATE_HALTED
	case verified:
		return controlplanev1.CatalogState_CATALOG_STATE_SERVING
	default:
		return controlplanev1.CatalogState_CATALOG_STATE_VERIFYING
	}
}

// AdoptCatalog is one transaction. Run twice, it would refuse its own work.
func (s *Store) AdoptCatalog(ctx context.Context, request *controlplanev1.AdoptCatalogRequest) (*controlplanev1.AdoptCatalogResponse, error) {
	incarnation, err := s.reincarnate(ctx, false, func(ctx context.Context, q *db.Queries) (int16, error) {
		if err := refuseHalfRecovered(ctx, q); err != nil {
			return 0, err
		}
		return nextIncarnation(ctx, q, request.GetIncarnation())
	})
	if err != nil {
		return nil, err
	}
	s.config.Logger.WarnContext(ctx, "catalog adopted", "incarnation", incarnation)
	return &controlplanev1.AdoptCatalogResponse{Incarnation: int32(incarnation)}, nil
}

// reincarnate ends all sessions and tenures, and begins the incarnation that next answers under the locks of all agent groups and of the catalog.
// complete: it has all that is in the bucket.
func (s *Store) reincarnate(ctx context.Context, complete bool, next func(ctx context.Context, q *db.Queries) (int16, error)) (incarnation int16, err error) {
	err = s.write(ctx, wrong, func(ctx context.Context, q *db.Queries) (err error) {
		if err := allowTime(ctx, q); err != nil {
			return err
		}
		if err := q.ResetUpkeep(ctx); err != nil { // first in the lock order
			return fmt.Errorf("reset upkeep: %w", err)
		}
		if _, err := q.DeleteAllJobs(ctx); err != nil { // their owners' sessions end here
			return fmt.Errorf("end jobs: %w", err)
		}
		groups, err := q.LockAgentGroups(ctx)
		if err != nil {
			return fmt.Errorf("lock agent groups: %w", err)
		}
		if incarnation, err = next(ctx, q); err != nil {
			return err
		}
		if err := endEverything(ctx, q); err != nil {
			return err
		}
		if _, err := q.ForgetKeyCompactions(ctx); err != nil {
			return fmt.Errorf("forget what was clean: %w", err)
		}
		for _, group := range groups {
			if err := restamp(ctx, q, group, incarnation); err != nil {
				return fmt.Errorf("agent group %s: %w", group.AgentGroup, err)
			}
		}
		if _, err := q.RaiseProducerIDs(ctx, int64(incarnation)<<producerIDBits); err != nil {
			return fmt.Errorf("raise producer ids: %w", err)
		}
		rows, err := q.BeginIncarnation(ctx, incarnation, complete)
		return verdict("begin incarnation", rows, 1, err)
	})
	if err != nil {
		return 0, err
	}
	signal(s.placementChanged)
	signal(s.unsettled)
	return incarnation, nil
}

// allowTime is for what touches every partition.
func allowTime(ctx context.Context, q *db.Queries) error {
	if err := q.AllowTime(ctx, strconv.FormatInt(adoptTime.Milliseconds(), 10)); err != nil {
		return fmt.Errorf("allow time: %w", err)
	}
	return nil
}

// nextIncarnation locks the catalog and refuses unless it is halted in the incarnation that the operator saw.
func nextIncarnation(ctx context.Context, q *db.Queries, seen int32) (int16, error) {
	row, err := q.LockCatalog(ctx)
	if err != nil {
		return 0, fmt.Errorf("lock catalog: %w", err)
	}
	if !row.Halted {
		return 0, store.Refuse(refusalv1.Reason_REASON_CATALOG_NOT_HALTED, "the catalog is not halted (incarnation %d): there is nothing to adopt", row.Incarnation)
	}
	if int32(row.Incarnation) != seen {
		refused := store.Refuse(refusalv1.Reason_REASON_INVALID, "the catalog is in incarnation %d: look at its status again", row.Incarnation)
		refused.Refusal.Field = "incarnation"
		return 0, refused
	}
	return successor(row.Incarnation, row.NewestIncarnation)
}

// successor is above all of them.
func successor(incarnations ...int16) (int16, error) {
	newest := slices.Max(incarnations)
	if newest >= newestIncarnation {
		return 0, fmt.Errorf("incarnation %d has no successor", newest)
	}
	return newest + 1, nil
}

func endEverything(ctx context.Context, q *db.Queries) error {
	if _, err := q.EndAllSessions(ctx); err != nil {
		return fmt.Errorf("end sessions: %w", err)
	}
	if _, err := q.EndAllTenures(ctx); err != nil {
		return fmt.Errorf("end tenures: %w", err)
	}
	return nil
}

// restamp takes the leaders away, and gives every topic and partition a revision above all that were given out before the loss.
func restamp(ctx context.Context, q *db.Queries, group db.LockAgentGroupsRow, incarnation int16) error {
	revision := max(group.Revision, int64(incarnation)<<revisionBits)
	topics, err := q.RestampTopics(ctx, revision, group.AgentGroup)
	if err != nil {
		return fmt.Errorf("restamp topics: %w", err)
	}
	partitions, err := q.RestampPartitions(ctx, lease.Floor(int32(incarnation)), revision+topics, group.AgentGroup)
	if err != nil {
		return fmt.Errorf("restamp partitions: %w", err)
	}
	rows, err := q.AdvanceRevision(ctx, db.AdvanceRevisionParams{
		Revision: revision + topics + partitions + 1, Unsettled: true, Reshaped: true, AgentGroup: group.AgentGroup,
	})
	return verdict("advance revision", rows, 1, err)
}
