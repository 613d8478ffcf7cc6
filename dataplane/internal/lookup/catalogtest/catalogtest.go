// Package catalogtest is a catalog in memory for tests of reading: it answers Lookup as the control plane
// does, with the delays and failures that a test asks for. Nothing but tests may import it.
package catalogtest

import (
	"context"
	"sync"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// Catalog is safe for concurrent use; the zero value knows no topic.
type Catalog struct {
	mu    sync.Mutex
	delay time.Duration
	err   error
	rows  map[partition.ID]*row
	calls []*controlplanev1.LookupRequest
}

type row struct {
	epoch         int32
	logStart      int64
	highWatermark int64
	segments      []*controlplanev1.Segment
}

// Delay has every lookup answer so long after it has read: what is committed meanwhile is not in it.
func (c *Catalog) Delay(d time.Duration) { c.locked(func() { c.delay = d }) }

// Fail has every lookup fail, or none with nil.
func (c *Catalog) Fail(err error) { c.locked(func() { c.err = err }) }

// Add makes an empty partition, in epoch 1.
func (c *Catalog) Add(p partition.ID) {
	c.locked(func() {
		if c.rows == nil {
			c.rows = map[partition.ID]*row{}
		}
		c.rows[p] = &row{epoch: 1}
	})
}

// Remove deletes a partition.
func (c *Catalog) Remove(p partition.ID) { c.locked(func() { delete(c.rows, p) }) }

// Commit adds segments at the high watermark.
func (c *Catalog) Commit(p partition.ID, segments ...*controlplanev1.Segment) {
	c.locked(func() {
		r := c.rows[p]
		r.segments = append(r.segments, segments...)
		for _, s := range segments {
			r.highWatermark = s.GetBaseOffset() + int64(s.GetRecordCount())
		}
	})
}

// Replace exchanges all segments of a partition, as a compaction does.
func (c *Catalog) Replace(p partition.ID, segments ...*controlplanev1.Segment) {
	c.locked(func() { c.rows[p].segments = segments })
}

// Trim moves the log start, as retention does.
func (c *Catalog) Trim(p partition.ID, logStart int64) {
	c.locked(func() {
		r := c.rows[p]
		r.logStart = logStart
		for len(r.segments) > 0 && end(r.segments[0]) <= logStart {
			r.segments = r.segments[1:]
		}
	})
}

// SetEpoch begins a new tenure.
func (c *Catalog) SetEpoch(p partition.ID, epoch int32) { c.locked(func() { c.rows[p].epoch = epoch }) }

// Calls are the lookups that have started.
func (c *Catalog) Calls() []*controlplanev1.LookupRequest {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*controlplanev1.LookupRequest(nil), c.calls...)
}

func (c *Catalog) locked(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

// Lookup reads at once and answers after the delay.
func (c *Catalog) Lookup(ctx context.Context, req *controlplanev1.LookupRequest) (*controlplanev1.LookupResponse, error) {
	c.mu.Lock()
	c.calls = append(c.calls, req)
	delay, err := c.delay, c.err
	res := &controlplanev1.LookupResponse{}
	for _, q := range req.GetPartitions() {
		res.Outcomes = append(res.Outcomes, c.outcome(q))
	}
	c.mu.Unlock()
	if delay > 0 {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(delay):
		}
	}
	if err != nil {
		return nil, err
	}
	return res, nil
}

func (c *Catalog) outcome(q *controlplanev1.LookupPartition) *controlplanev1.LookupOutcome {
	o := &controlplanev1.LookupOutcome{TopicId: q.GetTopicId(), Partition: q.GetPartition()}
	r := c.rows[partition.ID{Topic: object.UUID(q.GetTopicId()), Number: q.GetPartition()}]
	if r == nil {
		o.Refusal = &refusalv1.Refusal{Reason: refusalv1.Reason_REASON_UNKNOWN_PARTITION, Message: "no such partition"}
		return o
	}
	o.Epoch, o.LogStartOffset, o.HighWatermark = r.epoch, r.logStart, r.highWatermark
	for _, s := range r.segments {
		switch p := q.GetPosition().(type) {
		case *controlplanev1.LookupPartition_Offset:
			if end(s) <= p.Offset {
				continue
			}
		case *controlplanev1.LookupPartition_TimestampMs:
			if len(o.GetSegments()) == 0 && s.GetMaxTimestampMs() < p.TimestampMs {
				continue
			}
		default:
			return o
		}
		if len(o.GetSegments()) == limit(q.GetMaxSegments()) {
			break
		}
		o.Segments = append(o.Segments, s)
	}
	return o
}

func limit(maxSegments int32) int {
	if maxSegments == 0 {
		return 100
	}
	return int(maxSegments)
}

func end(s *controlplanev1.Segment) int64 { return s.GetBaseOffset() + int64(s.GetRecordCount()) }
