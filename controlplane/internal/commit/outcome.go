package commit

import (
	"encoding/binary"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

// packedForm begins the bytes of an outcome of which every entry was committed. No message begins so: it would be field 0.
//
//	what                     coding
//	1                        byte
//	number of entries        uvarint
//	of each entry:
//	  high watermark         varint (zigzag), less that of the entry before it, or 0
//	  epoch                  varint (zigzag), less that of the entry before it, or 0
const packedForm = 1

var errOutcome = errors.New("stored outcome is damaged")

// EncodeOutcome writes an outcome, all but its key, so that DecodeOutcome gives the same: packed where every entry was committed, which is
// a third of the bytes and takes no parser; else as the message.
func EncodeOutcome(outcome *controlplanev1.ObjectOutcome) ([]byte, error) {
	segments := outcome.GetSegments()
	for _, s := range segments {
		if s.GetResult() != controlplanev1.SegmentResult_SEGMENT_RESULT_COMMITTED {
			return encodeMessage(segments)
		}
	}
	packed := make([]byte, 0, 2+6*len(segments))
	packed = binary.AppendUvarint(append(packed, packedForm), uint64(len(segments)))
	var highWatermark, epoch int64
	for _, s := range segments {
		packed = binary.AppendVarint(packed, s.GetHighWatermark()-highWatermark)
		packed = binary.AppendVarint(packed, int64(s.GetCurrentEpoch())-epoch)
		highWatermark, epoch = s.GetHighWatermark(), int64(s.GetCurrentEpoch())
	}
	return packed, nil
}

func encodeMessage(segments []*controlplanev1.SegmentOutcome) ([]byte, error) {
	message, err := proto.Marshal(&controlplanev1.ObjectOutcome{Segments: segments})
	if err != nil {
		return nil, fmt.Errorf("encode outcome: %w", err)
	}
	return message, nil
}

// DecodeOutcome reads what EncodeOutcome wrote.
func DecodeOutcome(key string, stored []byte) (*controlplanev1.ObjectOutcome, error) {
	outcome := &controlplanev1.ObjectOutcome{}
	var err error
	if len(stored) > 0 && stored[0] == packedForm {
		outcome.Segments, err = unpack(stored[1:])
	} else {
		err = proto.Unmarshal(stored, outcome)
	}
	if err != nil {
		return nil, fmt.Errorf("outcome of object %q: %w", key, err)
	}
	outcome.Key = key
	return outcome, nil
}

func unpack(packed []byte) ([]*controlplanev1.SegmentOutcome, error) {
	count, n := binary.Uvarint(packed)
	if n <= 0 || count > uint64(len(packed)) { // two bytes an entry at least
		return nil, errOutcome
	}
	packed = packed[n:]
	segments := make([]*controlplanev1.SegmentOutcome, count)
	var highWatermark, epoch int64
	for i := range segments {
		moved, n := binary.Varint(packed)
		if n <= 0 {
			return nil, errOutcome
		}
		passed, m := binary.Varint(packed[n:])
		if m <= 0 {
			return nil, errOutcome
		}
		packed, highWatermark, epoch = packed[n+m:], highWatermark+moved, epoch+passed
		segments[i] = &controlplanev1.SegmentOutcome{
			Result: controlplanev1.SegmentResult_SEGMENT_RESULT_COMMITTED, HighWatermark: highWatermark, CurrentEpoch: int32(epoch),
		}
	}
	if len(packed) > 0 {
		return nil, errOutcome
	}
	return segments, nil
}
