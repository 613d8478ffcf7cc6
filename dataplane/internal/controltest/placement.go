package controltest

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

// place assigns what has no fit agent to the one with the fewest partitions. Requires mu.
func (c *Control) place() {
	if c.holds {
		return
	}
	load := map[string]int{}
	for _, s := range c.sessions {
		if !s.ended && !s.suspect && !s.unfit && !s.agent.GetDraining() {
			load[s.agent.GetAgentId()] = 0
		}
	}
	if len(load) == 0 {
		return
	}
	unfit := false
	for _, p := range c.partitions {
		if _, fit := load[p.assigned]; fit {
			load[p.assigned]++
		} else {
			unfit = true
		}
	}
	if !unfit {
		return
	}
	for _, p := range c.ordered() {
		if _, fit := load[p.assigned]; fit {
			continue
		}
		ids := slices.Sorted(maps.Keys(load))
		least := slices.MinFunc(ids, func(a, b string) int { return load[a] - load[b] })
		load[least]++
		p.assigned, p.revision = least, c.bump()
	}
}

func (c *Control) ordered() []*part {
	return slices.SortedFunc(maps.Values(c.partitions), func(a, b *part) int {
		return cmp.Or(bytes.Compare(a.id.Topic[:], b.id.Topic[:]), cmp.Compare(a.id.Number, b.id.Number))
	})
}

// Acquire grants by section 3 of the protocol.
func (c *Control) Acquire(_ context.Context, req *controlplanev1.AcquireRequest) (*controlplanev1.AcquireResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	res := &controlplanev1.AcquireResponse{}
	s, err := c.live(req.GetSessionId())
	if s != nil {
		s.calls["acquire"]++
	}
	if err == nil && s.shown != c.life {
		c.unshown++
	}
	for _, want := range req.GetPartitions() {
		out := &controlplanev1.AcquireOutcome{TopicId: want.GetTopicId(), Partition: want.GetPartition()}
		var grant *controlplanev1.Grant
		var refused *refusalv1.Refusal
		if err != nil {
			refused, _ = refusal.Of(err)
		} else {
			grant, refused = c.grant(s, want)
		}
		if refused != nil {
			out.Outcome = &controlplanev1.AcquireOutcome_Refusal{Refusal: refused}
		} else {
			out.Outcome = &controlplanev1.AcquireOutcome_Grant{Grant: grant}
		}
		res.Outcomes = append(res.Outcomes, out)
	}
	return res, nil
}

func (c *Control) grant(s *sess, want *controlplanev1.AcquirePartition) (*controlplanev1.Grant, *refusalv1.Refusal) {
	p := c.partitions[partition.ID{Topic: object.UUID(want.GetTopicId()), Number: want.GetPartition()}]
	if p == nil {
		return nil, refusal.New(refusalv1.Reason_REASON_UNKNOWN_TOPIC, "no such partition")
	}
	if s.agent.GetDraining() {
		return nil, refusal.New(refusalv1.Reason_REASON_AGENT_DRAINING, "draining")
	}
	if p.session == s.id && p.epoch > want.GetLastEndedEpoch() {
		return c.grantOf(p), nil
	}
	if holder := c.sessions[p.session]; p.session != s.id && holder != nil && !holder.ended && !holder.suspect {
		return nil, refusal.New(refusalv1.Reason_REASON_LEASE_HELD, "held by %s", holder.agent.GetAgentId())
	}
	if p.assigned != "" && p.assigned != s.agent.GetAgentId() && c.alive(p.assigned) {
		return nil, refusal.New(refusalv1.Reason_REASON_NOT_ASSIGNED, "assigned to %s", p.assigned)
	}
	c.begin(p, s.id)
	return c.grantOf(p), nil
}

func (c *Control) alive(agent string) bool {
	for _, s := range c.sessions {
		if !s.ended && s.agent.GetAgentId() == agent {
			return true
		}
	}
	return false
}

// begin starts a tenure of a session, "" for nobody.
func (c *Control) begin(p *part, session string) {
	p.session, p.revision = session, c.bump()
	if session != "" {
		p.epoch, p.first = p.epoch+1, p.high
	}
}

func (c *Control) grantOf(p *part) *controlplanev1.Grant {
	g := &controlplanev1.Grant{Epoch: p.epoch, TenureFirstOffset: p.first, HighWatermark: p.high, ProducersComplete: true}
	for id, state := range p.producers {
		if id%2 == 0 { // the others are looked up
			g.Producers = append(g.Producers, clone(state))
		} else {
			g.ProducersComplete = false
		}
	}
	return g
}

// Release ends tenures and grants them to those to whom placement has given them.
func (c *Control) Release(_ context.Context, req *controlplanev1.ReleaseRequest) (*controlplanev1.ReleaseResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	res := &controlplanev1.ReleaseResponse{}
	if s := c.sessions[req.GetSessionId()]; s != nil {
		s.calls["release"]++
	}
	for _, r := range req.GetPartitions() {
		out := &controlplanev1.ReleaseOutcome{TopicId: r.GetTopicId(), Partition: r.GetPartition()}
		p := c.partitions[partition.ID{Topic: object.UUID(r.GetTopicId()), Number: r.GetPartition()}]
		if p != nil && p.session == req.GetSessionId() && p.epoch == r.GetEpoch() {
			out.Released = true
			c.begin(p, c.sessionOf(p.assigned, req.GetSessionId()))
		}
		if p != nil {
			out.Leader = c.leaderOf(p)
		}
		res.Outcomes = append(res.Outcomes, out)
	}
	return res, nil
}

// leaderOf names who leads, nil for nobody.
func (c *Control) leaderOf(p *part) *refusalv1.Leader {
	s := c.sessions[p.session]
	if s == nil || s.ended {
		return nil
	}
	return &refusalv1.Leader{AgentId: s.agent.GetAgentId(), Address: s.agent.GetAddress(), Zone: s.agent.GetZone(), Epoch: p.epoch}
}

// sessionOf is the live session of an agent, unless it is the given one.
func (c *Control) sessionOf(agent, not string) string {
	for id, s := range c.sessions {
		if !s.ended && s.agent.GetAgentId() == agent && id != not {
			return id
		}
	}
	return ""
}

// ResolveTopics finds topics.
func (c *Control) ResolveTopics(_ context.Context, req *controlplanev1.ResolveTopicsRequest) (*controlplanev1.ResolveTopicsResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	res := &controlplanev1.ResolveTopicsResponse{}
	for id, t := range c.topics {
		named := slices.Contains(req.GetNames(), t.placed.GetName()) ||
			slices.ContainsFunc(req.GetTopicIds(), func(b []byte) bool { return object.UUID(b) == id })
		if named && !t.placed.GetDeleted() {
			res.Topics = append(res.Topics, clone(t.placed))
		}
	}
	return res, nil
}

// clone copies what leaves the lock.
func clone[M proto.Message](m M) M { return proto.CloneOf(m) }
