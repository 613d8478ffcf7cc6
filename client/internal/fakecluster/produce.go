package fakecluster

import (
	"context"
	"errors"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1/dataplanev1connect"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

var errLost = errors.New("the answer is lost")

// records answers as one agent.
type records struct {
	dataplanev1connect.UnimplementedRecordServiceHandler

	cluster *Cluster
	agent   *agent
}

func (s *records) Produce(ctx context.Context, r *dataplanev1.ProduceRequest) (*dataplanev1.ProduceResponse, error) {
	s.cluster.mu.Lock()
	hook := s.cluster.produce
	var fault Fault
	if s.cluster.latency != nil {
		fault.Late = s.cluster.latency()
	}
	s.cluster.mu.Unlock()
	if hook != nil {
		late := fault.Late
		fault = hook(s.agent.id, r)
		fault.Late = max(fault.Late, late)
	}
	if fault.Refuse != nil {
		return nil, fault.Refuse
	}
	answer, err := s.arrive(ctx, r, fault.Late)
	if fault.Hold != nil {
		select {
		case <-fault.Hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if fault.Lose {
		return nil, errLost
	}
	return answer, err
}

// arrive appends, perhaps after a while, although the caller may have given up by then.
func (s *records) arrive(ctx context.Context, r *dataplanev1.ProduceRequest, late time.Duration) (*dataplanev1.ProduceResponse, error) {
	if late == 0 {
		return s.append(ctx, r)
	}
	r = proto.CloneOf(r) // the caller may have its memory back
	type outcome struct {
		answer *dataplanev1.ProduceResponse
		err    error
	}
	arrived := make(chan outcome, 1) // its one outcome, so that nobody has to take it
	go func() {
		time.Sleep(late)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		answer, err := s.append(ctx, r)
		arrived <- outcome{answer, err}
	}()
	select {
	case o := <-arrived:
		return o.answer, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *records) append(ctx context.Context, r *dataplanev1.ProduceRequest) (*dataplanev1.ProduceResponse, error) {
	for i, e := range r.GetEntries() {
		if refused := s.cluster.check(r, e); refused != nil {
			refused.Entry = new(int32(i))
			return nil, Error(refused)
		}
	}
	answer := &dataplanev1.ProduceResponse{}
	for _, e := range r.GetEntries() {
		o := s.appendEntry(ctx, r, e)
		if refused := o.GetRefusal(); refused != nil && len(r.GetEntries()) == 1 {
			return nil, Error(refused)
		}
		answer.Outcomes = append(answer.Outcomes, o)
	}
	return answer, nil
}

// check refuses what is invalid whoever leads.
func (c *Cluster) check(r *dataplanev1.ProduceRequest, e *dataplanev1.ProduceEntry) *refusalv1.Refusal {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.find(e.GetTopicId(), e.GetTopicName())
	switch {
	case t == nil:
		return no(refusalv1.Reason_REASON_UNKNOWN_TOPIC, "no such topic")
	case int(e.GetPartition()) >= len(t.partitions):
		return no(refusalv1.Reason_REASON_UNKNOWN_PARTITION, "no such partition")
	case r.GetAcks() == dataplanev1.Acks_ACKS_BUFFERED && !t.config.GetAllowBufferedAcks():
		return no(refusalv1.Reason_REASON_BUFFERED_ACKS_NOT_ALLOWED, "not allowed")
	}
	limits := recordbatch.Limits{MaxRecordBytes: int(t.config.GetMaxRecordBytes()), KeysRequired: t.keysRequired()}
	if _, err := recordbatch.Verify(e.GetBatch(), limits, new(recordbatch.Scratch)); err != nil {
		reason := refusalv1.Reason_REASON_CORRUPT_BATCH
		if be, ok := errors.AsType[*recordbatch.Error](err); ok && be.Reason == recordbatch.RecordTooLarge {
			reason = refusalv1.Reason_REASON_RECORD_TOO_LARGE
		} else if ok && be.Reason == recordbatch.NoKey {
			reason = refusalv1.Reason_REASON_INVALID
		}
		return no(reason, "%v", err)
	}
	return nil
}

// find requires mu held.
func (c *Cluster) find(id, name string) *topic {
	if id != "" {
		return c.byID[id]
	}
	return c.topics[name]
}

// appendEntry appends as the leader, or on behalf of it: then it waits for one that lives.
func (s *records) appendEntry(ctx context.Context, r *dataplanev1.ProduceRequest, e *dataplanev1.ProduceEntry) *dataplanev1.ProduceOutcome {
	c := s.cluster
	began := time.Now()
	for {
		c.mu.Lock()
		t := c.find(e.GetTopicId(), e.GetTopicName())
		if t == nil {
			c.mu.Unlock()
			return outcome("", e, no(refusalv1.Reason_REASON_UNKNOWN_TOPIC, "no such topic"))
		}
		p := t.partitions[e.GetPartition()]
		lead := c.leader(p)
		if p.leader == s.agent.id || (!r.GetNoForward() && c.alive(p.leader) && !c.agent(p.leader).frozen()) {
			o := p.append(t, r, e)
			left := c.patience - time.Since(began)
			if left > 0 && ctx.Err() == nil && o.GetRefusal().GetReason() == refusalv1.Reason_REASON_SEQUENCE_GAP {
				changed := c.changed
				c.mu.Unlock()
				wait(ctx, changed, left)
				continue
			}
			o.Leader = lead
			c.change()
			c.mu.Unlock()
			return o
		}
		changed := c.changed
		c.mu.Unlock()
		if r.GetNoForward() {
			refused := no(refusalv1.Reason_REASON_NOT_LEADER, "somebody else leads")
			refused.Leader = lead
			return outcome(t.id, e, refused)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return outcome(t.id, e, Refusal(refusalv1.Reason_REASON_UNANSWERED, refusalv1.Written_WRITTEN_POSSIBLY, "no leader in time"))
		}
	}
}

// wait waits for a change, but not longer than d.
func wait(ctx context.Context, changed <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-ctx.Done():
	}
}

func outcome(topicID string, e *dataplanev1.ProduceEntry, r *refusalv1.Refusal) *dataplanev1.ProduceOutcome {
	return &dataplanev1.ProduceOutcome{
		TopicId: topicID, Partition: e.GetPartition(), Outcome: &dataplanev1.ProduceOutcome_Refusal{Refusal: r},
	}
}

// leader requires mu held.
func (c *Cluster) leader(p *partition) *refusalv1.Leader {
	if p.leader == "" {
		return &refusalv1.Leader{Epoch: p.epoch}
	}
	a := c.agent(p.leader)
	return &refusalv1.Leader{AgentId: a.id, Address: a.address, Zone: a.zone, Epoch: p.epoch}
}

// append requires mu held.
func (p *partition) append(t *topic, r *dataplanev1.ProduceRequest, e *dataplanev1.ProduceEntry) *dataplanev1.ProduceOutcome {
	h, err := recordbatch.ParseHeader(e.GetBatch())
	if err != nil {
		return outcome(t.id, e, no(refusalv1.Reason_REASON_CORRUPT_BATCH, "%v", err))
	}
	o := &dataplanev1.ProduceOutcome{TopicId: t.id, Partition: e.GetPartition()}
	repeat, refused := p.judge(&h)
	if refused == nil && repeat == nil && e.ExpectedOffset != nil && e.GetExpectedOffset() != p.next {
		refused = no(refusalv1.Reason_REASON_EXPECTED_OFFSET, "the next offset is %d", p.next)
		refused.Offsets = &refusalv1.Offsets{LogStartOffset: p.start, HighWatermark: p.next, NextOffset: p.next}
	}
	switch {
	case refused != nil:
		return outcome(t.id, e, refused)
	case repeat != nil:
		o.Outcome = &dataplanev1.ProduceOutcome_Stored{Stored: &dataplanev1.Stored{BaseOffset: repeat.base, Duplicate: true}}
	case r.GetAcks() == dataplanev1.Acks_ACKS_BUFFERED:
		p.note(&h, -1)
		p.memory = append(p.memory, held{batch: e.GetBatch(), info: h})
		o.Outcome = &dataplanev1.ProduceOutcome_Buffered{Buffered: &dataplanev1.Buffered{}}
	default:
		p.note(&h, p.next)
		o.Outcome = &dataplanev1.ProduceOutcome_Stored{Stored: &dataplanev1.Stored{BaseOffset: p.store(e.GetBatch(), &h)}}
	}
	return o
}

// store makes a batch readable and returns its base offset. Requires mu held.
func (p *partition) store(batch []byte, h *recordbatch.Header) int64 {
	base := p.next
	batch = slices.Clone(batch)
	if err := recordbatch.Stamp(batch, base, p.epoch); err != nil {
		panic(err) // its header was parsed
	}
	p.next = base + int64(h.RecordCount)
	p.log = append(p.log, stored{base: base, next: p.next, batch: batch})
	return base
}

// FlushBuffered makes what leaders hold in memory durable.
func (c *Cluster) FlushBuffered() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.byID {
		for _, p := range t.partitions {
			for _, h := range p.memory {
				p.store(h.batch, &h.info)
			}
			p.memory = nil
		}
	}
	c.change()
}
