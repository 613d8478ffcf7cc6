package postgres

import (
	"context"
	"fmt"
	"time"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

var _ store.Upkeeps = (*Store)(nil)

// UpkeepStates reads states and jobs from one snapshot.
func (s *Store) UpkeepStates(ctx context.Context) (states []store.UpkeepState, err error) {
	err = s.snapshot(ctx, func(ctx context.Context, q *db.Queries) error {
		states = nil
		rows, err := q.UpkeepStates(ctx, s.config.Jobs.DeletionGrace.Seconds(), store.MostWaiting)
		if err != nil {
			return fmt.Errorf("read upkeep: %w", err)
		}
		held, err := q.HeldJobs(ctx)
		if err != nil {
			return fmt.Errorf("read held jobs: %w", err)
		}
		for _, row := range rows {
			states = append(states, upkeepState(row, held))
		}
		return nil
	})
	return states, err
}

func upkeepState(row db.UpkeepStatesRow, held []db.HeldJobsRow) store.UpkeepState {
	state := store.UpkeepState{
		AgentGroup: store.AgentGroup(row.AgentGroup), CheckpointAge: seconds(row.CheckpointSeconds), SweepBehind: seconds(row.SweepSeconds),
		Freed:           store.Waiting{Objects: row.FreedObjects, Oldest: seconds(row.FreedSeconds)},
		Dated:           store.Waiting{Objects: row.WaitingObjects, Oldest: seconds(row.WaitingSeconds)},
		Dead:            store.Waiting{Objects: row.DeadObjects, Oldest: seconds(row.DeadSeconds)},
		DeletionOverdue: seconds(row.OverdueSeconds),
		Jobs:            map[controlplanev1.JobKind]store.HeldJobs{},
	}
	for _, jobs := range held {
		if jobs.AgentGroup == row.AgentGroup {
			state.Jobs[controlplanev1.JobKind(jobs.Kind)] = store.HeldJobs{Jobs: jobs.Jobs, Oldest: seconds(jobs.OldestSeconds)}
		}
	}
	return state
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

// TableSizes asks for PostgreSQL's own estimates.
func (s *Store) TableSizes(ctx context.Context) (sizes []store.TableSize, err error) {
	err = s.read(ctx, func(ctx context.Context, q *db.Queries) error {
		sizes = nil
		rows, err := q.TableSizes(ctx)
		if err != nil {
			return fmt.Errorf("estimate tables: %w", err)
		}
		for _, row := range rows {
			sizes = append(sizes, store.TableSize{Name: row.Name, Rows: row.LiveRows, DeadRows: row.DeadRows, Bytes: row.SizeBytes})
		}
		return nil
	})
	return sizes, err
}
