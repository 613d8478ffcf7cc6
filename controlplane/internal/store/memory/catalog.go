package memory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// trust is whether the catalog may be trusted (section 8).
type trust struct {
	incarnation, newest int32 // newest: that anybody has spoken of
	life                string
	verified            bool
	haltedAt            time.Time
	reasons             []string // none: it is not halted
}

// halt may be called again, with the same reason or another. incarnation is the newest that the reason speaks of.
func (t *trust) halt(reason string, incarnation int32) {
	if len(t.reasons) == 0 {
		t.haltedAt = time.Now()
	}
	if !slices.Contains(t.reasons, reason) {
		t.reasons = append(t.reasons, reason)
	}
	t.newest = max(t.newest, incarnation)
}

func (t *trust) state() controlplanev1.CatalogState {
	switch {
	case len(t.reasons) > 0:
		return controlplanev1.CatalogState_CATALOG_STATE_HALTED
	case t.verified:
		return controlplanev1.CatalogState_CATALOG_STATE_SERVING
	default:
		return controlplanev1.CatalogState_CATALOG_STATE_VERIFYING
	}
}

// Restart begins another life, as a restart of a database would: nothing is verified any more.
func (s *Store) Restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trust.life += "+"
	s.trust.verified = false
}

// attest verifies the catalog once every session that lives, and ever gave evidence, has given all of it for this life.
func (s *Store) attest() {
	for _, n := range s.sessions {
		if n.lives() && n.evidenceFor != "" && n.evidenceFor != s.trust.life {
			return
		}
	}
	s.trust.verified = s.trust.verified || len(s.trust.reasons) == 0
}

// attend halts the catalog when it does not know what the agent was told.
func (s *Store) attend(name store.AgentGroup, n *session, request *controlplanev1.HeartbeatRequest) {
	told := request.GetEvidence()
	if s.forgot(name, n, told, request.GetRevision()) {
		s.trust.halt(fmt.Sprintf("what session %s was told is not known here", request.GetSessionId()), told.GetIncarnation())
		return
	}
	if n != nil && n.lives() && told.GetCompleteFor() == s.trust.life {
		n.evidenceFor = s.trust.life
	}
	s.attest()
}

func (s *Store) forgot(name store.AgentGroup, n *session, told *controlplanev1.Evidence, revision int64) bool {
	if told == nil || told.GetIncarnation() != s.trust.incarnation {
		return told.GetIncarnation() > s.trust.incarnation
	}
	if g := s.groups[name]; g == nil || revision > g.revision {
		return true
	}
	if key := told.GetObjectKey(); key != "" && s.objects[key] == nil {
		writer, counter, _ := writerOf(name, key)
		if of := s.sessions[writer]; of != nil && counter >= of.settled { // what is settled may be forgotten
			return true
		}
	}
	return slices.ContainsFunc(told.GetPartitions(), func(t *controlplanev1.PartitionEvidence) bool {
		of := s.topics[uuid.UUID(t.GetTopicId())]
		if of == nil {
			return n != nil && n.lives() // topics are forgotten when all who live know of their end
		}
		if of.deleted || of.group.name != name {
			return false
		}
		p := of.partition(t.GetPartition())
		return p == nil || p.epoch < t.GetEpoch() || p.highWatermark < t.GetHighWatermark()
	})
}

func (s *Store) refuseHalted() error {
	if len(s.trust.reasons) == 0 {
		return nil
	}
	return store.Refuse(refusalv1.Reason_REASON_CATALOG_HALTED, "the catalog is halted")
}

func (s *Store) refuseUnserved() error {
	if err := s.refuseHalted(); err != nil || s.trust.verified {
		return err
	}
	return &store.Refused{Refusal: verifying()}
}

func verifying() *refusalv1.Refusal {
	return &refusalv1.Refusal{Reason: refusalv1.Reason_REASON_CATALOG_UNAVAILABLE, Message: "the catalog is being verified"}
}

// CatalogStatus says whether it serves.
func (s *Store) CatalogStatus(context.Context) (*controlplanev1.GetCatalogStatusResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	response := &controlplanev1.GetCatalogStatusResponse{
		State: s.trust.state(), Incarnation: s.trust.incarnation, Reasons: slices.Clone(s.trust.reasons), CatalogStart: s.trust.life,
	}
	if response.GetState() == controlplanev1.CatalogState_CATALOG_STATE_HALTED {
		response.HaltedAt = timestamppb.New(s.trust.haltedAt)
	}
	if response.GetState() == controlplanev1.CatalogState_CATALOG_STATE_VERIFYING {
		for _, n := range s.sessions {
			if n.lives() && n.evidenceFor != "" && n.evidenceFor != s.trust.life {
				response.AwaitedAgentIds = append(response.AwaitedAgentIds, n.agentID)
			}
		}
		slices.Sort(response.GetAwaitedAgentIds())
	}
	return response, nil
}

// AdoptCatalog ends everything that was granted, and begins a new incarnation above every one that was spoken of.
func (s *Store) AdoptCatalog(_ context.Context, request *controlplanev1.AdoptCatalogRequest) (*controlplanev1.AdoptCatalogResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.trust.reasons) == 0 {
		return nil, store.Refuse(refusalv1.Reason_REASON_CATALOG_NOT_HALTED, "the catalog is not halted")
	}
	if request.GetIncarnation() != s.trust.incarnation {
		return nil, invalid("incarnation", "is not the current one")
	}
	s.jobs = nil
	incarnation := max(s.trust.incarnation, s.trust.newest) + 1
	s.trust = trust{incarnation: incarnation, newest: incarnation, life: s.trust.life, verified: true}
	for _, n := range s.sessions {
		if n.lives() {
			s.end(n, adopted)
		}
	}
	for _, t := range s.topics {
		for _, p := range t.partitions {
			p.cleaned = cleaned{}
		}
	}
	s.producerID = max(s.producerID, int64(incarnation)<<40)
	for _, g := range s.groups {
		g.upkeep.finished, g.upkeep.finishedAt = 0, time.Time{} // the newest checkpoint may be one of lost transactions
		g.revision = max(g.revision, int64(incarnation)<<48)
		s.restamp(g)
		s.sessionsChanged(g)
	}
	return &controlplanev1.AdoptCatalogResponse{Incarnation: incarnation}, nil
}

// restamp takes the leaders away and tells of every topic and partition anew.
func (s *Store) restamp(g *group) {
	var topics []*topic
	for _, t := range s.topics {
		if t.group == g {
			topics = append(topics, t)
		}
	}
	slices.SortFunc(topics, func(a, b *topic) int { return cmp.Compare(a.id.String(), b.id.String()) })
	for _, t := range topics {
		t.revision, t.recorded = s.stamp(g), 0
	}
	for _, t := range topics {
		for _, p := range t.partitions {
			p.endTenure(adopted)
			p.leader, p.epoch, p.revision = nil, s.trust.incarnation<<23, s.stamp(g)
		}
	}
}
