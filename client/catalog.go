package client

import (
	"context"
	"time"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

// CatalogState says whether the catalog serves.
type CatalogState int8

const (
	// CatalogServing: all is well.
	CatalogServing = CatalogState(controlplanev1.CatalogState_CATALOG_STATE_SERVING)
	// CatalogVerifying: the database was restarted. No partition gets a new leader, and nothing is deleted, until every agent that lived has
	// shown that nothing was lost, or its session has ended.
	CatalogVerifying = CatalogState(controlplanev1.CatalogState_CATALOG_STATE_VERIFYING)
	// CatalogHalted: transactions were lost. Nothing is granted, stored, read or deleted until an operator adopts the catalog.
	CatalogHalted = CatalogState(controlplanev1.CatalogState_CATALOG_STATE_HALTED)
)

func (s CatalogState) String() string {
	switch s {
	case CatalogServing:
		return "serving"
	case CatalogVerifying:
		return "verifying"
	case CatalogHalted:
		return "halted"
	}
	return "unknown"
}

// CatalogStatus is how the catalog stands.
type CatalogStatus struct {
	State CatalogState
	// Incarnation is 0 to 255; it goes up with every adoption.
	Incarnation int32
	// Reasons say what was lost, a sentence each; empty: it is not halted.
	Reasons []string
	// HaltedAt is zero while it is not halted.
	HaltedAt time.Time
	// AwaitedAgentIDs are agents that have not shown their evidence since the database was restarted, at most 100; empty unless verifying.
	AwaitedAgentIDs []string
	// CatalogStart names the database server's current life.
	CatalogStart string
}

// CatalogStatus says whether the catalog may be trusted.
func (a *Admin) CatalogStatus(ctx context.Context) (CatalogStatus, error) {
	var status CatalogStatus
	err := a.call(ctx, true, func(ctx context.Context, s controlPlane) error {
		answer, err := s.catalog.GetCatalogStatus(ctx, &controlplanev1.GetCatalogStatusRequest{})
		status = CatalogStatus{
			State: CatalogState(answer.GetState()), Incarnation: answer.GetIncarnation(), Reasons: answer.GetReasons(),
			HaltedAt: timeFrom(answer.GetHaltedAt()), AwaitedAgentIDs: answer.GetAwaitedAgentIds(), CatalogStart: answer.GetCatalogStart(),
		}
		return err
	})
	return status, err
}

// AdoptCatalog accepts a halted catalog as it is, and returns its new incarnation. incarnation is the one that CatalogStatus answered. What the
// lost transactions had acknowledged cannot be read afterwards. Refused with ReasonCatalogNotHalted, or ReasonInvalid when the incarnation is
// another one by now. It is not repeated: after an error without an answer, CatalogStatus tells what became of it.
func (a *Admin) AdoptCatalog(ctx context.Context, incarnation int32) (adopted int32, err error) {
	err = a.call(ctx, false, func(ctx context.Context, s controlPlane) error {
		answer, err := s.catalog.AdoptCatalog(ctx, &controlplanev1.AdoptCatalogRequest{Incarnation: incarnation})
		adopted = answer.GetIncarnation()
		return err
	})
	return adopted, err
}
