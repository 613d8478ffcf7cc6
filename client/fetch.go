package client

import (
	"cmp"
	"context"
	"hash/fnv"
	"slices"
	"strconv"
	"time"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
)

const (
	fetchBytes      = 1 << 20 // of batches in one answer
	fetchPartitions = 500     // in one request
	hotWait         = 50      // ms that such a request waits at most
	fetchesAtAgent  = 4       // in flight to one agent, for partitions that have much to read
	fetchGrace      = 3 * time.Second
	mostPassed      = 4 // answers that others may have for each of a partition's, because they are behind
	mostDamaged     = 3 // times in a row that an answer makes no sense before that is an error
)

// run fetches for all partitions until ctx ends, then waits for the fetches.
func (k *Consumer) run(ctx context.Context) {
	timer := time.NewTimer(idleWake)
	defer timer.Stop()
	for ctx.Err() == nil {
		timer.Reset(k.dispatch(ctx))
		select {
		case <-ctx.Done():
		case <-k.wake:
		case <-timer.C:
		}
	}
}

// dispatch starts a fetch for the partitions that are idle, one for each agent, unless enough is held already. It
// returns when the next one is due.
func (k *Consumer) dispatch(ctx context.Context) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.failed != nil || k.buffered >= k.config.bufferBytes {
		return idleWake
	}
	now := time.Now()
	next := now.Add(idleWake)
	agents := k.client.agents.candidates()
	groups := map[*peer][]*cursor{}
	for _, c := range k.cursors {
		switch {
		case c.busy || c.ended():
		case c.notBefore.After(now):
			next = earlier(next, c.notBefore)
		default:
			if a := k.pick(agents, c.partition); a != nil {
				groups[a] = append(groups[a], c)
				continue
			}
			k.fail(failure(ReasonMisconfigured, "no agent is known: pass WithAgents"))
		}
	}
	for a, cs := range groups {
		k.share(ctx, a, cs)
	}
	return time.Until(next)
}

// share asks an agent for partitions: for those that have much to read by several requests at once, so that one answer is on
// its way while another is made; for the others by one, which waits. Requires: mu held.
func (k *Consumer) share(ctx context.Context, a *peer, cursors []*cursor) {
	slices.SortFunc(cursors, k.behind)
	var hot, cold []*cursor
	for _, c := range cursors {
		if c.hot {
			hot = append(hot, c)
		} else {
			cold = append(cold, c)
		}
	}
	for part := range slices.Chunk(cold, fetchPartitions) {
		k.start(ctx, a, part, false)
	}
	for free := fetchesAtAgent - k.fetches[a]; len(hot) > 0 && free > 0; free-- {
		n := portion(hot, min((len(hot)+free-1)/free, fetchPartitions))
		k.start(ctx, a, hot[:n], true)
		hot = hot[n:]
	}
}

// behind orders partitions by whose turn it is. Those with much to read go side by side in time, by the timestamps of what was read last: then
// they need the same objects at the same time, which the agent reads once for all, and a reader of all sees records roughly in the order in
// which they were written. Timestamps are the producers' own, so who waited for long comes first whatever they say. Requires: mu held.
func (k *Consumer) behind(a, b *cursor) int {
	passed := func(c *cursor) int {
		if k.served-c.served >= mostPassed*len(k.cursors) {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(passed(a), passed(b)), cmp.Compare(a.at, b.at), cmp.Compare(a.served, b.served))
}

// portion is how many of the partitions, at most most, one answer has room for, by what their last ones had. The others wait for the next
// request: which of them are behind may have changed by then.
func portion(cursors []*cursor, most int) int {
	size := 0
	for i, c := range cursors[:most] {
		if size += c.took; size >= fetchBytes {
			return i + 1
		}
	}
	return most
}

// pick chooses the agent for a partition: among the best ones (those of the zone, that answer and do not drain) the
// leader, who has the newest in memory; else always the same one, whose cache then has it. Requires: mu held.
func (k *Consumer) pick(agents []*peer, partition int32) *peer {
	if len(agents) == 0 {
		return nil
	}
	lead := k.client.agents.leaderOf(k.known, partition)
	best, most := agents[0], uint32(0)
	for _, a := range k.client.agents.equals(agents) {
		if a.url == lead.url {
			return a
		}
		h := fnv.New32a()
		_, _ = h.Write([]byte(a.url + "\x00" + k.topic.id + "\x00" + strconv.Itoa(int(partition)))) // never fails
		if sum := h.Sum32(); sum >= most {
			best, most = a, sum
		}
	}
	return best
}

// start fetches on a goroutine of its own. Requires: mu held.
func (k *Consumer) start(ctx context.Context, agent *peer, cursors []*cursor, hot bool) {
	r := &dataplanev1.FetchRequest{
		MaxWaitMs: int32(k.config.wait.Milliseconds()), MaxBytes: fetchBytes, ClientZone: k.client.zone,
	}
	for _, c := range cursors {
		c.busy = true
		r.Partitions = append(r.Partitions, &dataplanev1.FetchPartition{
			Topic:     &dataplanev1.FetchPartition_TopicId{TopicId: k.topic.id},
			Partition: c.partition, Offset: c.next,
		})
	}
	if hot {
		r.MaxWaitMs = min(r.GetMaxWaitMs(), hotWait) // others may be waiting for its turn
		k.fetches[agent]++
	}
	k.running.Go(func() {
		k.fetch(ctx, agent, cursors, r, hot)
		if hot {
			k.mu.Lock()
			if k.fetches[agent]--; k.fetches[agent] == 0 {
				delete(k.fetches, agent)
			}
			k.mu.Unlock()
			k.signal(k.wake)
		}
	})
}

// fetch makes one call and takes its answer over; hot: which will be large.
func (k *Consumer) fetch(ctx context.Context, agent *peer, cursors []*cursor, r *dataplanev1.FetchRequest, hot bool) {
	once, cancel := context.WithTimeout(ctx, k.config.wait+fetchGrace)
	defer cancel()
	began := time.Now()
	once, span := k.client.tracing.fetch(once, agent.url, k.topic.name)
	rpc := agent.rpc
	if hot {
		rpc = agent.bulk
	}
	memory := k.room()
	answer, err := rpc.Fetch(memory.with(once), r)
	if span != nil {
		failed(span, err)
		span.End()
	}
	if ctx.Err() != nil {
		return
	}
	if err == nil && len(answer.GetPartitions()) != len(cursors) {
		err = failure(ReasonNoAnswer, "%d partitions in answer to %d", len(answer.GetPartitions()), len(cursors))
	}
	var e *Error
	if err != nil {
		e = fromCall(err)
	}
	switch {
	case moved(e, answer):
		k.client.agents.leaving(agent)
	case e != nil && e.unanswered():
		k.client.agents.failed(agent)
		k.client.logger.WarnContext(ctx, "fetch failed", "agent_url", agent.url, "topic", k.topic.name, "error", e)
	default:
		k.client.agents.answered(agent)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if (e != nil || k.client.agents.age(k.known) > refreshAge) && !k.asking {
		k.asking = true
		k.running.Go(func() { k.refresh(ctx, agent) })
	}
	pause := pauseAfter(answer, time.Duration(r.GetMaxWaitMs())*time.Millisecond-time.Since(began))
	much := bytesOf(answer) >= fetchBytes/2
	held := k.hold(memory)
	for i, c := range cursors {
		c.busy = false
		c.hot = much && e == nil && hasMore(answer.GetPartitions()[i])
		c.notBefore = time.Now().Add(pause)
		if e != nil {
			k.setBack(ctx, c, e)
			continue
		}
		k.accept(ctx, c, r.GetPartitions()[i].GetOffset(), answer.GetPartitions()[i], held)
	}
	k.letGo(held)
	k.signal(k.wake)
	k.signal(k.filled)
}

// moved reports whether the agent says that it leaves.
func moved(e *Error, answer *dataplanev1.FetchResponse) bool {
	if e != nil {
		return e.Reason == ReasonMoved
	}
	return slices.ContainsFunc(answer.GetPartitions(), func(p *dataplanev1.FetchedPartition) bool {
		return Reason(p.GetRefusal().GetReason()) == ReasonMoved
	})
}

// hasMore reports whether there was something to read: what was answered, or what found no room in the answer.
func hasMore(f *dataplanev1.FetchedPartition) bool {
	return f.GetRefusal() == nil && (len(f.GetBatches()) > 0 || f.GetNextOffset() < f.GetHighWatermark())
}

func bytesOf(answer *dataplanev1.FetchResponse) int {
	n := 0
	for _, p := range answer.GetPartitions() {
		n += len(p.GetBatches())
	}
	return n
}

// pauseAfter keeps a caller that an agent answers with nothing, sooner than it was allowed to, from asking at once.
func pauseAfter(answer *dataplanev1.FetchResponse, early time.Duration) time.Duration {
	for _, p := range answer.GetPartitions() {
		if len(p.GetBatches()) > 0 {
			return 0
		}
	}
	if early > 0 {
		return leastBackoff
	}
	return 0
}

// refresh learns which agents there are, and of new partitions. The topic by this name may be another one by now; its agents are the same.
func (k *Consumer) refresh(ctx context.Context, failed *peer) {
	t, e := k.client.agents.refresh(ctx, k.topic.name, failed.url)
	if e != nil && e.Reason.transient() {
		k.client.logger.WarnContext(ctx, "agents not looked up", "topic", k.topic.name, "error", e)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asking = false
	if e == nil && t.id == k.topic.id {
		k.known = t
		k.grow(t.partitions)
	}
	k.signal(k.wake)
}

// grow reads partitions that the topic has got since, from the beginning: who reads from the end on wants all that comes, too.
// Requires: mu held.
func (k *Consumer) grow(partitions int32) {
	if !k.more {
		return
	}
	for p := int32(len(k.cursors)); p < partitions; p++ {
		k.cursors = append(k.cursors, &cursor{partition: p, end: -1})
	}
}

// accept takes over what was read of one partition, which lies in held. Requires: mu held.
func (k *Consumer) accept(ctx context.Context, c *cursor, asked int64, f *dataplanev1.FetchedPartition, held *holding) {
	if f.GetRefusal() != nil {
		k.setBack(ctx, c, fromRefusal(f.GetRefusal()))
		return
	}
	if len(f.GetBatches()) == 0 && f.GetNextOffset() <= asked {
		c.failures, c.stalled = 0, time.Time{}
		return
	}
	next, at, err := chain(f, asked)
	if err != nil {
		e := failure(ReasonDamagedData, "offset %d: %v", asked, err).wrap(err)
		if c.failures < mostDamaged {
			e.Reason = ReasonInternal // perhaps another agent's copy is better
		}
		k.setBack(ctx, c, e)
		return
	}
	c.failures, c.stalled, c.notBefore = 0, time.Time{}, time.Time{}
	c.next, c.at, c.took = next, max(at, c.at), len(f.GetBatches())
	k.served++
	c.served = k.served
	if len(f.GetBatches()) == 0 {
		return // only offsets without a record
	}
	k.ready = append(k.ready, fetched{cursor: c, batches: f.GetBatches(), from: asked, held: held.share()})
	k.buffered += len(f.GetBatches())
}

// chain checks that batches follow each other from the offset asked on, and returns the offset to go on with, and the last batch's greatest
// timestamp. Offsets may lie in no batch where key compaction has removed all their records, and then the agent has counted them: what it does
// not account for is a hole (P2).
func chain(f *dataplanev1.FetchedPartition, asked int64) (next, at int64, err error) {
	next = asked
	skipped := int64(0)
	for batch, err := range recordbatch.Split(f.GetBatches()) {
		if err != nil {
			return 0, 0, err
		}
		h, err := recordbatch.ParseHeader(batch)
		if err != nil {
			return 0, 0, err
		}
		if (next > asked && h.BaseOffset < next) || h.NextOffset() <= h.BaseOffset {
			return 0, 0, failure(ReasonDamagedData, "a batch of offsets %d to %d where %d follows", h.BaseOffset, h.LastOffset(), next)
		}
		skipped += max(0, h.BaseOffset-next)
		next, at = max(next, h.NextOffset()), h.MaxTimestamp
	}
	if next == asked && len(f.GetBatches()) > 0 {
		return 0, 0, failure(ReasonDamagedData, "batches below offset %d only", asked)
	}
	if end := f.GetNextOffset(); end > next {
		skipped += end - next
		next = end
	}
	if skipped != f.GetSkippedOffsets() {
		return 0, 0, failure(ReasonDamagedData, "%d offsets below %d are missing, the agent left out %d", skipped, next, f.GetSkippedOffsets())
	}
	return next, at, nil
}

// setBack makes a partition wait before its next fetch, or ends the consumer. Requires: mu held.
func (k *Consumer) setBack(ctx context.Context, c *cursor, e *Error) {
	now := time.Now()
	if c.stalled.IsZero() {
		c.stalled = now
	}
	c.failures++
	c.notBefore = now.Add(max(backoff(c.failures), e.RetryAfter))
	if e.Reason == ReasonMoved && c.failures == 1 {
		c.notBefore = now // to another agent, at once
	}
	switch {
	case e.Reason == ReasonOutOfRange && k.config.reset != ResetNever && e.Offsets != nil:
		k.reset(ctx, c, e.Offsets)
	case !e.Reason.transient() || now.Sub(c.stalled) >= k.config.stall:
		k.fail(e.at(k.topic.name, c.partition).but(WrittenNothing))
	}
}

// reset moves a cursor that is out of range. Requires: mu held.
func (k *Consumer) reset(ctx context.Context, c *cursor, o *Offsets) {
	to := o.LogStart
	if k.config.reset == ResetToEnd {
		to = o.HighWatermark
	}
	k.client.logger.WarnContext(ctx, "offset out of range", "topic", k.topic.name, "partition", c.partition,
		"offset", c.next, "log_start_offset", o.LogStart, "high_watermark", o.HighWatermark, "reset_to", to)
	c.next = to // delivered stays: what was fetched before may still wait for Poll
}

// fail ends the consumer. Requires: mu held.
func (k *Consumer) fail(e *Error) {
	if k.failed == nil {
		k.failed = e
	}
	k.signal(k.filled)
}
