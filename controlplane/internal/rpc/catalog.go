package rpc

import (
	"context"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1/controlplanev1connect"
)

// catalog is the CatalogService, for admins: whether the catalog may be trusted.
type catalog struct{ Services }

var _ controlplanev1connect.CatalogServiceHandler = catalog{}

func (s catalog) GetCatalogStatus(
	ctx context.Context, _ *controlplanev1.GetCatalogStatusRequest,
) (*controlplanev1.GetCatalogStatusResponse, error) {
	return transact(ctx, reads, s.Store.CatalogStatus)
}

func (s catalog) AdoptCatalog(ctx context.Context, request *controlplanev1.AdoptCatalogRequest) (*controlplanev1.AdoptCatalogResponse, error) {
	ctx = context.WithoutCancel(ctx) // a caller who does not wait to the end must not undo minutes of work
	return transact(ctx, adopts, func(ctx context.Context) (*controlplanev1.AdoptCatalogResponse, error) {
		return s.Store.AdoptCatalog(ctx, request)
	})
}
