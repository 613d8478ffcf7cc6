package client

import (
	"context"
	"time"

	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
)

// Position is a place in a partition.
type Position struct {
	edge   dataplanev1.OffsetEdge // 0: not an edge
	time   time.Time              // zero: not a time
	offset int64
}

// Beginning is the first offset that can be read.
func Beginning() Position { return Position{edge: dataplanev1.OffsetEdge_OFFSET_EDGE_EARLIEST} }

// End is the first offset that cannot be read yet.
func End() Position { return Position{edge: dataplanev1.OffsetEdge_OFFSET_EDGE_LATEST} }

// At is the offset itself.
func At(offset int64) Position { return Position{offset: offset} }

// AtTime is the first record whose timestamp is at or after t; without one, the end.
func AtTime(t time.Time) Position { return Position{time: t} }

func (p Position) message() *dataplanev1.OffsetPosition {
	switch {
	case p.edge != 0:
		return &dataplanev1.OffsetPosition{Position: &dataplanev1.OffsetPosition_Edge{Edge: p.edge}}
	case !p.time.IsZero():
		return &dataplanev1.OffsetPosition{Position: &dataplanev1.OffsetPosition_TimestampMs{TimestampMs: ceilMillis(p.time)}}
	}
	return &dataplanev1.OffsetPosition{Position: &dataplanev1.OffsetPosition_Offset{Offset: p.offset}}
}

// ceilMillis rounds up, since "at or after" a time between two milliseconds begins with the later one.
func ceilMillis(t time.Time) int64 {
	ms := t.UnixMilli()
	if t.Sub(time.UnixMilli(ms)) > 0 {
		ms++
	}
	return ms
}

// PartitionOffsets are the offsets of one partition.
type PartitionOffsets struct {
	Partition int32
	// Offset is what was asked for.
	Offset int64
	// Timestamp is that of the record at Offset, where one was looked for by time and found; else zero.
	Timestamp time.Time
	// LogStart is the first offset that can be read.
	LogStart int64
	// HighWatermark is the first offset that cannot be read yet.
	HighWatermark int64
}

const listOffsetsPage = 500 // partitions in a request

// ListOffsets looks a position up in partitions of a topic, in the order given; none: all of them. An offset (At)
// must lie between log start and high watermark, else ReasonOutOfRange.
func (c *Client) ListOffsets(ctx context.Context, topic string, at Position, partitions ...int32) ([]PartitionOffsets, error) {
	t, partitions, err := c.selectPartitions(ctx, topic, partitions)
	if err != nil {
		return nil, err
	}
	positions := make([]Position, len(partitions))
	for i := range positions {
		positions[i] = at
	}
	return c.listOffsets(ctx, t, partitions, positions)
}

// selectPartitions checks partitions against the topic; none means all.
func (c *Client) selectPartitions(ctx context.Context, name string, partitions []int32) (*topic, []int32, error) {
	t, e := c.agents.refresh(ctx, name, "") // not the cache: the topic may have been made anew
	if e != nil {
		return nil, nil, e.but(WrittenNothing)
	}
	if len(partitions) == 0 {
		for p := range t.partitions {
			partitions = append(partitions, p)
		}
	}
	for _, p := range partitions {
		if p < 0 || p >= t.partitions {
			return nil, nil, failure(ReasonUnknownPartition, "the topic has %d partitions", t.partitions).at(name, p)
		}
	}
	return t, partitions, nil
}

// listOffsets asks for positions[i] in partitions[i], many at a time.
func (c *Client) listOffsets(ctx context.Context, t *topic, partitions []int32, positions []Position) ([]PartitionOffsets, error) {
	all := make([]PartitionOffsets, 0, len(partitions))
	for len(partitions) > 0 {
		n := min(len(partitions), listOffsetsPage)
		page, err := c.listOffsetsPage(ctx, t, partitions[:n], positions[:n])
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		partitions, positions = partitions[n:], positions[n:]
	}
	return all, nil
}

func (c *Client) listOffsetsPage(ctx context.Context, t *topic, partitions []int32, positions []Position) ([]PartitionOffsets, error) {
	r := &dataplanev1.ListOffsetsRequest{}
	for i, p := range partitions {
		r.Partitions = append(r.Partitions, &dataplanev1.ListOffsetsPartition{
			Topic:     &dataplanev1.ListOffsetsPartition_TopicId{TopicId: t.id},
			Partition: p, Position: positions[i].message(),
		})
	}
	var found []PartitionOffsets
	e := c.agents.ask(ctx, "", func(ctx context.Context, agent *peer) error {
		answer, err := agent.rpc.ListOffsets(ctx, r)
		if err != nil {
			return err
		}
		found, err = listed(t, partitions, answer.GetOffsets())
		return err
	})
	if e != nil {
		if e.Topic == "" || e.Topic == t.id {
			e = e.at(t.name, e.Partition)
		}
		return nil, e.but(WrittenNothing)
	}
	return found, nil
}

func listed(t *topic, partitions []int32, offsets []*dataplanev1.ListedOffset) ([]PartitionOffsets, error) {
	if len(offsets) != len(partitions) {
		return nil, failure(ReasonNoAnswer, "%d offsets for %d partitions", len(offsets), len(partitions))
	}
	found := make([]PartitionOffsets, 0, len(offsets))
	for i, o := range offsets {
		if o.GetRefusal() != nil {
			return nil, fromRefusal(o.GetRefusal()).at(t.name, partitions[i])
		}
		po := PartitionOffsets{
			Partition: partitions[i], Offset: o.GetOffset(), LogStart: o.GetLogStartOffset(), HighWatermark: o.GetHighWatermark(),
		}
		if o.TimestampMs != nil {
			po.Timestamp = time.UnixMilli(o.GetTimestampMs())
		}
		found = append(found, po)
	}
	return found, nil
}
