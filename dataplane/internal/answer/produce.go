package answer

import (
	"bytes"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
)

const (
	// keptBytes is the least request whose batches stay in the memory that it arrived in, and keptShare of it the least batch that does: one of
	// them keeps the memory of all.
	keptBytes = 256 << 10
	keptShare = 4

	requestEntries = 4 // ProduceRequest.entries
	entryBatch     = 4 // ProduceEntry.batch
	entryRecords   = 5 // ProduceEntry.records
)

// worthKeeping tells whether a message is large, and fills most of its memory.
func worthKeeping(buffer *bytes.Buffer) bool {
	return buffer.Len() >= keptBytes && 2*buffer.Len() >= buffer.Cap()
}

// takeOver takes the memory of a buffer, and gives it as much, so that the next message finds room without growing.
func takeOver(buffer *bytes.Buffer) []byte {
	const step = 64 << 10
	taken := buffer.Bytes()
	*buffer = *bytes.NewBuffer(make([]byte, 0, (len(taken)+bytes.MinRead+step-1)&^(step-1)))
	return taken
}

// unmarshalProduce decodes a request whose large batches are b's own bytes. Invariant: nobody else has b.
func (c Codec) unmarshalProduce(b []byte, request *dataplanev1.ProduceRequest) error {
	proto.Reset(request)
	rest, err := split(b, requestEntries, func(encoded []byte) error {
		e := &dataplanev1.ProduceEntry{}
		request.Entries = append(request.Entries, e)
		return c.unmarshalEntry(encoded, len(b)/keptShare, e)
	})
	if err != nil {
		return err
	}
	return c.merge(rest, request)
}

func (c Codec) unmarshalEntry(b []byte, large int, e *dataplanev1.ProduceEntry) error {
	var batch []byte
	rest, err := split(b, entryBatch, func(value []byte) error {
		batch = slices.Clip(value)
		return nil
	})
	if err != nil {
		return err
	}
	if len(batch) < max(large, 1) || has(rest, entryRecords) { // whichever of batch and records comes last counts
		return c.merge(b, e)
	}
	e.Payload = &dataplanev1.ProduceEntry_Batch{Batch: batch}
	return c.merge(rest, e)
}

func (c Codec) merge(b []byte, m proto.Message) error {
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

// has tells whether an encoded message has a field. Requires: the message was split.
func has(b []byte, field protowire.Number) bool {
	for len(b) > 0 {
		number, _, n := protowire.ConsumeField(b)
		if number == field {
			return true
		}
		b = b[n:]
	}
	return false
}
