package client

import (
	"context"
	"time"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
)

// appendTimeout bounds an Append whose context has no earlier deadline.
const appendTimeout = 2 * time.Minute

// Append stores records as one batch if the first of them gets the offset expected (AnyOffset: any), and returns
// that offset. It is a compare-and-append: of several writers that expect the same offset one wins, the others
// get ReasonExpectedOffset, with the actual offset in Error.Offsets.Next.
//
// It carries no sequence, so it never repeats what may have been written: a lost answer is reported as
// PossiblyWritten, and the caller reads the partition at expected to find out.
func (c *Client) Append(ctx context.Context, topic string, partition int32, expected int64, records ...*Record) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	t, e := c.agents.topic(ctx, topic)
	if e != nil {
		return 0, e
	}
	entry, e := appendEntry(t, partition, expected, records)
	if e != nil {
		return 0, e.at(topic, partition).wrote(SurelyNotWritten)
	}
	base, e := c.appendUntil(ctx, t, entry)
	if e != nil {
		if e.Reason == ReasonUnknownTopic {
			c.agents.forget(t)
		}
		return 0, e.at(topic, partition)
	}
	for i, r := range records {
		r.Topic, r.Partition, r.Offset = topic, partition, base+int64(i)
	}
	return base, nil
}

func appendEntry(t *topic, partition int32, expected int64, records []*Record) (*dataplanev1.ProduceEntry, *Error) {
	switch {
	case partition < 0 || partition >= t.partitions:
		return nil, failure(ReasonUnknownPartition, "the topic has %d partitions", t.partitions)
	case len(records) == 0:
		return nil, failure(ReasonEmptyBatch, "append at least one record")
	case expected < AnyOffset:
		return nil, failure(ReasonInvalid, "expected offset %d: must be at least 0, or AnyOffset", expected)
	}
	b := recordbatch.NewBuilder(recordbatch.LZ4, recordbatch.Limits{MaxRecordBytes: t.maxRecordBytes, KeysRequired: t.keysRequired})
	for _, r := range records {
		if err := b.Append(r.millis(), r.Key, r.Value, r.Headers); err != nil {
			return nil, fromEncoding(err)
		}
	}
	encoded, err := b.Build(recordbatch.NoProducer())
	if err != nil {
		return nil, fromEncoding(err)
	}
	entry := &dataplanev1.ProduceEntry{
		Topic:     &dataplanev1.ProduceEntry_TopicId{TopicId: t.id},
		Partition: &partition, Payload: &dataplanev1.ProduceEntry_Batch{Batch: encoded},
	}
	if expected != AnyOffset {
		entry.ExpectedOffset = &expected
	}
	return entry, nil
}

// appendUntil tries until there is an answer that another attempt would not change, or ctx ends.
func (c *Client) appendUntil(ctx context.Context, t *topic, entry *dataplanev1.ProduceEntry) (int64, *Error) {
	distrust := int32(0)
	for failures := 1; ; failures++ {
		lead := c.agents.leaderOf(t, entry.GetPartition())
		direct := lead.url != "" && lead.epoch > distrust && c.agents.up(lead.url)
		agent := c.anyAgent(lead.url)
		if direct {
			agent = c.agents.peer(lead.url)
		}
		base, e := c.appendOnce(ctx, t, agent, entry, direct)
		if e == nil || e.Written == PossiblyWritten || !e.Reason.transient() {
			return base, e
		}
		distrust = lead.epoch
		if sleep(ctx, max(backoff(failures), e.RetryAfter)) != nil {
			return 0, canceled(ctx, e.Error()).wrote(SurelyNotWritten)
		}
	}
}

// anyAgent is the best agent that is not at the URL avoid, if there is one; nil: none is known.
func (c *Client) anyAgent(avoid string) *peer {
	var best *peer
	for _, p := range c.agents.candidates() {
		if best == nil || (best.url == avoid && c.agents.up(p.url)) {
			best = p
		}
	}
	return best
}

func (c *Client) appendOnce(
	ctx context.Context, t *topic, agent *peer, entry *dataplanev1.ProduceEntry, direct bool,
) (int64, *Error) {
	if agent == nil {
		return 0, failure(ReasonUnreachable, "no agent is known: pass WithAgents").wrote(SurelyNotWritten)
	}
	answer, err := agent.bulk.Produce(ctx, &dataplanev1.ProduceRequest{
		NoForward: direct, ClientZone: c.zone, Entries: []*dataplanev1.ProduceEntry{entry},
	})
	if err != nil {
		e := fromCall(err)
		if e.unanswered() && ctx.Err() == nil {
			c.agents.failed(agent)
		}
		c.agents.heard(t, entry.GetPartition(), e.leader)
		return 0, e
	}
	c.agents.answered(agent)
	if len(answer.GetOutcomes()) != 1 {
		return 0, failure(ReasonNoAnswer, "%d outcomes for one entry", len(answer.GetOutcomes())).wrote(PossiblyWritten)
	}
	outcome := answer.GetOutcomes()[0]
	c.agents.heard(t, entry.GetPartition(), outcome.GetLeader())
	return fromOutcome(outcome)
}
