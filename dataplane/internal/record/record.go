// Package record puts RecordService together from its two halves: what writes (package produce, and what follows it) and what reads
// (package fetch). It answers GetMetadata and AllocateProducerId itself, because they are about neither.
// Nothing here appends, reads or waits.
//
// Promises: P7 (a topic of another agent group does not exist here).
// Read: record.go, metadata.go, producerid.go.
package record

import (
	"context"

	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1/dataplanev1connect"
)

// Reader is the read path: the reading half of RecordService, told of each commit of this agent.
type Reader interface {
	partition.Observer

	Fetch(context.Context, *dataplanev1.FetchRequest) (*dataplanev1.FetchResponse, error)
	Consume(context.Context, *dataplanev1.ConsumeRequest, dataplanev1connect.RecordServiceConsumeServerStream) error
	ListOffsets(context.Context, *dataplanev1.ListOffsetsRequest) (*dataplanev1.ListOffsetsResponse, error)

	// Run does what readers need in the background and returns after all of it has ended, nil if the context did.
	Run(ctx context.Context) error
	// Stop ends streams and long polls soon, so that their callers go elsewhere. Called before Run's context ends.
	Stop()
}

// Writer is the writing half.
type Writer interface {
	Produce(context.Context, *dataplanev1.ProduceRequest) (*dataplanev1.ProduceResponse, error)
}

// Service is RecordService.
type Service struct {
	Reader
	Writer
	*Metadata
	*ProducerIDs
}

var _ dataplanev1connect.RecordServiceHandler = Service{}
