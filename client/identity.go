package client

import (
	"context"
	"time"

	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
)

// needsIdentity reports whether the lane has to wait for a producer id, and sees to it that one is asked for.
// Requires: mu held; nothing is in flight if the lane is to be renewed.
func (p *Producer) needsIdentity(ctx context.Context, r *round, l *lane) bool {
	switch {
	case !p.config.idempotent:
		l.identity, l.renew = anonymous, false
		return false
	case l.identity.generation > 0 && !l.renew:
		return false
	case p.identity.generation > l.identity.generation:
		l.adopt(p.identity)
		return false
	case !p.allocating && !r.now.Before(p.allocateAfter):
		p.allocating = true
		p.running.Go(func() { p.allocate(ctx) })
	case !p.allocating:
		r.look(p.allocateAfter)
	}
	return true
}

// allocate asks for a producer id.
func (p *Producer) allocate(ctx context.Context) {
	var answer *dataplanev1.AllocateProducerIdResponse
	e := p.client.agents.ask(ctx, "", func(ctx context.Context, agent *peer) (err error) {
		answer, err = agent.rpc.AllocateProducerId(ctx, &dataplanev1.AllocateProducerIdRequest{})
		return err
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.allocating = false
	defer p.signal()
	if e == nil {
		p.allocateFails = 0
		p.identity = identity{
			id: answer.GetProducerId(), epoch: int16(answer.GetProducerEpoch()), generation: p.identity.generation + 1,
		}
		return
	}
	if ctx.Err() != nil {
		return
	}
	p.allocateFails++
	p.allocateAfter = time.Now().Add(backoff(p.allocateFails))
	p.client.logger.WarnContext(ctx, "no producer id", "error", e)
	p.failWaiting(e)
}

// failWaiting notes why lanes wait for a producer id, and fails their batches if that will not change.
// Requires: mu held.
func (p *Producer) failWaiting(e *Error) {
	for l := range p.active {
		if l.identity.generation > 0 && !l.renew {
			continue
		}
		b := l.first()
		if b == nil {
			continue
		}
		b.last = e
		if !e.Reason.transient() && !b.flying {
			p.giveUp(l, b, e.but(SurelyNotWritten))
		}
	}
}
