package producer

import (
	"encoding/binary"
	"fmt"
)

// batchBytes is the width of an encoded batch; see the comment on producers.batches in the schema:
//
//	offset width content (big-endian)
//	0      4     base sequence, int32
//	4      4     record count, int32
//	8      8     base offset, int64
const batchBytes = 16

// Encode writes the batches, oldest first. The epoch is a column of its own.
func (s State) Encode() []byte {
	encoded := make([]byte, 0, len(s.Batches)*batchBytes)
	for _, b := range s.Batches {
		encoded = binary.BigEndian.AppendUint32(encoded, uint32(b.BaseSequence))
		encoded = binary.BigEndian.AppendUint32(encoded, uint32(b.RecordCount))
		encoded = binary.BigEndian.AppendUint64(encoded, uint64(b.BaseOffset))
	}
	return encoded
}

// Decode reads what Encode wrote.
func Decode(epoch int16, encoded []byte) (State, error) {
	if len(encoded) == 0 || len(encoded)%batchBytes != 0 || len(encoded) > Window*batchBytes {
		return State{}, fmt.Errorf("producer state of %d bytes: want 1 to %d batches of %d", len(encoded), Window, batchBytes)
	}
	state := State{Epoch: epoch, Batches: make([]Batch, 0, len(encoded)/batchBytes)}
	for ; len(encoded) > 0; encoded = encoded[batchBytes:] {
		state.Batches = append(state.Batches, Batch{
			BaseSequence: int32(binary.BigEndian.Uint32(encoded)),
			RecordCount:  int32(binary.BigEndian.Uint32(encoded[4:])),
			BaseOffset:   int64(binary.BigEndian.Uint64(encoded[8:])),
		})
	}
	return state, nil
}
