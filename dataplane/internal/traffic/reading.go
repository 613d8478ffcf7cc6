package traffic

import (
	"context"

	"connectrpc.com/connect/v2"

	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1/dataplanev1connect"
)

// Reading counts what Fetch and Consume send. leads tells whether this agent leads a partition.
func (b *Book) Reading(leads func(partition.ID) bool) connect.ServerInterceptor {
	return func(next connect.ServerFunc) connect.ServerFunc {
		return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
			if spec.Procedure == dataplanev1connect.RecordServiceFetchProcedure || spec.Procedure == dataplanev1connect.RecordServiceConsumeProcedure {
				stream = &reading{ServerStream: stream, ctx: ctx, book: b, leads: leads}
			}
			return next(ctx, spec, stream)
		}
	}
}

// reading is one call's stream. One goroutine at a time uses it.
type reading struct {
	connect.ServerStream
	ctx   context.Context //nolint:containedctx // the call's, which the stream is part of
	book  *Book
	leads func(partition.ID) bool
	zone  string
}

// Receive notes the client's zone.
func (r *reading) Receive(msg any) error {
	if err := r.ServerStream.Receive(msg); err != nil {
		return err
	}
	if req, ok := msg.(interface{ GetClientZone() string }); ok {
		r.zone = ClientZone(r.ctx, req.GetClientZone())
	}
	return nil
}

// Send counts.
func (r *reading) Send(msg any) error {
	if err := r.ServerStream.Send(msg); err != nil {
		return err
	}
	switch res := msg.(type) {
	case *dataplanev1.FetchResponse:
		for _, part := range res.GetPartitions() {
			r.count(part)
		}
	case *dataplanev1.ConsumeResponse:
		r.count(res.GetFetched())
	}
	return nil
}

func (r *reading) count(part *dataplanev1.FetchedPartition) {
	size := len(part.GetBatches())
	for _, record := range part.GetRecords() {
		size += len(record.GetKey()) + len(record.GetValue())
	}
	if size == 0 {
		return
	}
	r.book.Fetched(r.zone, size)
	topic, err := object.ParseUUID(part.GetTopicId())
	if p := (partition.ID{Topic: topic, Number: part.GetPartition()}); err == nil && r.leads(p) {
		r.book.Load(p, size)
	}
}
