package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

// DeleteRecords is the first step of retention by an operator's will, for all partitions that are named or for none. Unlike retention's it is
// on disk when it is answered.
func (s *Store) DeleteRecords(ctx context.Context, request *controlplanev1.DeleteRecordsRequest) (*controlplanev1.DeleteRecordsResponse, error) {
	numbers, offsets, err := recordsBefore(request.GetPartitions())
	if err != nil {
		return nil, err
	}
	var rows []db.DeleteRecordsRow
	err = s.write(ctx, harmless, func(ctx context.Context, q *db.Queries) error {
		if err := refuseUnverified(ctx, q); err != nil {
			return err
		}
		topic, err := getTopic(ctx, q, store.EveryAgentGroup, request.GetName())
		if err != nil {
			return err
		}
		if err := q.GoInOrder(ctx); err != nil {
			return fmt.Errorf("go in order: %w", err)
		}
		if rows, err = q.DeleteRecords(ctx, topic.TopicID, numbers, offsets); err != nil {
			return fmt.Errorf("raise log starts: %w", err)
		}
		if len(rows) < len(numbers) {
			return whyNotDeleted(ctx, q, topic, numbers, offsets)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(rows, func(a, b db.DeleteRecordsRow) int { return cmp.Compare(a.Partition, b.Partition) })
	response := &controlplanev1.DeleteRecordsResponse{}
	for _, row := range rows {
		response.Partitions = append(response.Partitions, &controlplanev1.LogStart{Partition: row.Partition, LogStartOffset: row.LogStartOffset})
	}
	return response, nil
}

// recordsBefore are the partitions in order, each once, and the offsets that go with them.
func recordsBefore(asked []*controlplanev1.RecordsBefore) (numbers []int32, offsets []int64, err error) {
	sorted := slices.SortedFunc(slices.Values(asked), func(a, b *controlplanev1.RecordsBefore) int { return cmp.Compare(a.GetPartition(), b.GetPartition()) })
	for i, one := range sorted {
		if i > 0 && one.GetPartition() == sorted[i-1].GetPartition() {
			return nil, nil, refuseField("partitions", fmt.Sprintf("name partition %d twice", one.GetPartition()))
		}
		numbers, offsets = append(numbers, one.GetPartition()), append(offsets, one.GetBeforeOffset())
	}
	return numbers, offsets, nil
}

// errMovedOn: what was refused a moment ago has become right. The transaction is run again.
var errMovedOn = errors.New("the partitions have moved on")

// whyNotDeleted finds the first partition at fault.
func whyNotDeleted(ctx context.Context, q *db.Queries, topic db.Topic, numbers []int32, offsets []int64) error {
	edges, err := q.PartitionEdges(ctx, topic.TopicID, numbers)
	if err != nil {
		return fmt.Errorf("read partitions: %w", err)
	}
	known := make(map[int32]db.PartitionEdgesRow, len(edges))
	for _, edge := range edges {
		known[edge.Partition] = edge
	}
	for i, number := range numbers {
		edge, found := known[number]
		switch {
		case !found:
			return aboutPartition(topic.Name, number, store.Refuse(refusalv1.Reason_REASON_UNKNOWN_PARTITION,
				"topic %q has no partition %d", topic.Name, number))
		case offsets[i] > edge.HighWatermark:
			refused := store.Refuse(refusalv1.Reason_REASON_OUT_OF_RANGE,
				"offset %d of partition %d is beyond its end %d: choose another one", offsets[i], number, edge.HighWatermark)
			refused.Refusal.Offsets = &refusalv1.Offsets{
				LogStartOffset: edge.LogStartOffset, HighWatermark: edge.HighWatermark, NextOffset: edge.HighWatermark,
			}
			return aboutPartition(topic.Name, number, refused)
		}
	}
	return errMovedOn
}

func aboutPartition(topic string, number int32, refused *store.Refused) error {
	refused.Refusal.Topic, refused.Refusal.Partition = topic, &number
	return refused
}
