package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/commit"
	"github.com/streamhouse/streamhouse/controlplane/internal/producer"
	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

// errKeyGone: a key was neither inserted nor found, since its row was deleted in between. The transaction is run again.
var errKeyGone = errors.New("object key came and went")

// Commit tries the short way first, on which everything succeeds, and decides entry by entry where that does not go. It runs the whole
// transaction again after a COMMIT without an answer: its first statement then waits for the first attempt, or
// finds what it did. (A SELECT instead might look while the first attempt is still committing.)
func (s *Store) Commit(ctx context.Context, agentGroup store.AgentGroup, request *controlplanev1.CommitRequest) (*controlplanev1.CommitResponse, error) {
	session, err := parseSession(request.GetSessionId())
	if err != nil {
		return nil, err
	}
	if err := commit.CheckRequest(string(agentGroup), session, request.GetObjects()); err != nil {
		return nil, refuseCommit(err)
	}
	var outcomes []*controlplanev1.ObjectOutcome
	err = s.retry(ctx, harmless, func() error {
		if outcomes, err = s.wholly(ctx, agentGroup, session, request.GetObjects()); err != nil || outcomes != nil {
			return err
		}
		return s.once(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(ctx context.Context, q *db.Queries) error {
			c := &committing{q: q, agentGroup: agentGroup, session: session, objects: request.GetObjects()}
			outcomes, err = c.run(ctx)
			return err
		})
	})
	if unknown, ok := errors.AsType[*unknownSessionError](err); ok {
		return &controlplanev1.CommitResponse{Objects: unknown.outcomes}, nil
	}
	if err != nil {
		return nil, err
	}
	return &controlplanev1.CommitResponse{Objects: outcomes}, nil
}

func refuseCommit(err error) error {
	refused := store.Refuse(refusalv1.Reason_REASON_INVALID, "%v", err)
	refused.Refusal.Written = refusalv1.Written_WRITTEN_SURELY_NOT
	if field, ok := errors.AsType[*commit.FieldError](err); ok {
		refused.Refusal.Field = field.Field
	}
	return refused
}

// unknownSessionError rolls a commit back whose session has no row: were it to go on, nothing would hold its keys' rows, and a repeat
// might be answered differently. Rows of keys that are still there answer for their objects.
type unknownSessionError struct {
	outcomes []*controlplanev1.ObjectOutcome
}

func (e *unknownSessionError) Error() string { return "the session of a commit has no row" }

// committing is one run of a commit's transaction.
type committing struct {
	q          *db.Queries
	agentGroup store.AgentGroup
	session    uuid.UUID
	objects    []*controlplanev1.ObjectCommit
	// ids has the object ids of the keys that this transaction inserted.
	ids map[string]int64
}

// run is section 4 of the protocol, in its order.
func (c *committing) run(ctx context.Context) ([]*controlplanev1.ObjectOutcome, error) {
	decided, err := c.insertKeys(ctx)
	if err != nil {
		return nil, err
	}
	if len(c.ids) > 0 {
		if err := c.lockSession(ctx, decided); err != nil {
			return nil, err
		}
	}
	if fresh := c.fresh(); len(fresh) > 0 {
		if err := c.commitFresh(ctx, fresh, decided); err != nil {
			return nil, err
		}
	}
	return c.inOrder(decided), nil
}

// insertKeys is the first statement: it decides which objects are new. The others are answered with what happened to them.
func (c *committing) insertKeys(ctx context.Context) (decided map[string]*controlplanev1.ObjectOutcome, err error) {
	keys, sizes := make([]string, len(c.objects)), make([]int64, len(c.objects))
	for i, object := range c.objects {
		keys[i], sizes[i] = object.GetKey(), object.GetSizeBytes()
	}
	inserted, err := c.q.InsertObjectKeys(ctx, c.session, keys, sizes)
	if err != nil {
		return nil, fmt.Errorf("insert object keys: %w", err)
	}
	c.ids = make(map[string]int64, len(inserted))
	for _, row := range inserted {
		c.ids[row.Key] = row.ObjectID
	}
	if len(inserted) == len(keys) {
		return map[string]*controlplanev1.ObjectOutcome{}, nil
	}
	if err := refuseUnserved(ctx, c.q); err != nil { // nothing is stored: the agent repeats the commit until it is answered
		return nil, err
	}
	return c.readOutcomes(ctx, keys)
}

func (c *committing) readOutcomes(ctx context.Context, keys []string) (map[string]*controlplanev1.ObjectOutcome, error) {
	rows, err := c.q.ObjectOutcomes(ctx, keys)
	if err != nil {
		return nil, fmt.Errorf("read outcomes: %w", err)
	}
	if len(rows) != len(keys) {
		return nil, errKeyGone
	}
	decided := make(map[string]*controlplanev1.ObjectOutcome, len(rows))
	for _, row := range rows {
		if _, mine := c.ids[row.Key]; mine {
			continue
		}
		if decided[row.Key], err = storedOutcome(row.Key, row.Outcome); err != nil {
			return nil, err
		}
	}
	return decided, nil
}

// storedOutcome is what a repeat is answered with.
func storedOutcome(key string, stored []byte) (*controlplanev1.ObjectOutcome, error) {
	if stored == nil {
		return deadOutcome(key, "this object key is dead: nothing of the object was or will be committed"), nil
	}
	return commit.DecodeOutcome(key, stored)
}

func deadOutcome(key, sentence string) *controlplanev1.ObjectOutcome {
	return &controlplanev1.ObjectOutcome{Key: key, Refusal: &refusalv1.Refusal{
		Reason: refusalv1.Reason_REASON_OBJECT_TOMBSTONED, Written: refusalv1.Written_WRITTEN_SURELY_NOT, Message: sentence,
	}}
}

// fresh are the objects whose keys this transaction inserted.
func (c *committing) fresh() (fresh []*controlplanev1.ObjectCommit) {
	for _, object := range c.objects {
		if _, mine := c.ids[object.GetKey()]; mine {
			fresh = append(fresh, object)
		}
	}
	return fresh
}

// lockSession holds the session's row, ended or not, until the end. A missing one makes all that is new "possibly".
func (c *committing) lockSession(ctx context.Context, decided map[string]*controlplanev1.ObjectOutcome) error {
	rows, err := c.q.LockSessions(ctx, []uuid.UUID{c.session})
	if err != nil {
		return fmt.Errorf("lock session: %w", err)
	}
	if len(rows) == 1 {
		if store.AgentGroup(rows[0].AgentGroup) != c.agentGroup {
			return store.Refuse(refusalv1.Reason_REASON_WRONG_AGENT_GROUP, "this session belongs to another agent group than %q", c.agentGroup)
		}
		return c.refuseSettled(ctx, rows[0].SettledObjectCounter, decided)
	}
	for _, object := range c.fresh() {
		decided[object.GetKey()] = &controlplanev1.ObjectOutcome{Key: object.GetKey(), Refusal: &refusalv1.Refusal{
			Reason: refusalv1.Reason_REASON_SESSION_EXPIRED, Written: refusalv1.Written_WRITTEN_POSSIBLY,
			Message: "this session is not known any more, nor is what became of its objects",
		}}
	}
	return &unknownSessionError{outcomes: c.inOrder(decided)}
}

// refuseSettled takes back the keys of objects that the session has settled and whose rows are gone: a repeat that comes so late is refused for
// good, and nothing of it is stored. The session was read after the keys were inserted, which waits for whoever was removing such a row.
func (c *committing) refuseSettled(ctx context.Context, below int64, decided map[string]*controlplanev1.ObjectOutcome) error {
	var late []int64
	for _, object := range c.fresh() {
		if key := object.GetKey(); commit.Settled(string(c.agentGroup), key, below) {
			late = append(late, c.ids[key])
			delete(c.ids, key)
			decided[key] = deadOutcome(key, "this object key is settled: its commit was answered before, and is not done again")
		}
	}
	if len(late) == 0 {
		return nil
	}
	rows, err := c.q.TakeBackObjectKeys(ctx, late)
	return verdict("take back object keys", rows, len(late), err)
}

// commitFresh decides about the new objects under the locks of their partitions, and writes what was decided.
func (c *committing) commitFresh(ctx context.Context, fresh []*controlplanev1.ObjectCommit, decided map[string]*controlplanev1.ObjectOutcome) error {
	if err := c.q.GoInOrder(ctx); err != nil {
		return fmt.Errorf("set planner: %w", err)
	}
	catalog, err := c.lockCatalog(ctx, fresh)
	if err != nil {
		return err
	}
	plan := commit.Decide(string(c.agentGroup), c.session, fresh, catalog)
	for _, outcome := range plan.Outcomes {
		decided[outcome.GetKey()] = outcome
	}
	return c.writePlan(ctx, fresh, plan)
}

// lockCatalog locks the partitions in order, and reads the producers in a later statement.
func (c *committing) lockCatalog(ctx context.Context, fresh []*controlplanev1.ObjectCommit) (commit.Catalog, error) {
	rows, err := lockPartitions(ctx, c.q, partitionsOf(fresh))
	if err != nil {
		return commit.Catalog{}, err
	}
	catalog := commit.Catalog{
		Partitions: make(map[commit.PartitionKey]commit.Partition, len(rows)),
		Producers:  map[commit.ProducerKey]producer.State{},
	}
	for key, row := range rows {
		catalog.Partitions[key] = committedPartition(row)
	}
	return catalog, c.readProducers(ctx, fresh, catalog)
}

func committedPartition(row db.LockPartitionsRow) commit.Partition {
	p := commit.Partition{
		ID: row.PartitionID, AgentGroup: row.AgentGroup, Deleted: row.Deleted, Epoch: row.Epoch, HighWatermark: row.HighWatermark,
	}
	if row.LeaderSessionID != nil {
		p.Leader = *row.LeaderSessionID
	}
	return p
}

func partitionsOf(objects []*controlplanev1.ObjectCommit) (keys []commit.PartitionKey) {
	seen := map[commit.PartitionKey]bool{}
	for _, object := range objects {
		for _, entry := range object.GetSegments() {
			key := commit.PartitionKey{Topic: uuid.UUID(entry.GetTopicId()), Number: entry.GetPartition()}
			if !seen[key] {
				seen[key] = true
				keys = append(keys, key)
			}
		}
	}
	return keys
}

func (c *committing) readProducers(ctx context.Context, fresh []*controlplanev1.ObjectCommit, catalog commit.Catalog) error {
	partitionIDs, producerIDs := producersOf(fresh, catalog)
	if len(partitionIDs) == 0 {
		return nil
	}
	rows, err := c.q.ProducerStates(ctx, partitionIDs, producerIDs)
	if err != nil {
		return fmt.Errorf("read producers: %w", err)
	}
	for _, row := range rows {
		state, err := producer.Decode(row.ProducerEpoch, row.Batches)
		if err != nil {
			return fmt.Errorf("partition %d, producer %d: %w", row.PartitionID, row.ProducerID, err)
		}
		catalog.Producers[commit.ProducerKey{PartitionID: row.PartitionID, ProducerID: row.ProducerID}] = state
	}
	return nil
}

// producersOf names each producer of the objects once.
func producersOf(objects []*controlplanev1.ObjectCommit, catalog commit.Catalog) (partitionIDs, producerIDs []int64) {
	seen := map[commit.ProducerKey]bool{}
	for _, object := range objects {
		for _, entry := range object.GetSegments() {
			partition, found := catalog.Partitions[commit.PartitionKey{Topic: uuid.UUID(entry.GetTopicId()), Number: entry.GetPartition()}]
			for _, batch := range entry.GetProducerBatches() {
				key := commit.ProducerKey{PartitionID: partition.ID, ProducerID: batch.GetProducerId()}
				if found && !seen[key] {
					seen[key] = true
					partitionIDs, producerIDs = append(partitionIDs, key.PartitionID), append(producerIDs, key.ProducerID)
				}
			}
		}
	}
	return partitionIDs, producerIDs
}

// inOrder answers the outcomes as the objects were asked for.
func (c *committing) inOrder(decided map[string]*controlplanev1.ObjectOutcome) []*controlplanev1.ObjectOutcome {
	outcomes := make([]*controlplanev1.ObjectOutcome, len(c.objects))
	for i, object := range c.objects {
		outcomes[i] = decided[object.GetKey()]
	}
	return outcomes
}
