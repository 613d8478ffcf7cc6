package client

import (
	"context"
	"math"
	"time"

	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

const (
	maxRequestBytes = 3 << 20          // of batches, uncompressed, in one request; an agent takes 4 MiB
	refreshAge      = 30 * time.Second // leaders and agents are asked for anew when older
	idleWake        = time.Hour        // run looks up when woken, or then
)

// run starts what is due until ctx ends, then waits for what it started.
func (p *Producer) run(ctx context.Context) {
	timer := time.NewTimer(idleWake)
	defer timer.Stop()
	for ctx.Err() == nil {
		timer.Reset(p.dispatch(ctx))
		select {
		case <-ctx.Done():
		case <-p.wake:
		case <-p.news:
		case <-timer.C:
		}
	}
}

// dispatch starts an attempt for every lane that is due, several lanes with the same leader in one request, and
// returns when the next one will be.
func (p *Producer) dispatch(ctx context.Context) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.abandonOutrun(now)
	next := now.Add(idleWake)
	byRoute := map[route]*attempt{}
	for l := range p.active {
		at := l.due(p.linger())
		if at.After(now) {
			next = earlier(next, at)
			continue
		}
		b := l.head()
		switch {
		case !now.Before(b.deadline):
			p.giveUp(l, b, timeoutError(b))
		case p.needsIdentity(ctx, l, now):
			next = earlier(next, b.deadline)
			if !p.allocating {
				next = earlier(next, p.allocateAfter)
			}
		default:
			p.join(ctx, byRoute, l, b, now)
		}
	}
	for _, a := range byRoute {
		p.start(ctx, a)
	}
	return time.Until(next)
}

func (p *Producer) linger() time.Duration {
	if p.flushing > 0 || p.buffered > int64(p.config.bufferBytes)/2 {
		return 0
	}
	return p.config.linger
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// route is where a batch is sent. Not direct: to an agent that is to forward it.
type route struct {
	url    string
	direct bool
}

// choose finds the way: to the leader, if one is known that has not just failed; else to any other agent, which
// waits for a new leader and forwards. Requires: mu held.
func (p *Producer) choose(ctx context.Context, l *lane) (route, int32) {
	d := p.client.agents
	t := l.home.topic
	lead := d.leaderOf(t, l.partition)
	if d.age(t) > refreshAge {
		p.refresh(ctx, l.home, "")
	}
	if lead.url != "" && lead.epoch > l.distrust && d.up(lead.url) {
		return route{url: lead.url, direct: true}, lead.epoch
	}
	if other := p.client.anyAgent(lead.url); other != nil {
		return route{url: other.url}, lead.epoch
	}
	return route{}, lead.epoch
}

// join adds a lane's first batch to the request along its route. What has to be forwarded goes alone, so that a
// partition that waits for a leader holds up no other. Requires: mu held.
func (p *Producer) join(ctx context.Context, byRoute map[route]*attempt, l *lane, b *batch, now time.Time) {
	way, epoch := p.choose(ctx, l)
	a := byRoute[way]
	size := b.size
	if a != nil && a.size+size > maxRequestBytes {
		p.start(ctx, a)
		a = nil
	}
	if a == nil {
		a = &attempt{route: way, started: now}
	}
	l.busy = true
	delete(p.active, l)
	b.attempts++
	a.size += size
	a.entries = append(a.entries, entry{lane: l, batch: b, as: l.identity, epoch: epoch})
	if way.direct {
		byRoute[way] = a
		return
	}
	p.start(ctx, a)
}

// start runs an attempt on a goroutine of its own. Requires: mu held.
func (p *Producer) start(ctx context.Context, a *attempt) {
	once, abandon := context.WithCancelCause(ctx)
	a.abandon = abandon
	p.attempts[a] = struct{}{}
	p.running.Go(func() {
		defer abandon(nil)
		once, cancel := context.WithTimeout(once, a.limit(p.config.idempotent))
		defer cancel()
		bases, errs := p.attempt(ctx, once, a)
		p.settleAll(ctx, a, bases, errs)
	})
}

// needsIdentity reports whether the lane has to wait for a producer id, and sees to it that one is asked for.
// Requires: mu held.
func (p *Producer) needsIdentity(ctx context.Context, l *lane, now time.Time) bool {
	if !p.config.idempotent {
		l.identity = identity{id: -1, epoch: -1, next: -1}
		return false
	}
	if l.identity.generation > 0 && !l.renew {
		return false
	}
	if p.identity.generation > l.identity.generation {
		l.identity, l.renew = p.identity, false
		return false
	}
	if !p.allocating && !now.Before(p.allocateAfter) {
		p.allocating = true
		p.running.Go(func() { p.allocate(ctx) })
	}
	return true
}

// refresh asks for a topic's leaders unless that is under way. Requires: mu held.
func (p *Producer) refresh(ctx context.Context, home *producerTopic, avoid string) {
	if p.refreshing[home.topic.id] {
		return
	}
	id := home.topic.id
	p.refreshing[id] = true
	p.running.Go(func() {
		p.askAgain(ctx, home, avoid)
		p.mu.Lock()
		delete(p.refreshing, id)
		p.mu.Unlock()
		p.signal()
	})
}

// askAgain looks a topic up anew, at the agent at the URL avoid last.
func (p *Producer) askAgain(ctx context.Context, home *producerTopic, avoid string) {
	p.mu.Lock()
	id, name := home.topic.id, home.topic.name
	p.mu.Unlock()
	t, e := p.client.agents.refresh(ctx, name, avoid)
	switch {
	case e == nil && t.id == id:
		p.mu.Lock()
		home.update(t)
		p.mu.Unlock()
	case e != nil && ctx.Err() == nil:
		p.client.logger.WarnContext(ctx, "leaders not looked up", "topic", name, "error", e)
	}
}

// giveUp fails a batch that is not under way, off this goroutine since its callbacks run. Requires: mu held.
func (p *Producer) giveUp(l *lane, b *batch, e *Error) {
	l.busy = true
	delete(p.active, l)
	p.running.Go(func() { p.conclude(l, b, UnknownOffset, e) })
}

func timeoutError(b *batch) *Error {
	e := failure(ReasonDeliveryTimeout, "not sent yet").wrote(SurelyNotWritten)
	if b.last != nil {
		e.Message = "the last attempt: " + b.last.Error()
		e = e.wrap(b.last)
	}
	if b.unresolved {
		e.Written = PossiblyWritten
	}
	return e
}

// conclude ends a batch: it frees its memory, tells those who wait, and then lets the lane go on, so that
// callbacks of a partition run in order. base is the first offset, or UnknownOffset.
func (p *Producer) conclude(l *lane, b *batch, base int64, e *Error) {
	p.mu.Lock()
	l.finish(b, e == nil)
	p.stats.count(b, e)
	if b.builder != nil {
		p.builders.give(b.builder)
	}
	b.builder, b.encoded = nil, nil
	p.release(b.bytes)
	topic := l.home.topic.name
	p.mu.Unlock()
	if e != nil && e.Topic == "" {
		e = e.at(topic, l.partition)
	}
	b.answer(l.partition, base, e, p.orphaned)
	p.mu.Lock()
	p.idle(l)
	p.mu.Unlock()
}

// idle lets the lane be looked at again. Requires: mu held.
func (p *Producer) idle(l *lane) {
	l.busy = false
	if !l.empty() {
		p.active[l] = struct{}{}
		p.signal()
	}
}

// settle judges one entry's outcome and moves its lane on. e is nil if the batch is stored.
func (p *Producer) settle(ctx context.Context, a *attempt, i int, base int64, e *Error) {
	l, b := a.entries[i].lane, a.entries[i].batch
	p.mu.Lock()
	step := decide(b, e, p.config.idempotent)
	if p.stopped && step != stepDone {
		step, e = stepFail, closedError(b)
	}
	if step == stepRetry || step == stepRenew {
		if time.Now().Before(b.deadline) {
			p.again(ctx, a, i, step, e)
			p.mu.Unlock()
			return
		}
		step, e = stepFail, timeoutError(b)
	}
	l.failures, l.notBefore = 0, time.Time{}
	if step == stepDone {
		l.distrust = 0 // whoever answered, the leader is alive
	}
	p.mu.Unlock()
	if step == stepDone {
		p.conclude(l, b, base, nil)
		return
	}
	if b.unresolved {
		e = e.but(PossiblyWritten)
	}
	if e.Reason == ReasonUnknownTopic {
		p.client.agents.forget(l.home.topic)
	}
	p.conclude(l, b, UnknownOffset, e)
}

// again schedules the next attempt. Requires: mu held.
func (p *Producer) again(ctx context.Context, a *attempt, i int, step step, e *Error) {
	entry := a.entries[i]
	l := entry.lane
	l.failures++
	p.stats.Retries++
	p.client.logger.DebugContext(ctx, "batch to be sent again", "topic", l.home.topic.name, "partition", l.partition,
		"agent_url", a.route.url, "failures", l.failures, "error", e)
	wait := max(backoff(l.failures), e.RetryAfter)
	if step == stepRenew {
		l.renew = true
		p.client.logger.WarnContext(ctx, "producer id given up", "topic", l.home.topic.name, "partition", l.partition, "error", e)
		wait = 0
	}
	if e.Reason == ReasonNotLeader || e.Reason == ReasonNoLeader || e.unanswered() || e.leader != nil {
		if now := p.client.agents.leaderOf(l.home.topic, l.partition); now.epoch > entry.epoch && l.failures < 3 {
			wait = e.RetryAfter // somebody else leads: ask there at once
		} else {
			l.distrust = max(l.distrust, entry.epoch)
			p.refresh(ctx, l.home, a.route.url)
		}
	}
	l.notBefore = time.Now().Add(wait)
	p.idle(l)
}

// hear passes on whom an answer names as leader. An answer from the leader itself restores trust in its epoch.
func (p *Producer) hear(l *lane, r *refusalv1.Leader) {
	if r == nil || r.GetEpoch() < 0 || r.GetEpoch() == math.MaxInt32 {
		return
	}
	p.mu.Lock()
	t := l.home.topic
	p.mu.Unlock()
	p.client.agents.heard(t, l.partition, r)
}
