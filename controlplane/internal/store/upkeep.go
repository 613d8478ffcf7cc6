package store

import (
	"context"
	"time"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

// Upkeeps tell people how far the work on the bucket is behind, and how large the catalog is. For package upkeep alone.
type Upkeeps interface {
	// UpkeepStates answers for each agent group, by name. It costs the same however far that work is behind.
	UpkeepStates(ctx context.Context) ([]UpkeepState, error)
	// TableSizes are estimates, by name of the table; no table is read.
	TableSizes(ctx context.Context) ([]TableSize, error)
}

// MostWaiting is how many waiting objects of a kind are counted.
const MostWaiting = 100_000

// UpkeepState is how far the work on an agent group's part of the bucket is. Times are by PostgreSQL's clock.
type UpkeepState struct {
	AgentGroup AgentGroup
	// CheckpointAge is that of the newest checkpoint in the bucket; where there is none, that of the oldest topic.
	CheckpointAge time.Duration
	// SweepBehind is how long the next part of the bucket has been due to be swept.
	SweepBehind time.Duration
	// Freed are objects that nothing refers to, and that wait for a checkpoint to begin. Dated: those that one has begun after, until they are
	// deleted. Dead: those that nobody committed, and nobody has deleted yet.
	Freed, Dated, Dead Waiting
	// DeletionOverdue is how long the oldest object that may be deleted could have been.
	DeletionOverdue time.Duration
	// Jobs that somebody is at, by kind.
	Jobs map[controlplanev1.JobKind]HeldJobs
}

// Waiting objects.
type Waiting struct {
	// Objects are at most MostWaiting.
	Objects int64
	// Oldest has waited for so long.
	Oldest time.Duration
}

// HeldJobs of one kind.
type HeldJobs struct {
	Jobs int64
	// Oldest was claimed so long ago, by whoever has it now.
	Oldest time.Duration
}

// TableSize is about one table of the catalog.
type TableSize struct {
	Name string
	// Rows that live, and those that are dead and not cleared away yet.
	Rows, DeadRows int64
	// Bytes on disk, with indexes.
	Bytes int64
}
