package record

import (
	"context"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/callers"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

const (
	// reservedIDs is how many producer ids are reserved at a time: unused ones are lost with the process, and there are 2^63.
	reservedIDs = 100
	// catalogRetry is when a caller should come back while the catalog is out of reach.
	catalogRetry = 500 * time.Millisecond
)

// IDAllocator reserves producer ids; package catalog's Client is one.
type IDAllocator interface {
	AllocateProducerIds(context.Context, *controlplanev1.AllocateProducerIdsRequest) (*controlplanev1.AllocateProducerIdsResponse, error)
}

// ProducerIDs gives out producer ids from blocks that it reserves.
type ProducerIDs struct {
	catalog    IDAllocator
	agentGroup string
	turn       chan struct{} // capacity 1: whoever holds it owns what follows
	next, end  int64
}

// NewProducerIDs returns an allocator for the callers of an agent group, with nothing reserved yet.
func NewProducerIDs(catalog IDAllocator, agentGroup string) *ProducerIDs {
	return &ProducerIDs{catalog: catalog, agentGroup: agentGroup, turn: make(chan struct{}, 1)}
}

// AllocateProducerId gives out an id that nobody had before, with producer epoch 0.
func (a *ProducerIDs) AllocateProducerId(
	ctx context.Context, _ *dataplanev1.AllocateProducerIdRequest,
) (*dataplanev1.AllocateProducerIdResponse, error) {
	if err := callers.Admit(ctx, a.agentGroup); err != nil {
		return nil, err
	}
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if a.next == a.end {
		res, err := a.catalog.AllocateProducerIds(ctx, &controlplanev1.AllocateProducerIdsRequest{Count: reservedIDs})
		if err != nil {
			return nil, refusal.CatalogUnavailable(catalogRetry, err)
		}
		a.next, a.end = res.GetFirstProducerId(), res.GetFirstProducerId()+reservedIDs
	}
	a.next++
	return &dataplanev1.AllocateProducerIdResponse{ProducerId: a.next - 1}, nil
}
