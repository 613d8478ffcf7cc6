package store

import (
	"context"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

// Catalog is whether the catalog itself may be trusted (protocol, section 8). Heartbeats bring the evidence; a halted catalog refuses
// with CATALOG_HALTED to grant, commit, read, create or delete anything. Until a new life of the database is verified, no tenure begins and
// nothing is deleted (CATALOG_UNAVAILABLE); commits and lookups wait for that, too, at most a few seconds.
type Catalog interface {
	// CatalogStatus says whether it serves, and if not, why.
	CatalogStatus(ctx context.Context) (*controlplanev1.GetCatalogStatusResponse, error)
	// AdoptCatalog accepts a halted catalog as it is, in a new incarnation: every session and tenure ends, commits of theirs are fenced for
	// good. Refusals: CATALOG_NOT_HALTED; INVALID (another incarnation than the request names).
	AdoptCatalog(ctx context.Context, request *controlplanev1.AdoptCatalogRequest) (*controlplanev1.AdoptCatalogResponse, error)
}
