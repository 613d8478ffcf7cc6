package rpc

import (
	"github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1/controlplanev1connect"
)

// catalog is the CatalogService, for admins: whether the catalog may be trusted.
type catalog struct {
	controlplanev1connect.UnimplementedCatalogServiceHandler
	Services
}

var _ controlplanev1connect.CatalogServiceHandler = catalog{}
