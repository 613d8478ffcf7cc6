package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/commit"
	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

const (
	// claimWait is the advice to who finds another claim of the agent group under way.
	claimWait = 100 * time.Millisecond
	// oldPage bounds the rows of one look for what can be forgotten.
	oldPage = 1000
)

// deleteDue: one job of deletion an agent group at a time; each has what is deletable when it is told.
func deleteDue(ctx context.Context, c *claim) (subjects []string, detail []byte, err error) {
	keys, err := c.deletable(ctx, 1)
	if err != nil || len(keys) == 0 {
		return nil, nil, err
	}
	subjects, err = c.free(ctx, controlplanev1.JobKind_JOB_KIND_DELETE, "")
	return subjects, nil, err
}

func tellDelete(ctx context.Context, c *claim, _ db.Job, job *controlplanev1.Job) (bool, error) {
	keys, err := c.deletable(ctx, store.DeletePage)
	job.Work = &controlplanev1.Job_Delete{Delete: &controlplanev1.DeleteWork{Keys: keys}}
	return len(keys) > 0, err
}

func (c *claim) deletable(ctx context.Context, page int32) ([]string, error) {
	keys, err := c.DeletableObjects(ctx, db.DeletableObjectsParams{
		Page: page, AgentGroup: string(c.agentGroup), Checkpoint: c.upkeep.CheckpointFinished, GraceSeconds: c.config.DeletionGrace.Seconds(),
	})
	if err != nil {
		return nil, fmt.Errorf("find deletable objects: %w", err)
	}
	return keys, nil
}

// sweepDue takes the next part of the bucket when its time has come.
func sweepDue(ctx context.Context, c *claim) (subjects []string, detail []byte, err error) {
	share := c.config.SweepInterval / store.SweepShards
	next, err := c.TakeShard(ctx, store.SweepShards, share.Seconds(), string(c.agentGroup))
	if err != nil || len(next) == 0 {
		return nil, nil, err
	}
	taken := (next[0] + store.SweepShards - 1) % store.SweepShards
	subjects, err = c.free(ctx, controlplanev1.JobKind_JOB_KIND_SWEEP, store.SweepShard(taken))
	return subjects, nil, err
}

func tellSweep(ctx context.Context, c *claim, row db.Job, job *controlplanev1.Job) (bool, error) {
	catalog, err := c.CatalogIdentity(ctx)
	if err != nil {
		return false, fmt.Errorf("read the catalog's id: %w", err)
	}
	job.Work = &controlplanev1.Job_Sweep{Sweep: &controlplanev1.SweepWork{
		Prefix: string(c.agentGroup) + "/" + row.Subject + "/", MinAgeMs: c.config.SweepAge.Milliseconds(),
		CatalogId: catalog.CatalogID[:], Incarnation: int32(catalog.Incarnation), NewestCheckpoint: c.upkeep.CheckpointBegun,
	}}
	return true, nil
}

// ConfirmDeleted marks what is gone.
func (s *Store) ConfirmDeleted(ctx context.Context, agentGroup store.AgentGroup, request *controlplanev1.ConfirmDeletedRequest) (
	*controlplanev1.ConfirmDeletedResponse, error,
) {
	id, err := parseJob(request.GetJobId())
	if err != nil {
		return nil, err
	}
	if err := ownKeys(agentGroup, request.GetKeys()); err != nil {
		return nil, err
	}
	err = s.write(ctx, harmless, func(ctx context.Context, q *db.Queries) error {
		if _, err := lockJob(ctx, q, agentGroup, id); err != nil {
			return err
		}
		finished, err := q.NewestCheckpoint(ctx, string(agentGroup))
		if err != nil {
			return fmt.Errorf("find newest checkpoint: %w", err)
		}
		_, err = q.MarkDeleted(ctx, finished, request.GetKeys())
		return err
	})
	if err != nil {
		return nil, err
	}
	return &controlplanev1.ConfirmDeletedResponse{}, nil
}

// ownKeys refuses keys of other agent groups (P7).
func ownKeys(agentGroup store.AgentGroup, keys []string) error {
	for i, key := range keys {
		if !strings.HasPrefix(key, string(agentGroup)+"/") {
			return refuseField(fmt.Sprintf("keys[%d]", i), "must lie below the agent group's prefix")
		}
	}
	return nil
}

// SweepKeys first kills what nobody has committed and nobody who lives may, then looks what is dead: a key that a commit has inserted in between,
// or was inserting, is not.
func (s *Store) SweepKeys(
	ctx context.Context, agentGroup store.AgentGroup, request *controlplanev1.SweepKeysRequest,
) (*controlplanev1.SweepKeysResponse, error) {
	id, err := parseJob(request.GetJobId())
	if err != nil {
		return nil, err
	}
	if err := ownKeys(agentGroup, request.GetKeys()); err != nil {
		return nil, err
	}
	response := &controlplanev1.SweepKeysResponse{}
	err = s.write(ctx, harmless, func(ctx context.Context, q *db.Queries) error {
		if _, err := lockJob(ctx, q, agentGroup, id); err != nil {
			return err
		}
		objects, topics := sortKeys(agentGroup, request.GetKeys())
		dead, err := sweepObjects(ctx, q, objects)
		if err != nil {
			return err
		}
		described, err := sweepDescriptions(ctx, q, agentGroup, topics)
		response.Dead = slices.Concat(dead, described)
		return err
	})
	if err != nil {
		return nil, err
	}
	return response, nil
}

// sortKeys tells objects and descriptions of topics from what is none of ours, which stays as it is.
func sortKeys(agentGroup store.AgentGroup, keys []string) (objects []commit.KeyParts, topics []uuid.UUID) {
	for _, key := range keys {
		if parts, ok := commit.ParseKey(string(agentGroup), key); ok {
			objects = append(objects, parts)
		} else if topic, ok := describedTopic(agentGroup, key); ok {
			topics = append(topics, topic)
		}
	}
	return objects, topics
}

func descriptionKey(agentGroup store.AgentGroup, topic uuid.UUID) string {
	return string(agentGroup) + "/" + store.DescriptionShard + "/" + topic.String()
}

func describedTopic(agentGroup store.AgentGroup, key string) (uuid.UUID, bool) {
	name, ok := strings.CutPrefix(key, string(agentGroup)+"/"+store.DescriptionShard+"/")
	topic, err := uuid.Parse(name)
	return topic, ok && err == nil && topic.String() == name
}

func sweepObjects(ctx context.Context, q *db.Queries, objects []commit.KeyParts) (dead []string, err error) {
	if len(objects) == 0 {
		return nil, nil
	}
	spared, err := liveUploads(ctx, q, objects)
	if err != nil {
		return nil, err
	}
	all, doomed := make([]string, 0, len(objects)), make([]string, 0, len(objects))
	for _, o := range objects {
		all = append(all, o.Key)
		if !spared[o.Key] {
			doomed = append(doomed, o.Key)
		}
	}
	if _, err := q.InsertTombstones(ctx, doomed); err != nil {
		return nil, fmt.Errorf("insert tombstones: %w", err)
	}
	rows, err := q.SweptKeys(ctx, all)
	if err != nil {
		return nil, fmt.Errorf("look at swept keys: %w", err)
	}
	for _, row := range rows {
		if row.Dead {
			dead = append(dead, row.Key)
		}
	}
	slices.Sort(dead)
	return dead, nil
}

// liveUploads are the keys that a live session, or a job that somebody has, may still commit.
func liveUploads(ctx context.Context, q *db.Queries, objects []commit.KeyParts) (map[string]bool, error) {
	ids := make([]uuid.UUID, len(objects))
	for i, o := range objects {
		ids[i] = o.Writer
	}
	rows, err := q.LiveWriters(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("find live writers: %w", err)
	}
	below := make(map[uuid.UUID]int64, len(rows))
	for _, row := range rows {
		below[row.WriterID] = row.Below
	}
	spared := map[string]bool{}
	for _, o := range objects {
		settled, lives := below[o.Writer]
		spared[o.Key] = lives && o.Counter >= uint64(settled)
	}
	return spared, nil
}

// sweepDescriptions: a topic without a row was forgotten after a checkpoint had its deletion.
func sweepDescriptions(ctx context.Context, q *db.Queries, agentGroup store.AgentGroup, topics []uuid.UUID) (dead []string, err error) {
	if len(topics) == 0 {
		return nil, nil
	}
	needed, err := q.TopicsToDescribe(ctx, topics, string(agentGroup))
	if err != nil {
		return nil, fmt.Errorf("find topics to describe: %w", err)
	}
	for _, topic := range topics {
		if !slices.Contains(needed, topic) {
			dead = append(dead, descriptionKey(agentGroup, topic))
		}
	}
	return dead, nil
}

// ForgetObjects forgets keys that are settled, and whose objects are gone.
func (s *Store) ForgetObjects(ctx context.Context, after string) (forgotten store.ForgottenObjects, err error) {
	err = s.write(ctx, harmless, func(ctx context.Context, q *db.Queries) error {
		forgotten = store.ForgottenObjects{}
		if trusted, err := mayDelete(ctx, q); err != nil || !trusted {
			return err
		}
		row, err := q.ForgetObjects(ctx, after, oldPage)
		if err != nil {
			return fmt.Errorf("forget objects: %w", err)
		}
		forgotten.Objects = int(row.Forgotten)
		if row.LookedAt == oldPage {
			forgotten.Next = row.LastKey
		}
		return nil
	})
	return forgotten, err
}

// ForgetTenures forgets tenures that the log start has left behind.
func (s *Store) ForgetTenures(ctx context.Context, after store.TenureCursor) (forgotten store.ForgottenTenures, err error) {
	err = s.write(ctx, harmless, func(ctx context.Context, q *db.Queries) error {
		forgotten = store.ForgottenTenures{}
		if trusted, err := mayDelete(ctx, q); err != nil || !trusted {
			return err
		}
		row, err := q.ForgetTenures(ctx, after.PartitionID, after.Epoch, oldPage)
		if err != nil {
			return fmt.Errorf("forget tenures: %w", err)
		}
		forgotten.Tenures = int(row.Forgotten)
		if row.LookedAt == oldPage {
			forgotten.Next = &store.TenureCursor{PartitionID: row.LastPartitionID, Epoch: row.LastEpoch}
		}
		return nil
	})
	return forgotten, err
}

// ForgetSessions forgets sessions that ended long ago.
func (s *Store) ForgetSessions(ctx context.Context, idle time.Duration) (forgotten int, more bool, err error) {
	err = s.write(ctx, harmless, func(ctx context.Context, q *db.Queries) error {
		forgotten, more = 0, false
		if trusted, err := mayDelete(ctx, q); err != nil || !trusted {
			return err
		}
		rows, err := q.ForgetSessions(ctx, idle.Seconds(), oldPage)
		forgotten, more = int(rows), rows == oldPage
		return err
	})
	return forgotten, more, err
}

// mayDelete: nothing is deleted on the word of a catalog that may have lost transactions.
func mayDelete(ctx context.Context, q *db.Queries) (bool, error) {
	state, err := q.CatalogState(ctx)
	if err != nil {
		return false, fmt.Errorf("read catalog state: %w", err)
	}
	return state.Verified && state.HaltedAt == nil, nil
}
