// Package answer encodes what is read without copying it: the batches of an answer, and what one agent reads for another, go to the connection
// from where they lie in the cache. And it decodes what producers send where it lies: a large request's batches stay in the memory that it was
// read into. All other messages are encoded and decoded as ever.
// Nothing here decides what is answered.
// Read: answer.go, produce.go.
package answer

import (
	"bytes"
	"context"
	"io"

	"connectrpc.com/connect/v2/connectproto"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	"github.com/streamhouse/streamhouse/serve/listen"
)

const (
	// pieceBytes is the least that is not copied: less costs no more than a call of the kernel of its own.
	pieceBytes = 64 << 10

	answerPartitions = 1 // FetchResponse.partitions
	partitionBatches = 6 // FetchedPartition.batches
	objectBytes      = 1 // ReadObjectResponse.bytes
)

// Codec is Connect's for protobuf, but for that.
type Codec struct {
	*connectproto.BinaryCodec
}

// NewCodec returns a codec.
func NewCodec() Codec { return Codec{connectproto.NewBinaryCodec()} }

// MarshalWrite implements connect.Codec.
func (c Codec) MarshalWrite(ctx context.Context, dst io.Writer, msg any) error {
	pieces := listen.PiecesOf(ctx)
	buffer, ok := dst.(*bytes.Buffer)
	if pieces == nil || !ok {
		return c.BinaryCodec.MarshalWrite(ctx, dst, msg)
	}
	e := encoder{options: c.MarshalOptions, b: buffer.AvailableBuffer()}
	switch m := msg.(type) {
	case *dataplanev1.FetchResponse:
		e.partitions(m.GetPartitions())
	case *dataplanev1.ReadObjectResponse:
		e.bytes(objectBytes, m.GetBytes())
	default:
		return c.BinaryCodec.MarshalWrite(ctx, dst, msg)
	}
	if e.err != nil {
		return e.err
	}
	pieces.Set(e.pieces)
	_, err := buffer.Write(e.b)
	return err
}

// UnmarshalRead implements connect.Codec. Connect has read the message into a buffer, which its own codec would copy.
func (c Codec) UnmarshalRead(ctx context.Context, src io.Reader, msg any) error {
	buffer, isBuffer := src.(*bytes.Buffer)
	m, isProto := msg.(proto.Message)
	if !isBuffer || !isProto {
		return c.BinaryCodec.UnmarshalRead(ctx, src, msg)
	}
	if request, isProduce := msg.(*dataplanev1.ProduceRequest); isProduce && worthKeeping(buffer) {
		return c.unmarshalProduce(takeOver(buffer), request)
	}
	return c.UnmarshalOptions.Unmarshal(buffer.Next(buffer.Len()), m)
}

// encoder is a message that is being encoded: b, with the pieces put in.
type encoder struct {
	options proto.MarshalOptions
	b       []byte
	pieces  []listen.Piece
	err     error
}

func (e *encoder) partitions(all []*dataplanev1.FetchedPartition) {
	for _, p := range all {
		rest := proto.Message(p)
		batches := p.GetBatches()
		if len(batches) >= pieceBytes {
			rest = without(p, partitionBatches)
		} else {
			batches = nil
		}
		size := e.options.Size(rest)
		e.b = protowire.AppendTag(e.b, answerPartitions, protowire.BytesType)
		e.b = protowire.AppendVarint(e.b, uint64(size+sizeOf(partitionBatches, batches)))
		if e.b, e.err = e.options.MarshalAppend(e.b, rest); e.err != nil {
			return
		}
		e.bytes(partitionBatches, batches)
	}
}

func sizeOf(field protowire.Number, b []byte) int {
	if len(b) == 0 {
		return 0
	}
	return protowire.SizeTag(field) + protowire.SizeBytes(len(b))
}

// bytes appends a field. As everywhere, an empty one is left out.
func (e *encoder) bytes(field protowire.Number, b []byte) {
	if len(b) == 0 {
		return
	}
	e.b = protowire.AppendTag(e.b, field, protowire.BytesType)
	e.b = protowire.AppendVarint(e.b, uint64(len(b)))
	if len(b) < pieceBytes {
		e.b = append(e.b, b...)
		return
	}
	e.pieces = append(e.pieces, listen.Piece{At: len(e.b), Bytes: b})
}

// without is a message that shares all fields of another but one.
func without(m proto.Message, field protoreflect.FieldNumber) proto.Message {
	from := m.ProtoReflect()
	to := from.New()
	from.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.Number() != field {
			to.Set(f, v)
		}
		return true
	})
	to.SetUnknown(from.GetUnknown())
	return to.Interface()
}
