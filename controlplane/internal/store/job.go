package store

import (
	"cmp"
	"context"
	"fmt"
	"time"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/compaction"
)

// Jobs are the work on the bucket: who has which, and what follows from it (protocol, sections 7 and 8). Whatever names a job that is not the
// caller's any more is refused with JOB_LOST; while the catalog is halted or being verified all of it is refused.
type Jobs interface {
	// ClaimJob answers the job that the session has, or one that was left, or new work, in the order of the kinds.
	// Refusals: SESSION_EXPIRED, SESSION_SUPERSEDED.
	ClaimJob(ctx context.Context, agentGroup AgentGroup, request *controlplanev1.ClaimJobRequest) (*controlplanev1.ClaimJobResponse, error)
	// FinishJob ends a job, done or given up. A checkpoint that is done is in the bucket.
	FinishJob(ctx context.Context, agentGroup AgentGroup, request *controlplanev1.FinishJobRequest) (*controlplanev1.FinishJobResponse, error)
	// ConfirmDeleted: the objects are gone. Those that are not to be deleted are left out. Refusal: INVALID (a key of another agent group).
	ConfirmDeleted(ctx context.Context, agentGroup AgentGroup, request *controlplanev1.ConfirmDeletedRequest) (*controlplanev1.ConfirmDeletedResponse, error)
	// SweepKeys kills keys that nobody has committed and nobody who lives may, and answers which are dead. Refusal: INVALID (a key of another
	// agent group).
	SweepKeys(ctx context.Context, agentGroup AgentGroup, request *controlplanev1.SweepKeysRequest) (*controlplanev1.SweepKeysResponse, error)
	// ReadCheckpoint reads a page. Refusal: INVALID (the page token).
	ReadCheckpoint(ctx context.Context, agentGroup AgentGroup, request *controlplanev1.ReadCheckpointRequest) (*controlplanev1.ReadCheckpointResponse, error)
	// ForgetObjects looks at one bounded page of keys whose objects are gone, after the key, and forgets those that are settled.
	ForgetObjects(ctx context.Context, after string) (ForgottenObjects, error)
}

// ForgottenObjects is what one page came to.
type ForgottenObjects struct {
	// Objects that were forgotten.
	Objects int
	// Next is where the next page begins; empty: there is none.
	Next string
}

// TenureCursor is a place in the order of all tenures. The zero value is the beginning.
type TenureCursor struct {
	PartitionID int64
	Epoch       int32
}

// ForgottenTenures is what one page came to.
type ForgottenTenures struct {
	// Tenures that were forgotten.
	Tenures int
	// Next is where the next page begins; nil: there is none.
	Next *TenureCursor
}

// Ending forgets what has been over for long and nothing refers to. For package job alone.
type Ending interface {
	// ForgetObjects is that of Jobs.
	ForgetObjects(ctx context.Context, after string) (ForgottenObjects, error)
	// ForgetTenures looks at one bounded page of tenures after the cursor and forgets those that the log start has left behind; never the newest.
	ForgetTenures(ctx context.Context, after TenureCursor) (ForgottenTenures, error)
	// ForgetSessions forgets a bounded number of sessions that ended longer ago than idle and that nothing refers to.
	ForgetSessions(ctx context.Context, idle time.Duration) (forgotten int, more bool, err error)
}

// JobConfig says when work on the bucket is due. The zero value has the defaults.
type JobConfig struct {
	// DeletionGrace is how long an object stays after its last reference went; default 1 h.
	DeletionGrace time.Duration
	// CheckpointInterval is the age at which the newest checkpoint is followed by another; default 10 min. Where something waits for one, a tenth.
	CheckpointInterval time.Duration
	// SweepInterval is the time in which all of the bucket is looked at for orphans; default 6 h.
	SweepInterval time.Duration
	// SweepAge is the age from which an object may be an orphan; default 1 h.
	SweepAge time.Duration
	// CompactionOff: nothing is compacted.
	CompactionOff bool
	// CompactionMinAge is the age from which on an object may be compacted, default 5 min; what is younger is the tail. Objects wait for others
	// twelve times as long.
	CompactionMinAge time.Duration
	// CompactionTargetBytes is the size of the objects that compaction writes; default 128 MiB, 1 MiB to 4 GiB.
	CompactionTargetBytes int64
	// KeyCompactionInterval is the time between two passes of compaction by key over the same partition, unless much is dirty; default 10 min.
	KeyCompactionInterval time.Duration
	// KeyCompactionMinAge is the age up to which records are young, whatever their topic says; default 1 min.
	KeyCompactionMinAge time.Duration
}

// Bounds of CompactionTargetBytes, and how long objects wait for others in terms of CompactionMinAge.
const (
	minCompactionTarget, maxCompactionTarget = 1 << 20, 4 << 30
	compactionPatience                       = 12
)

// CompactionConfig says when compaction is worth it.
func (c JobConfig) CompactionConfig() compaction.Config {
	return compaction.Config{TargetBytes: c.CompactionTargetBytes, Patience: compactionPatience * c.CompactionMinAge}
}

// checkpointPace is the share of the interval between two checkpoints when something waits for the next one.
const checkpointPace = 10

// CheckpointPace is the time between two checkpoints when something waits for the next one.
func (c JobConfig) CheckpointPace() time.Duration { return c.CheckpointInterval / checkpointPace }

// WithDefaults fills in what is zero.
func (c JobConfig) WithDefaults() JobConfig {
	c.DeletionGrace = cmp.Or(c.DeletionGrace, time.Hour)
	c.CheckpointInterval = cmp.Or(c.CheckpointInterval, 10*time.Minute)
	c.SweepInterval = cmp.Or(c.SweepInterval, 6*time.Hour)
	c.SweepAge = cmp.Or(c.SweepAge, time.Hour)
	c.CompactionMinAge = cmp.Or(c.CompactionMinAge, 5*time.Minute)
	c.CompactionTargetBytes = cmp.Or(c.CompactionTargetBytes, 128<<20)
	c.KeyCompactionInterval = cmp.Or(c.KeyCompactionInterval, 10*time.Minute)
	c.KeyCompactionMinAge = cmp.Or(c.KeyCompactionMinAge, time.Minute)
	return c
}

// maxJobTime bounds all times of a JobConfig: what is meant to be never belongs into a switch of its own.
const maxJobTime = 10 * 365 * 24 * time.Hour

// Validate names the first field out of bounds.
func (c JobConfig) Validate() error {
	c = c.WithDefaults()
	for name, value := range map[string]time.Duration{
		"deletion-grace": c.DeletionGrace, "checkpoint-interval": c.CheckpointInterval, "sweep-interval": c.SweepInterval, "sweep-age": c.SweepAge,
		"compaction-min-age":      c.CompactionMinAge,
		"key-compaction-interval": c.KeyCompactionInterval, "key-compaction-min-age": c.KeyCompactionMinAge,
	} {
		if value < time.Millisecond || value > maxJobTime {
			return fmt.Errorf("%s: %v is not between %v and %v", name, value, time.Millisecond, maxJobTime)
		}
	}
	if c.CompactionTargetBytes < minCompactionTarget || c.CompactionTargetBytes > maxCompactionTarget {
		return fmt.Errorf("compaction-target-bytes: %d is not between %d and %d", c.CompactionTargetBytes, int64(minCompactionTarget), int64(maxCompactionTarget))
	}
	return nil
}

// The bucket is swept in parts: one for each two hexadecimal digits that keys begin with, and the descriptions of topics.
const (
	hexShards = 256
	// SweepShards is their number.
	SweepShards = hexShards + 1
	// DescriptionShard is the subject of the last one.
	DescriptionShard = "topics"
)

// SweepShard is the subject of a part: what stands between the agent group's prefix and the next slash.
func SweepShard(number int32) string {
	if number == hexShards {
		return DescriptionShard
	}
	return fmt.Sprintf("%02x", number)
}

// DeletePage is the greatest number of objects in a job of deletion.
const DeletePage = 1000
