package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/commit"
	"github.com/streamhouse/streamhouse/controlplane/internal/producer"
	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

// fewRows: up to so many, a statement each is cheaper than one for all (measured: even at 4, half as dear again at 16).
const fewRows = 3

// wholeCommit is one run of a commit of which every entry is expected to succeed, in two round trips:
//
//	BEGIN; keys; session; partitions: lock, check, move; topics; producers: read
//	segments; producers: write; COMMIT
//
// The order is that of section 4 of the protocol, each statement later than those before it. Whatever is found otherwise than expected rolls
// all of it back, and the commit is decided entry by entry (committing): after it nothing of this run is left but the time that it took.
type wholeCommit struct {
	store      *Store
	agentGroup store.AgentGroup
	session    uuid.UUID
	objects    []*controlplanev1.ObjectCommit
	whole      *commit.Whole
	// partitionIDs are those of whole.Moves.
	partitionIDs []int64
	producers    *commit.Producers
	// objectIDs has the ids of the keys that this transaction inserted.
	objectIDs map[string]int64
}

// wholly tries to commit everything. nil, nil: it cannot, and nothing has happened.
func (s *Store) wholly(ctx context.Context, agentGroup store.AgentGroup, session uuid.UUID, objects []*controlplanev1.ObjectCommit) (
	[]*controlplanev1.ObjectOutcome, error,
) {
	whole, possible := commit.AssumeWhole(objects)
	if !possible {
		return nil, nil
	}
	ids, err := s.partitionIDs.of(ctx, s.queries, whole)
	if err != nil || ids == nil {
		return nil, err
	}
	c := &wholeCommit{
		store: s, agentGroup: agentGroup, session: session, objects: objects, whole: whole, partitionIDs: ids, producers: whole.Producers(ids),
	}
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	outcomes := commit.WholeOutcomes(objects)
	expected, err := c.run(ctx, conn.Conn(), outcomes)
	if err != nil || !expected {
		s.rollbackConn(ctx, conn.Conn())
		return nil, err
	}
	return outcomes, nil
}

// rollbackConn frees the connection also when the caller has gone.
func (s *Store) rollbackConn(ctx context.Context, conn *pgx.Conn) {
	if conn.IsClosed() || conn.PgConn().TxStatus() == 'I' {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.config.StatementTimeout)
	defer cancel()
	_, _ = conn.Exec(ctx, "rollback") // else the pool closes the connection, and PostgreSQL rolls back by itself
}

// run does both round trips. False: something is not as expected, and the transaction is still open.
func (c *wholeCommit) run(ctx context.Context, conn *pgx.Conn, outcomes []*controlplanev1.ObjectOutcome) (expected bool, err error) {
	expected, err = c.check(ctx, conn, outcomes)
	if err != nil || !expected || !c.whole.Follow(c.partitionIDs, c.producers) {
		return false, err
	}
	return true, c.write(ctx, conn)
}

// check is the first round trip.
func (c *wholeCommit) check(ctx context.Context, conn *pgx.Conn, outcomes []*controlplanev1.ObjectOutcome) (expected bool, err error) {
	keys, err := c.keys(outcomes)
	if err != nil {
		return false, err
	}
	var inserted []db.InsertWholeObjectsRow
	var sessions []db.LockSessionRow
	var states []db.ProducerStatesRow
	var moved, topics int64
	steps := []step{
		statement("begin isolation level read committed"),
		func(ctx context.Context, d db.DBTX) (err error) {
			inserted, err = db.New(d).InsertWholeObjects(ctx, keys)
			return err
		},
		func(ctx context.Context, d db.DBTX) (err error) {
			sessions, err = db.New(d).LockSession(ctx, c.session)
			return err
		},
	}
	if max(len(c.whole.Moves), len(c.producers.States)) > fewRows {
		steps = append(steps, func(ctx context.Context, d db.DBTX) error { return db.New(d).GoInOrder(ctx) })
	}
	steps = append(steps, c.move(&moved)...)
	steps = append(steps,
		func(ctx context.Context, d db.DBTX) (err error) {
			topics, err = db.New(d).CountLiveTopics(ctx, c.whole.Topics)
			return err
		})
	steps = append(steps, c.readProducers(&states)...)
	if _, err := roundTrip(ctx, conn, steps); err != nil {
		return false, fmt.Errorf("check a commit: %w", err)
	}
	if moved != int64(len(c.whole.Moves)) {
		c.store.partitionIDs.forget(c.whole.Topics) // they may be those of a catalog that went back in time
		return false, nil
	}
	c.objectIDs = make(map[string]int64, len(inserted))
	for _, row := range inserted {
		c.objectIDs[row.Key] = row.ObjectID
	}
	expected = len(inserted) == len(c.objects) && topics == int64(len(c.whole.Topics)) && c.mayCommit(sessions)
	return expected, c.knowProducers(states)
}

// mayCommit: the session is of this agent group, and has settled none of the objects.
func (c *wholeCommit) mayCommit(sessions []db.LockSessionRow) bool {
	if len(sessions) != 1 || store.AgentGroup(sessions[0].AgentGroup) != c.agentGroup {
		return false
	}
	for _, object := range c.objects {
		if commit.Settled(string(c.agentGroup), object.GetKey(), sessions[0].SettledObjectCounter) {
			return false
		}
	}
	return true
}

func (c *wholeCommit) keys(outcomes []*controlplanev1.ObjectOutcome) (arg db.InsertWholeObjectsParams, err error) {
	n := len(c.objects)
	arg = db.InsertWholeObjectsParams{
		SessionID: c.session, Keys: make([]string, n), SizesBytes: make([]int64, n), Outcomes: make([][]byte, n), ReferenceCounts: make([]int32, n),
	}
	for i, object := range c.objects {
		arg.Keys[i], arg.SizesBytes[i], arg.ReferenceCounts[i] = object.GetKey(), object.GetSizeBytes(), int32(len(object.GetSegments()))
		if arg.Outcomes[i], err = commit.EncodeOutcome(outcomes[i]); err != nil {
			return arg, err
		}
	}
	return arg, nil
}

// move locks, checks and moves the partitions, in order.
func (c *wholeCommit) move(moved *int64) (steps []step) {
	n := len(c.whole.Moves)
	if n <= fewRows {
		for i := range c.whole.Moves {
			steps = append(steps, c.moveOne(i, moved))
		}
		return steps
	}
	arg := db.MovePartitionsParams{
		TopicIds: c.whole.Topics, SessionID: c.session, AgentGroup: string(c.agentGroup), PartitionIds: c.partitionIDs,
		Topics: make([]int32, n), Partitions: make([]int32, n), Epochs: make([]int32, n),
		OldHighWatermarks: make([]int64, n), NewHighWatermarks: make([]int64, n),
	}
	for i, m := range c.whole.Moves {
		arg.Topics[i], arg.Partitions[i], arg.Epochs[i] = int32(m.Topic)+1, m.Partition, m.Epoch // SQL counts from 1
		arg.OldHighWatermarks[i], arg.NewHighWatermarks[i] = m.Old, m.New
	}
	return []step{func(ctx context.Context, d db.DBTX) (err error) {
		*moved, err = db.New(d).MovePartitions(ctx, arg)
		return err
	}}
}

func (c *wholeCommit) moveOne(i int, moved *int64) step {
	m := c.whole.Moves[i]
	arg := db.MovePartitionParams{
		NewHighWatermark: m.New, PartitionID: c.partitionIDs[i], TopicID: c.whole.Topics[m.Topic], Partition: m.Partition, SessionID: c.session,
		Epoch: m.Epoch, OldHighWatermark: m.Old, AgentGroup: string(c.agentGroup),
	}
	return func(ctx context.Context, d db.DBTX) error {
		rows, err := db.New(d).MovePartition(ctx, arg)
		*moved += rows
		return err
	}
}

func (c *wholeCommit) readProducers(states *[]db.ProducerStatesRow) (steps []step) {
	if len(c.producers.States) <= fewRows {
		for _, p := range c.producers.States {
			steps = append(steps, readProducer(p.PartitionID, p.ProducerID, states))
		}
		return steps
	}
	partitionIDs, producerIDs := make([]int64, len(c.producers.States)), make([]int64, len(c.producers.States))
	for i, p := range c.producers.States {
		partitionIDs[i], producerIDs[i] = p.PartitionID, p.ProducerID
	}
	return []step{func(ctx context.Context, d db.DBTX) (err error) {
		*states, err = db.New(d).ProducerStates(ctx, partitionIDs, producerIDs)
		return err
	}}
}

func readProducer(partitionID, producerID int64, states *[]db.ProducerStatesRow) step {
	return func(ctx context.Context, d db.DBTX) error {
		rows, err := db.New(d).ProducerState(ctx, partitionID, producerID)
		for _, row := range rows {
			*states = append(*states, db.ProducerStatesRow(row))
		}
		return err
	}
}

func (c *wholeCommit) knowProducers(rows []db.ProducerStatesRow) error {
	for _, row := range rows {
		state, err := producer.Decode(row.ProducerEpoch, row.Batches)
		if err != nil {
			return fmt.Errorf("partition %d, producer %d: %w", row.PartitionID, row.ProducerID, err)
		}
		c.producers.Know(commit.ProducerKey{PartitionID: row.PartitionID, ProducerID: row.ProducerID}, state)
	}
	return nil
}

// write is the second round trip. Nothing after the first error is done, the COMMIT least of all.
func (c *wholeCommit) write(ctx context.Context, conn *pgx.Conn) error {
	var segments int64
	steps := append(append(c.insertSegments(&segments), c.writeProducers()...), statement("commit"))
	failed, err := roundTrip(ctx, conn, steps)
	switch {
	case err == nil:
		return verdict("insert segments", segments, len(c.whole.Segments), nil)
	case surelyRolledBack(err) || (failed < len(steps)-1 && refusedByServer(err)):
		return fmt.Errorf("write a commit: %w", err)
	default:
		return &lostError{err}
	}
}

// refusedByServer: a statement failed, and the connection goes on.
func refusedByServer(err error) bool {
	answered, ok := errors.AsType[*pgconn.PgError](err)
	return ok && answered.SeverityUnlocalized == "ERROR"
}

func (c *wholeCommit) insertSegments(inserted *int64) (steps []step) {
	n := len(c.whole.Segments)
	if n <= fewRows {
		for _, s := range c.whole.Segments {
			steps = append(steps, c.insertSegment(s, inserted))
		}
		return steps
	}
	arg := db.InsertSegmentsParams{
		PartitionIds: make([]int64, n), BaseOffsets: make([]int64, n), ObjectIds: make([]int64, n), BytePositions: make([]int64, n),
		MaxTimestampsMs: make([]int64, n), RecordCounts: make([]int32, n), SizesBytes: make([]int32, n), Epochs: make([]int32, n),
		Crc32cs: make([]int32, n),
	}
	for i, s := range c.whole.Segments {
		arg.PartitionIds[i], arg.BaseOffsets[i] = c.partitionIDs[s.Move], s.Entry.GetBaseOffset()
		arg.ObjectIds[i], arg.BytePositions[i] = c.objectIDs[c.objects[s.Object].GetKey()], s.Entry.GetBytePosition()
		arg.MaxTimestampsMs[i], arg.RecordCounts[i] = s.Entry.GetMaxTimestampMs(), s.Entry.GetRecordCount()
		arg.SizesBytes[i], arg.Epochs[i], arg.Crc32cs[i] = s.Entry.GetSizeBytes(), s.Entry.GetEpoch(), int32(s.Entry.GetCrc32C())
	}
	return []step{func(ctx context.Context, d db.DBTX) (err error) {
		*inserted, err = db.New(d).InsertSegments(ctx, arg)
		return err
	}}
}

func (c *wholeCommit) insertSegment(s commit.WholeSegment, inserted *int64) step {
	arg := db.InsertSegmentParams{
		PartitionID: c.partitionIDs[s.Move], BaseOffset: s.Entry.GetBaseOffset(), ObjectID: c.objectIDs[c.objects[s.Object].GetKey()],
		BytePosition: s.Entry.GetBytePosition(), MaxTimestampMs: s.Entry.GetMaxTimestampMs(), RecordCount: s.Entry.GetRecordCount(),
		SizeBytes: s.Entry.GetSizeBytes(), Epoch: s.Entry.GetEpoch(), Crc32c: int32(s.Entry.GetCrc32C()),
	}
	return func(ctx context.Context, d db.DBTX) error {
		rows, err := db.New(d).InsertSegment(ctx, arg)
		*inserted += rows
		return err
	}
}

// writeProducers changes the producers that are known and adds the others. Their partitions' locks keep other commits away; their order does
// not matter, since whoever else takes their locks passes over what is locked (ForgetProducers).
func (c *wholeCommit) writeProducers() (steps []step) {
	var known db.ChangeProducersParams
	var fresh db.InsertProducersParams
	for _, p := range c.producers.States {
		if p.Known {
			known.PartitionIds, known.ProducerIds = append(known.PartitionIds, p.PartitionID), append(known.ProducerIds, p.ProducerID)
			known.ProducerEpochs, known.Batches = append(known.ProducerEpochs, p.State.Epoch), append(known.Batches, p.State.Encode())
		} else {
			fresh.PartitionIds, fresh.ProducerIds = append(fresh.PartitionIds, p.PartitionID), append(fresh.ProducerIds, p.ProducerID)
			fresh.ProducerEpochs, fresh.Batches = append(fresh.ProducerEpochs, p.State.Epoch), append(fresh.Batches, p.State.Encode())
		}
	}
	if known.Want = int64(len(known.PartitionIds)); known.Want > fewRows {
		steps = append(steps, func(ctx context.Context, d db.DBTX) error { return db.New(d).ChangeProducers(ctx, known) })
	} else {
		for i := range known.PartitionIds {
			steps = append(steps, changeProducer(known, i))
		}
	}
	if len(fresh.PartitionIds) > 0 {
		steps = append(steps, func(ctx context.Context, d db.DBTX) error { return db.New(d).InsertProducers(ctx, fresh) })
	}
	return steps
}

// changeProducer is one of them by itself.
func changeProducer(all db.ChangeProducersParams, i int) step {
	arg := db.ChangeProducerParams{
		ProducerEpoch: all.ProducerEpochs[i], Batches: all.Batches[i], PartitionID: all.PartitionIds[i], ProducerID: all.ProducerIds[i],
	}
	return func(ctx context.Context, d db.DBTX) error { return db.New(d).ChangeProducer(ctx, arg) }
}
