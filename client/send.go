package client

import (
	"context"
	"time"
)

const (
	requestsAtLeader  = 32               // requests in flight to one leader: what they bring must fill objects while others are on their way to the bucket
	requestsForwarded = 64               // requests in flight through one agent, for partitions whose leader is not known
	refreshAge        = 30 * time.Second // leaders and agents are asked for anew when older
	idleWake          = time.Hour        // run looks up when woken, or then
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

// signal makes run look at the lanes.
func (p *Producer) signal() {
	select {
	case p.wake <- struct{}{}:
	default: // its token is still there
	}
}

// round is one look at all active lanes: the requests that it fills, by route.
type round struct {
	now  time.Time
	open map[route]*attempt
	next time.Time // when the next look is due
}

// dispatch starts attempts for every lane that is due, several lanes with the same leader in one request, and
// returns when the next one will be.
func (p *Producer) dispatch(ctx context.Context) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.collect()
	now := time.Now()
	p.abandonOutrun(now)
	r := &round{now: now, open: map[route]*attempt{}, next: now.Add(idleWake)}
	for l := range p.active {
		if !p.serve(ctx, r, l) {
			delete(p.active, l) // whatever it waits for makes it active again
		}
	}
	for _, a := range r.open {
		p.start(ctx, a)
	}
	return time.Until(r.next)
}

// look notes that a lane wants to be looked at again.
func (r *round) look(at time.Time) bool {
	if at.Before(r.next) {
		r.next = at
	}
	return true
}

// serve sends what a lane may send. It reports whether the lane is to be looked at again although nothing happens to it. Requires: mu held.
func (p *Producer) serve(ctx context.Context, r *round, l *lane) bool {
	linger := p.linger()
	open := l.take(p.budget, false, r.now.Add(-linger), p.config.inFlight)
	waits := !open.IsZero() && len(l.queue) < p.config.inFlight && r.look(open.Add(linger))
	first := l.first()
	switch {
	case first == nil:
		return waits
	case !first.flying && !r.now.Before(first.deadline):
		p.giveUp(l, first, timeoutError(first))
		return true
	case l.notBefore.After(r.now):
		return r.look(earlier(l.notBefore, first.deadline))
	case (l.repair || l.renew) && l.inFlight > 0:
		return false
	case p.needsIdentity(ctx, r, l):
		return r.look(first.deadline)
	}
	if l.repair {
		l.repair = false
		l.round++
	}
	return p.send(ctx, r, l) || waits
}

func (p *Producer) linger() time.Duration {
	if p.hurry.Load() > 0 || p.budget.crowded() {
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
	t := l.home.view.Load().topic
	lead, age := d.leaderAndAge(t, l.partition)
	if age > refreshAge {
		p.refresh(ctx, l.home, "")
	}
	if lead.url != "" && lead.epoch > l.distrust && d.up(lead.url) {
		return route{url: lead.url, direct: true}, lead.epoch
	}
	if l.inFlight > 0 && !l.route.direct { // one way for all that is in flight
		return l.route, lead.epoch
	}
	if other := p.client.anyAgent(lead.url); other != nil {
		return route{url: other.url}, lead.epoch
	}
	return route{}, lead.epoch
}

// send adds a lane's batches to the request along its route. The route changes only when nothing is in flight on the old one, else the new
// leader would see a gap. What has to be forwarded goes alone, so that a partition that waits for a leader holds up no other. It reports
// whether the lane is to be looked at again. Requires: mu held.
func (p *Producer) send(ctx context.Context, r *round, l *lane) bool {
	batches := l.next(p.config.inFlight)
	if len(batches) == 0 {
		return false
	}
	way, epoch := p.choose(ctx, l)
	if l.inFlight > 0 && l.route != way {
		return false
	}
	for _, b := range batches {
		a := r.open[way]
		if a != nil && a.size+b.size > p.config.requestBytes {
			p.start(ctx, a)
			delete(r.open, way)
			a = nil
		}
		if a == nil {
			if p.full(way) {
				return true // an attempt that ends wakes run
			}
			a = &attempt{route: way, started: r.now}
			p.requests[way]++
			r.open[way] = a
		}
		l.depart(b, way)
		a.size += b.size
		a.entries = append(a.entries, entry{lane: l, batch: b, epoch: epoch})
	}
	if a := r.open[way]; a != nil && !way.direct {
		p.start(ctx, a)
		delete(r.open, way)
	}
	l.weigh()
	return false
}

// full reports whether as many requests as may be are under way. Requires: mu held.
func (p *Producer) full(way route) bool {
	if way.direct {
		return p.requests[way] >= requestsAtLeader
	}
	return p.requests[way] >= requestsForwarded
}

// start runs an attempt on a goroutine of its own. Requires: mu held.
func (p *Producer) start(ctx context.Context, a *attempt) {
	once, abandon := context.WithCancelCause(ctx)
	a.abandon = abandon
	p.attempts[a] = struct{}{}
	p.running.Go(func() {
		defer abandon(nil)
		once, cancel := context.WithTimeout(once, a.limit(p.config.repeats()))
		defer cancel()
		bases, errs := p.attempt(ctx, once, a)
		p.settle(ctx, a, bases, errs)
	})
}

// refresh asks for a topic's leaders unless that is under way. Requires: mu held.
func (p *Producer) refresh(ctx context.Context, home *producerTopic, avoid string) {
	if p.refreshing[home.id] {
		return
	}
	p.refreshing[home.id] = true
	p.running.Go(func() {
		p.askAgain(ctx, home, avoid)
		p.mu.Lock()
		delete(p.refreshing, home.id)
		p.mu.Unlock()
		p.signal()
	})
}

// askAgain looks a topic up anew, at the agent at the URL avoid last.
func (p *Producer) askAgain(ctx context.Context, home *producerTopic, avoid string) {
	t, e := p.client.agents.refresh(ctx, home.name, avoid)
	switch {
	case e == nil && t.id == home.id:
		p.mu.Lock()
		p.adopt(t)
		p.mu.Unlock()
	case e != nil && ctx.Err() == nil:
		p.client.logger.WarnContext(ctx, "leaders not looked up", "topic", home.name, "error", e)
	}
}

// giveUp fails a batch that is not under way, off this goroutine since its callbacks run. Requires: mu held.
func (p *Producer) giveUp(l *lane, b *batch, e *Error) {
	p.conclude(l, b, UnknownOffset, e)
	p.running.Go(func() { p.answer(l) })
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
