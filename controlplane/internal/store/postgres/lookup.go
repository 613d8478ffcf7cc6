package postgres

import (
	"cmp"
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

const (
	// defaultSegments of a partition are answered where a lookup does not say how many.
	defaultSegments = 100
	// lookupSegments is how many segments a lookup answers in all, so that the message stays below 4 MiB; they are shared evenly, at
	// least one each.
	lookupSegments = 20_000
)

// Positions, as the query LookupPartitions numbers them.
const (
	positionNone = iota
	positionOffset
	positionTimestamp
)

// Lookup reads partitions and segments in one statement, hence one snapshot.
func (s *Store) Lookup(ctx context.Context, agentGroup store.AgentGroup, request *controlplanev1.LookupRequest) (*controlplanev1.LookupResponse, error) {
	arg, err := lookupColumns(request.GetPartitions())
	if err != nil {
		return nil, err
	}
	outcomes := make([]*controlplanev1.LookupOutcome, len(request.GetPartitions()))
	err = s.read(ctx, func(ctx context.Context, q *db.Queries) error {
		rows, err := q.LookupPartitions(ctx, arg)
		if err != nil {
			return fmt.Errorf("look up partitions: %w", err)
		}
		clear(outcomes)
		for _, row := range rows {
			addLookupRow(outcomes, agentGroup, arg, row)
		}
		if err := refuseMissing(ctx, q, agentGroup, arg, outcomes); err != nil {
			return err
		}
		return refuseUnserved(ctx, q) // later than the lookup: it may have been answered by another server than the next statement
	})
	if err != nil {
		return nil, err
	}
	return &controlplanev1.LookupResponse{Outcomes: outcomes}, nil
}

func lookupColumns(lookups []*controlplanev1.LookupPartition) (db.LookupPartitionsParams, error) {
	n := len(lookups)
	arg := db.LookupPartitionsParams{
		TopicIds: make([]uuid.UUID, n), Partitions: make([]int32, n), Positions: make([]int32, n),
		Offsets: make([]int64, n), MaxSegments: make([]int32, n), Ordinals: make([]int32, n),
	}
	share := int32(max(1, lookupSegments/max(1, n)))
	for i, l := range lookups {
		topic, err := uuid.FromBytes(l.GetTopicId())
		if err != nil {
			return arg, refuseEntry(i, "topic_id", "must be 16 bytes")
		}
		arg.TopicIds[i], arg.Partitions[i], arg.Ordinals[i] = topic, l.GetPartition(), int32(i)
		arg.MaxSegments[i] = l.GetMaxSegments()
		if arg.MaxSegments[i] == 0 {
			arg.MaxSegments[i] = defaultSegments
		}
		arg.MaxSegments[i] = min(arg.MaxSegments[i], share)
		switch position := l.GetPosition().(type) {
		case *controlplanev1.LookupPartition_Offset:
			arg.Positions[i], arg.Offsets[i] = positionOffset, position.Offset
		case *controlplanev1.LookupPartition_TimestampMs:
			arg.Positions[i], arg.Offsets[i] = positionTimestamp, position.TimestampMs
		default:
			arg.Positions[i] = positionNone
		}
	}
	return arg, nil
}

func addLookupRow(outcomes []*controlplanev1.LookupOutcome, agentGroup store.AgentGroup, arg db.LookupPartitionsParams, row db.LookupPartitionsRow) {
	i := row.Ordinal
	if row.Deleted { // answered like a topic that never was
		return
	}
	if outcomes[i] == nil {
		outcomes[i] = lookupOutcome(agentGroup, arg.TopicIds[i], arg.Partitions[i], row)
	}
	if outcomes[i].GetRefusal() == nil && row.BaseOffset >= 0 {
		outcomes[i].Segments = append(outcomes[i].Segments, &controlplanev1.Segment{
			ObjectKey: row.ObjectKey, BytePosition: row.BytePosition, SizeBytes: row.SizeBytes, Crc32C: uint32(row.Crc32c),
			BaseOffset: row.BaseOffset, RecordCount: row.RecordCount, Epoch: row.SegmentEpoch, MaxTimestampMs: row.MaxTimestampMs,
			ObjectSizeBytes: row.ObjectSizeBytes,
		})
	}
}

func lookupOutcome(agentGroup store.AgentGroup, topic uuid.UUID, partition int32, row db.LookupPartitionsRow) *controlplanev1.LookupOutcome {
	outcome := &controlplanev1.LookupOutcome{TopicId: topic[:], Partition: partition}
	if store.AgentGroup(row.AgentGroup) != agentGroup { // P7
		outcome.Refusal = &refusalv1.Refusal{
			Reason: refusalv1.Reason_REASON_WRONG_AGENT_GROUP, Topic: topic.String(), Partition: &partition,
			Message: fmt.Sprintf("the topic belongs to another agent group than %s", agentGroup),
		}
		return outcome
	}
	outcome.Epoch, outcome.LogStartOffset, outcome.HighWatermark = row.Epoch, row.LogStartOffset, row.HighWatermark
	if row.LeaderSessionID != nil {
		outcome.LeaderSessionId = row.LeaderSessionID.String()
	}
	return outcome
}

// refuseMissing fills the outcomes of partitions that were not found.
func refuseMissing(ctx context.Context, q *db.Queries, agentGroup store.AgentGroup,
	arg db.LookupPartitionsParams, outcomes []*controlplanev1.LookupOutcome,
) error {
	var missing []uuid.UUID
	for i, outcome := range outcomes {
		if outcome == nil {
			missing = append(missing, arg.TopicIds[i])
		}
	}
	topics, err := liveTopics(ctx, q, missing)
	if err != nil {
		return err
	}
	for i, outcome := range outcomes {
		if outcome == nil {
			key := commit.PartitionKey{Topic: arg.TopicIds[i], Number: arg.Partitions[i]}
			outcomes[i] = &controlplanev1.LookupOutcome{TopicId: key.Topic[:], Partition: key.Number, Refusal: refuseUnknown(topics, agentGroup, key)}
		}
	}
	return nil
}

// LookupProducers reads producers and epochs in one statement.
func (s *Store) LookupProducers(ctx context.Context, agentGroup store.AgentGroup, request *controlplanev1.LookupProducersRequest) (
	*controlplanev1.LookupProducersResponse, error,
) {
	arg := db.LookupProducersParams{AgentGroup: string(agentGroup)}
	for i, l := range request.GetLookups() {
		topic, err := uuid.FromBytes(l.GetTopicId())
		if err != nil {
			return nil, refuseEntry(i, "topic_id", "must be 16 bytes")
		}
		arg.TopicIds, arg.Partitions = append(arg.TopicIds, topic), append(arg.Partitions, l.GetPartition())
		arg.ProducerIds, arg.Ordinals = append(arg.ProducerIds, l.GetProducerId()), append(arg.Ordinals, int32(i))
	}
	var rows []db.LookupProducersRow
	err := s.read(ctx, func(ctx context.Context, q *db.Queries) (err error) {
		if rows, err = q.LookupProducers(ctx, arg); err != nil {
			return fmt.Errorf("look up producers: %w", err)
		}
		return refuseUnserved(ctx, q)
	})
	if err != nil {
		return nil, err
	}
	return producerOutcomes(request, rows)
}

func producerOutcomes(request *controlplanev1.LookupProducersRequest, rows []db.LookupProducersRow) (*controlplanev1.LookupProducersResponse, error) {
	response := &controlplanev1.LookupProducersResponse{}
	for range request.GetLookups() {
		response.Outcomes = append(response.Outcomes, &controlplanev1.ProducerLookupOutcome{})
	}
	for _, row := range rows {
		outcome := response.GetOutcomes()[row.Ordinal]
		outcome.Epoch = row.Epoch
		if row.ProducerEpoch < 0 {
			continue
		}
		id := request.GetLookups()[row.Ordinal].GetProducerId()
		state, err := producer.Decode(int16(row.ProducerEpoch), row.Batches)
		if err != nil {
			return nil, fmt.Errorf("producer %d: %w", id, err)
		}
		outcome.State = state.Message(id)
	}
	return response, nil
}

// AllocateProducerIds takes a range. A range that was taken and not answered is lost, which is harmless.
func (s *Store) AllocateProducerIds(ctx context.Context, request *controlplanev1.AllocateProducerIdsRequest) (
	*controlplanev1.AllocateProducerIdsResponse, error,
) {
	var first int64
	err := s.read(ctx, func(ctx context.Context, q *db.Queries) (err error) {
		first, err = q.TakeProducerIDs(ctx, int64(request.GetCount()))
		if errors.Is(err, pgx.ErrNoRows) {
			return cmp.Or(refuseUnserved(ctx, q), error(&store.Refused{Refusal: verifyingRefusal()}))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return &controlplanev1.AllocateProducerIdsResponse{FirstProducerId: first}, nil
}
