package client

import (
	"bytes"
	"context"
	"io"
	"slices"

	"connectrpc.com/connect/v2/connectproto"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
)

const (
	// keptBytes is the least answer to a fetch whose batches stay in the memory that it arrived in.
	keptBytes = 256 << 10

	answerPartitions = 1 // FetchResponse.partitions
	partitionBatches = 6 // FetchedPartition.batches
)

// codec decodes messages where they lie. Connect reads a message into a buffer of its pool; its own codec copies that into a second one, and
// protobuf copies bytes once more: together a sixth of what a consumer does. Where a call has room, the batches of a large answer to it stay in
// the buffer's memory, and the buffer, which goes back to the pool, gets other memory for the next message.
//
// Invariant: no decoded message refers to memory that the buffer still has.
type codec struct {
	*connectproto.BinaryCodec
}

func newCodec() codec { return codec{connectproto.NewBinaryCodec()} }

// room is memory of one call. The call's goroutine has it before the call and after it, the codec in between.
type room struct {
	spare []byte // for the buffer whose memory is taken over; nil: it gets new memory
	taken []byte // what the answer's batches lie in; nil: each in memory of its own
}

type roomKey struct{}

// with lets an answer be decoded into room.
func (r *room) with(ctx context.Context) context.Context { return context.WithValue(ctx, roomKey{}, r) }

// UnmarshalRead implements connect.Codec.
func (c codec) UnmarshalRead(ctx context.Context, src io.Reader, msg any) error {
	m, isProto := msg.(proto.Message)
	buffer, isBuffer := src.(*bytes.Buffer)
	if !isProto || !isBuffer {
		return c.BinaryCodec.UnmarshalRead(ctx, src, msg)
	}
	answer, isAnswer := m.(*dataplanev1.FetchResponse)
	if r, given := ctx.Value(roomKey{}).(*room); given && isAnswer && worthKeeping(buffer) {
		r.exchange(buffer)
		return c.unmarshalFetched(r.taken, answer)
	}
	return c.UnmarshalOptions.Unmarshal(buffer.Next(buffer.Len()), m)
}

// worthKeeping tells whether a message is large, and fills most of its memory: what is kept is counted by the message.
func worthKeeping(buffer *bytes.Buffer) bool {
	return buffer.Len() >= keptBytes && 2*buffer.Len() >= buffer.Cap()
}

// exchange takes the memory of a buffer, and gives it as much, so that the next message finds room without growing.
func (r *room) exchange(buffer *bytes.Buffer) {
	const step = 64 << 10
	r.taken = buffer.Bytes()
	need := len(r.taken) + bytes.MinRead
	if cap(r.spare) < need {
		*buffer = *bytes.NewBuffer(make([]byte, 0, (need+step-1)&^(step-1)))
		return
	}
	*buffer = *bytes.NewBuffer(r.spare[:0])
	r.spare = nil
}

// unmarshalFetched decodes an answer whose batches are b's own bytes.
func (c codec) unmarshalFetched(b []byte, answer *dataplanev1.FetchResponse) error {
	proto.Reset(answer)
	rest, err := split(b, answerPartitions, func(encoded []byte) error {
		p := &dataplanev1.FetchedPartition{}
		answer.Partitions = append(answer.Partitions, p)
		return c.unmarshalPartition(encoded, p)
	})
	if err != nil {
		return err
	}
	return c.merge(rest, answer)
}

func (c codec) unmarshalPartition(b []byte, p *dataplanev1.FetchedPartition) error {
	rest, err := split(b, partitionBatches, func(batches []byte) error {
		p.Batches = slices.Clip(batches)
		return nil
	})
	if err != nil {
		return err
	}
	return c.merge(rest, p)
}

func (c codec) merge(b []byte, m proto.Message) error {
	options := c.UnmarshalOptions
	options.Merge = true
	return options.Unmarshal(b, m)
}

// split hands out each value of one field of an encoded message, and returns all other fields.
func split(b []byte, field protowire.Number, found func([]byte) error) (rest []byte, err error) {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeField(b)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		if number != field || kind != protowire.BytesType {
			rest = append(rest, b[:n]...)
			b = b[n:]
			continue
		}
		_, _, tag := protowire.ConsumeTag(b)
		value, _ := protowire.ConsumeBytes(b[tag:n])
		if err := found(value); err != nil {
			return nil, err
		}
		b = b[n:]
	}
	return rest, nil
}
