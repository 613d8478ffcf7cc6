package controltest

import (
	"context"
	"slices"
	"strings"
	"time"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1/controlplanev1connect"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
)

var _ controlplanev1connect.AgentServiceHandler = (*Control)(nil)

// heartbeatInterval is what Register answers.
const heartbeatInterval = time.Second

// Register supersedes a live session of the same agent.
func (c *Control) Register(_ context.Context, req *controlplanev1.RegisterRequest) (*controlplanev1.RegisterResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, old := range c.sessions {
		if old.registration != "" && old.registration == req.GetRegistrationId() {
			return c.registered(old), nil
		}
	}
	for _, old := range c.sessions {
		if old.agent.GetAgentId() == req.GetAgentId() && !old.ended {
			c.endSession(old, refusalv1.Reason_REASON_SESSION_SUPERSEDED)
		}
	}
	s := &sess{id: newUUID().String(), registration: req.GetRegistrationId(), calls: map[string]int{}, heartbeat: time.Now(), agent: &controlplanev1.PlacedAgent{
		AgentId: req.GetAgentId(), Zone: req.GetZone(), Address: req.GetAddress(),
	}}
	c.sessions[s.id] = s
	c.bump()
	c.place()
	return c.registered(s), nil
}

func (c *Control) registered(s *sess) *controlplanev1.RegisterResponse {
	return &controlplanev1.RegisterResponse{
		SessionId: s.id, SessionDurationMs: c.SessionDuration.Milliseconds(), HeartbeatIntervalMs: heartbeatInterval.Milliseconds(),
	}
}

// Heartbeat renews.
func (c *Control) Heartbeat(_ context.Context, req *controlplanev1.HeartbeatRequest) (*controlplanev1.HeartbeatResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := c.live(req.GetSessionId())
	if err != nil {
		return nil, err
	}
	s.heartbeat = time.Now()
	if req.GetReport() != nil {
		s.report = clone(req.GetReport())
	}
	if draining := req.GetDraining() || s.drain; s.agent.GetDraining() != draining || s.unfit != req.GetUnfit() || s.suspect {
		s.agent.Draining, s.unfit, s.suspect = draining, req.GetUnfit(), false
		c.bump()
	}
	c.place()
	s.shown, s.told = req.GetEvidence().GetCompleteFor(), req.GetEvidence()
	res := &controlplanev1.HeartbeatResponse{
		SessionDurationMs: c.SessionDuration.Milliseconds(), Placement: c.page(req.GetRevision()), CatalogStart: c.life, Drain: s.drain,
	}
	if c.halted {
		res.CatalogState = controlplanev1.CatalogState_CATALOG_STATE_HALTED
	}
	return res, nil
}

// Restart begins another life of the database.
func (c *Control) Restart(life string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.life = life
}

// Revoke makes an agent's key unknown.
func (c *Control) Revoke(agent string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.sessions {
		s.revoked = s.revoked || s.agent.GetAgentId() == agent
	}
}

// Drain has an agent drained: it counts as draining at once.
func (c *Control) Drain(agent string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.sessions {
		if s.agent.GetAgentId() == agent && !s.ended {
			s.drain, s.agent.Draining = true, true
		}
	}
	c.bump()
	c.place()
}

// Report is the last of an agent; nil: none yet.
func (c *Control) Report(agent string) *controlplanev1.AgentReport {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.sessions {
		if s.agent.GetAgentId() == agent && !s.ended {
			return s.report
		}
	}
	return nil
}

// Halt has heartbeats say that the catalog is halted, or not any more.
func (c *Control) Halt(halted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.halted = halted
}

// Shown is the life for which an agent has shown all its evidence, the last of that evidence, and how many leases anybody asked for before.
func (c *Control) Shown(agent string) (life string, last *controlplanev1.Evidence, unshown int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.sessions {
		if s.agent.GetAgentId() == agent && !s.ended {
			life, last = s.shown, s.told
		}
	}
	return life, last, c.unshown
}

// Watch streams changes.
func (c *Control) Watch(ctx context.Context, req *controlplanev1.WatchRequest, stream controlplanev1connect.AgentServiceWatchServerStream) error {
	revision := req.GetRevision()
	for {
		c.mu.Lock()
		_, err := c.live(req.GetSessionId())
		changed, page := c.changed, c.page(revision)
		c.mu.Unlock()
		if err != nil {
			return err
		}
		res := &controlplanev1.WatchResponse{}
		if page.GetRevision() > revision {
			res.Placement, revision = page, page.GetRevision()
		}
		if err := stream.Send(res); err != nil {
			return err
		}
		alive := time.NewTimer(time.Second)
		select {
		case <-changed:
		case <-alive.C:
		case <-ctx.Done():
			alive.Stop()
			return ctx.Err()
		}
		alive.Stop()
	}
}

// Deregister ends the session.
func (c *Control) Deregister(_ context.Context, req *controlplanev1.DeregisterRequest) (*controlplanev1.DeregisterResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.sessions[req.GetSessionId()]; s != nil && !s.ended {
		c.endSession(s, refusalv1.Reason_REASON_SESSION_EXPIRED)
		c.place()
	}
	return &controlplanev1.DeregisterResponse{}, nil
}

// Expire ends an agent's session, as if it had been silent.
func (c *Control) Expire(agent string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.sessions {
		if s.agent.GetAgentId() == agent && !s.ended {
			c.endSession(s, refusalv1.Reason_REASON_SESSION_EXPIRED)
		}
	}
	c.place()
}

func (c *Control) judge(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.sessions {
		silent := now.Sub(s.heartbeat)
		switch {
		case s.ended:
		case silent > c.SessionDuration:
			c.endSession(s, refusalv1.Reason_REASON_SESSION_EXPIRED)
		case silent > c.SuspectAfter && !s.suspect:
			s.suspect = true
			c.bump()
		}
	}
	c.place()
}

// endSession requires mu. Its partitions keep their epoch: the next tenure raises it.
func (c *Control) endSession(s *sess, cause refusalv1.Reason) {
	s.ended, s.cause = true, cause
	for _, p := range c.partitions {
		if p.session == s.id {
			p.revision = c.bump()
		}
	}
	c.bump()
}

// page is everything that has changed since a revision, and all live agents. Requires mu.
func (c *Control) page(after int64) *controlplanev1.Placement {
	page := &controlplanev1.Placement{Revision: c.revision}
	for _, t := range c.topics {
		if t.placed.GetRevision() > after {
			page.Topics = append(page.Topics, t.placed)
		}
	}
	for _, p := range c.partitions {
		if p.revision > after {
			page.Partitions = append(page.Partitions, c.placed(p))
		}
	}
	slices.SortFunc(page.Topics, func(a, b *controlplanev1.PlacedTopic) int { return int(a.GetRevision() - b.GetRevision()) })
	slices.SortFunc(page.Partitions, func(a, b *controlplanev1.PlacedPartition) int { return int(a.GetRevision() - b.GetRevision()) })
	for _, s := range c.sessions {
		if !s.ended {
			s.agent.Suspect = s.suspect
			page.Agents = append(page.Agents, s.agent)
		}
	}
	slices.SortFunc(page.Agents, func(a, b *controlplanev1.PlacedAgent) int { return strings.Compare(a.GetAgentId(), b.GetAgentId()) })
	return clone(page)
}

func (c *Control) placed(p *part) *controlplanev1.PlacedPartition {
	row := &controlplanev1.PlacedPartition{
		TopicId: topicBytes(p.id), Partition: p.id.Number, AssignedAgentId: p.assigned, Epoch: p.epoch, Revision: p.revision,
	}
	if s := c.sessions[p.session]; s != nil && !s.ended {
		row.LeaderAgentId, row.LeaderSessionId = s.agent.GetAgentId(), s.id
	}
	return row
}

func topicBytes(p partition.ID) []byte { return slices.Clone(p.Topic[:]) }
