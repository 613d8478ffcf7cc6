package client

import (
	"context"
	"math"
	"time"

	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// settle judges the outcomes of an attempt and moves its lanes on. First every entry gets its verdict, then callbacks run: one that waits
// for room holds up no room that this attempt could make.
func (p *Producer) settle(ctx context.Context, a *attempt, bases []int64, errs []*Error) {
	p.mu.Lock()
	delete(p.attempts, a)
	if p.requests[a.route]--; p.requests[a.route] == 0 {
		delete(p.requests, a.route)
	}
	for i := range a.entries {
		p.judge(ctx, a, i, bases[i], errs[i])
	}
	p.mu.Unlock()
	p.signal()
	for i, e := range a.entries {
		if i == 0 || e.lane != a.entries[i-1].lane {
			p.answer(e.lane)
		}
	}
}

// judge gives one entry its verdict, or schedules its next attempt. e is nil if the batch is stored. Requires: mu held.
func (p *Producer) judge(ctx context.Context, a *attempt, i int, base int64, e *Error) {
	l, b := a.entries[i].lane, a.entries[i].batch
	l.arrive(b)
	p.active[l] = struct{}{}
	step := decide(b, e, p.config.idempotent, l.leak == b.as.generation)
	again := step == stepRetry || step == stepRenew
	switch {
	case step == stepDone:
		l.distrust = 0 // whoever answered, the leader is alive
		if e != nil {
			base = UnknownOffset
		}
		p.conclude(l, b, base, nil)
	case p.stopped:
		p.conclude(l, b, UnknownOffset, closedError(b))
	case again && !time.Now().Before(b.deadline):
		p.conclude(l, b, UnknownOffset, timeoutError(b))
	case again && !p.config.noRetries:
		p.again(ctx, a, i, step, e)
		return
	case b.unresolved:
		p.conclude(l, b, UnknownOffset, e.but(PossiblyWritten))
	default:
		p.conclude(l, b, UnknownOffset, e)
	}
	if !l.repair {
		l.failures, l.notBefore = 0, time.Time{}
	}
}

// conclude gives a batch its verdict and frees its memory. base is the first offset, or UnknownOffset. Requires: mu held.
func (p *Producer) conclude(l *lane, b *batch, base int64, e *Error) {
	if e != nil {
		if e.Topic == "" {
			e = e.but(e.Written).at(l.home.name, l.partition)
		}
		if e.Reason == ReasonUnknownTopic {
			p.client.agents.forget(l.home.view.Load().topic)
		}
	}
	l.finish(b, base, e)
	p.stats.count(b)
	p.budget.give(b.reserved)
	l.weigh()
}

// answer runs the callbacks of the batches at the front of a lane that have a verdict, in order, unless that is being done.
func (p *Producer) answer(l *lane) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l.answering == nil && len(l.queue) > 0 && l.queue[0].done {
		b := l.queue[0]
		n := copy(l.queue, l.queue[1:])
		l.queue[n] = nil
		l.queue = l.queue[:n]
		l.answering = b
		p.mu.Unlock()
		b.answer(l.partition, p.orphaned)
		p.encoders.give(b.encoder)
		p.mu.Lock()
		l.answering = nil
		l.weigh()
		p.active[l] = struct{}{}
		p.signal()
	}
}

// again schedules the next attempt. Requires: mu held.
func (p *Producer) again(ctx context.Context, a *attempt, i int, step step, e *Error) {
	entry := a.entries[i]
	l := entry.lane
	l.repair = true
	p.stats.Retries++
	p.client.logger.DebugContext(ctx, "batch to be sent again", "topic", l.home.name, "partition", l.partition,
		"agent_url", a.route.url, "failures", l.failures, "error", e)
	if step == stepRenew {
		l.renew = true
		p.client.logger.WarnContext(ctx, "producer id given up", "topic", l.home.name, "partition", l.partition, "error", e)
		return
	}
	if !entry.batch.ahead && e.Reason.aboutSequence() {
		return // it waits for the one before it
	}
	if l.failures == 0 || l.failedIn != l.round {
		l.failures++
		l.failedIn = l.round
	}
	wait := max(backoff(l.failures), e.RetryAfter)
	if e.Reason == ReasonNotLeader || e.Reason == ReasonNoLeader || e.Reason == ReasonMoved || e.unanswered() || e.leader != nil {
		if now := p.client.agents.leaderOf(l.home.view.Load().topic, l.partition); now.epoch > entry.epoch && l.failures < 3 {
			wait = e.RetryAfter // somebody else leads: ask there at once
		} else {
			l.distrust = max(l.distrust, entry.epoch)
			p.refresh(ctx, l.home, a.route.url)
		}
	}
	if at := time.Now().Add(wait); at.After(l.notBefore) {
		l.notBefore = at
	}
}

// hear passes on whom an answer names as leader. An answer from the leader itself restores trust in its epoch.
func (p *Producer) hear(l *lane, r *refusalv1.Leader) {
	if r != nil && r.GetEpoch() >= 0 && r.GetEpoch() != math.MaxInt32 {
		p.client.agents.heard(l.home.view.Load().topic, l.partition, r)
	}
}
