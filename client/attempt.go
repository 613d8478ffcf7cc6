package client

import (
	"context"
	"errors"
	"sync"
	"time"

	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
)

const (
	attemptTimeout = 30 * time.Second // one attempt of an idempotent producer
	silentAfter    = 2 * time.Second  // an agent that has not answered is looked after this often
	outrunAfter    = time.Second      // an attempt is abandoned for a newer leader only when it is older
	lookEvery      = time.Second / 4  // from then on a newer leader is looked for this often
	probeTimeout   = time.Second      // silentAfter and this make 3 s
)

var errAbandoned = errors.New("abandoned: the agent is silent, or no longer the leader")

// attempt is one Produce request. All but its batches never changes; abandon is set before it starts.
type attempt struct {
	route   route
	entries []entry
	size    int
	started time.Time
	abandon context.CancelCauseFunc
}

// entry is a batch in a request.
type entry struct {
	lane  *lane
	batch *batch
	epoch int32 // of the leader as known when it was sent
}

// limit is how long the attempt may take: until the first of its batches gives up, and not so long that an
// producer that repeats sits on a dead connection; what is not repeated is waited for as long as it may take.
func (a *attempt) limit(repeats bool) time.Duration {
	first, last := a.entries[0].batch.deadline, a.entries[0].batch.deadline
	for _, e := range a.entries[1:] {
		first = earlier(first, e.batch.deadline)
		if e.batch.deadline.After(last) {
			last = e.batch.deadline
		}
	}
	if !repeats {
		return last.Sub(a.started)
	}
	return min(first.Sub(a.started), attemptTimeout)
}

// attempt sends a request and returns each entry's base offset or error. ctx ends with the attempt, root with the
// producer.
func (p *Producer) attempt(root, ctx context.Context, a *attempt) ([]int64, []*Error) {
	bases, errs := make([]int64, len(a.entries)), make([]*Error, len(a.entries))
	request, sent := p.request(a, errs)
	if len(sent) == 0 {
		return bases, errs
	}
	if a.route.url == "" {
		for _, i := range sent {
			errs[i] = failure(ReasonUnreachable, "no agent is known: pass WithAgents").wrote(SurelyNotWritten)
		}
		return bases, errs
	}
	ctx, span := p.client.tracing.request(ctx, a)
	defer func() { endRequest(span, errs) }()
	agent := p.client.agents.peer(a.route.url)
	answer, err := p.call(root, ctx, a, agent, request)
	if err == nil && len(answer.GetOutcomes()) != len(sent) {
		err = failure(ReasonNoAnswer, "%d outcomes for %d entries", len(answer.GetOutcomes()), len(sent)).wrote(PossiblyWritten)
	}
	if err != nil {
		p.blame(ctx, a, agent, fromCall(err), sent, errs)
		return bases, errs
	}
	p.client.agents.answered(agent)
	for k, i := range sent {
		outcome := answer.GetOutcomes()[k]
		bases[i], errs[i] = fromOutcome(outcome)
		p.hear(a.entries[i].lane, outcome.GetLeader())
		p.hear(a.entries[i].lane, outcome.GetRefusal().GetLeader())
	}
	return bases, errs
}

// request builds the message from the entries that can be encoded and lists their indexes.
func (p *Producer) request(a *attempt, errs []*Error) (*dataplanev1.ProduceRequest, []int) {
	r := &dataplanev1.ProduceRequest{
		Acks: dataplanev1.Acks_ACKS_DURABLE, NoForward: a.route.direct, ClientZone: p.client.zone,
		Entries: make([]*dataplanev1.ProduceEntry, 0, len(a.entries)),
	}
	if p.config.acks == AcksBuffered {
		r.Acks = dataplanev1.Acks_ACKS_BUFFERED
	}
	sent := make([]int, 0, len(a.entries))
	for i, e := range a.entries {
		encoded, err := e.batch.encoder.encode(e.batch.as.producer())
		if err != nil {
			errs[i] = err
			continue
		}
		sent = append(sent, i)
		r.Entries = append(r.Entries, &dataplanev1.ProduceEntry{
			Topic:     &dataplanev1.ProduceEntry_TopicId{TopicId: e.lane.home.id},
			Partition: &e.lane.partition, Payload: &dataplanev1.ProduceEntry_Batch{Batch: encoded},
		})
	}
	return r, sent
}

// call makes the call and looks after it meanwhile.
func (p *Producer) call(
	root, ctx context.Context, a *attempt, agent *peer, r *dataplanev1.ProduceRequest,
) (*dataplanev1.ProduceResponse, error) {
	watching, stop := context.WithCancel(ctx)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer stop()
	if p.config.repeats() {
		watch.Go(func() { p.watch(watching, a, agent) })
		watch.Go(func() { p.lookForNewer(root, watching, a) })
	}
	return agent.bulk.Produce(ctx, r)
}

// blame spreads the error of a whole call over its entries. One that names an entry refused that one, and
// appended none of them.
func (p *Producer) blame(ctx context.Context, a *attempt, agent *peer, e *Error, sent []int, errs []*Error) {
	switch {
	case !e.unanswered():
		p.client.agents.answered(agent)
	case ctx.Err() == nil || errors.Is(context.Cause(ctx), errAbandoned) || errors.Is(ctx.Err(), context.DeadlineExceeded):
		p.client.agents.failed(agent)
	}
	for k, i := range sent {
		a.entries[i].batch.encoder.shared = a.entries[i].batch.encoder.shared || e.unanswered()
		errs[i] = e
		if e.entry >= 0 && e.entry != k && len(sent) > 1 {
			errs[i] = failure(ReasonUnanswered, "another batch of the request was refused").wrote(e.Written)
		}
		p.hear(a.entries[i].lane, e.leader)
	}
}

func fromOutcome(o *dataplanev1.ProduceOutcome) (int64, *Error) {
	switch {
	case o.GetRefusal() != nil:
		return UnknownOffset, fromRefusal(o.GetRefusal())
	case o.GetStored() != nil:
		return o.GetStored().GetBaseOffset(), nil
	case o.GetBuffered() != nil:
		return UnknownOffset, nil
	}
	return UnknownOffset, failure(ReasonNoAnswer, "an outcome without content").wrote(PossiblyWritten)
}

// watch looks after an attempt that takes long: it asks the agent itself whether it is alive, and abandons the attempt if it is silent.
// Only for producers that repeat what may have been stored.
func (p *Producer) watch(ctx context.Context, a *attempt, agent *peer) {
	for sleep(ctx, silentAfter) == nil {
		probe, cancel := context.WithTimeout(ctx, probeTimeout)
		_, err := agent.rpc.GetMetadata(probe, &dataplanev1.GetMetadataRequest{})
		cancel()
		if err != nil && ctx.Err() == nil && fromCall(err).unanswered() {
			p.abandonAt(a.route.url)
			return
		}
	}
}

// abandonAt gives up all attempts at an agent that has not even answered a question.
func (p *Producer) abandonAt(url string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for a := range p.attempts {
		if a.route.url == url {
			a.abandon(errAbandoned)
		}
	}
}

// lookForNewer asks others who leads, while an attempt takes long. What it finds wakes run, which abandons the attempt if somebody else
// leads. Attempts of one topic ask together. Only for producers that repeat what may have been stored.
func (p *Producer) lookForNewer(root, ctx context.Context, a *attempt) {
	for wait := outrunAfter; sleep(ctx, wait) == nil; wait = lookEvery {
		p.mu.Lock()
		for home := range a.homes() {
			if p.client.agents.age(home.view.Load().topic) >= lookEvery {
				p.refresh(root, home, a.route.url)
			}
		}
		p.mu.Unlock()
	}
}

func (a *attempt) homes() map[*producerTopic]struct{} {
	all := make(map[*producerTopic]struct{})
	for _, e := range a.entries {
		all[e.lane.home] = struct{}{}
	}
	return all
}

// abandonOutrun gives up attempts at agents that have been replaced. Requires: mu held.
func (p *Producer) abandonOutrun(now time.Time) {
	if !p.config.repeats() {
		return
	}
	for a := range p.attempts {
		if now.Sub(a.started) < outrunAfter {
			continue
		}
		for _, e := range a.entries {
			lead := p.client.agents.leaderOf(e.lane.home.view.Load().topic, e.lane.partition)
			if lead.epoch > e.epoch && lead.url != a.route.url {
				a.abandon(errAbandoned)
			}
		}
	}
}
