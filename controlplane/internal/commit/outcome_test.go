package commit

import (
	"encoding/hex"
	"math"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

const committed = controlplanev1.SegmentResult_SEGMENT_RESULT_COMMITTED

// P6: what was said the first time is said at every repeat.
func TestP6_OutcomesAreReadAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		outcome := &controlplanev1.ObjectOutcome{Key: "key"}
		failures := rapid.Bool().Draw(t, "failures")
		for range rapid.IntRange(1, 20).Draw(t, "entries") {
			s := &controlplanev1.SegmentOutcome{
				Result: committed, HighWatermark: rapid.Int64().Draw(t, "high watermark"), CurrentEpoch: rapid.Int32().Draw(t, "epoch"),
			}
			if failures {
				s.Result = controlplanev1.SegmentResult(rapid.IntRange(1, 7).Draw(t, "result"))
			}
			outcome.Segments = append(outcome.Segments, s)
		}
		stored, err := EncodeOutcome(outcome)
		if err != nil {
			t.Fatal(err)
		}
		read, err := DecodeOutcome("key", stored)
		if err != nil || !proto.Equal(read, outcome) {
			t.Fatalf("got %v, %v, want %v", read, err, outcome)
		}
		if cut := stored[:len(stored)-1]; stored[0] == packedForm {
			if _, err := DecodeOutcome("key", cut); err == nil {
				t.Fatal("a byte less is no error")
			}
			if _, err := DecodeOutcome("key", append(stored, 0)); err == nil {
				t.Fatal("a byte more is no error")
			}
		}
	})
}

func TestOutcome_Golden(t *testing.T) {
	t.Parallel()
	for want, segments := range map[string][]*controlplanev1.SegmentOutcome{
		// one entry: high watermark 150 (zigzag 300 = 0xac 0x02), epoch 1; then 100 less, the same epoch
		"0102ac0202c70100":                   {{Result: committed, HighWatermark: 150, CurrentEpoch: 1}, {Result: committed, HighWatermark: 50, CurrentEpoch: 1}},
		"0101feffffffffffffffff01feffffff0f": {{Result: committed, HighWatermark: math.MaxInt64, CurrentEpoch: math.MaxInt32}},
		"1a0608021005" + "1803":              {{Result: controlplanev1.SegmentResult_SEGMENT_RESULT_FENCED, HighWatermark: 5, CurrentEpoch: 3}},
	} {
		stored, err := EncodeOutcome(&controlplanev1.ObjectOutcome{Segments: segments})
		if got := hex.EncodeToString(stored); err != nil || got != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
}

func FuzzDecodeOutcome(f *testing.F) {
	f.Add([]byte{1, 2, 0xac, 2, 2, 0xc7, 1, 0})
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Add([]byte{0x1a, 0})
	f.Fuzz(func(t *testing.T, stored []byte) {
		outcome, err := DecodeOutcome("key", stored)
		if err == nil && len(outcome.GetSegments()) > len(stored) {
			t.Fatalf("%d entries from %d bytes", len(outcome.GetSegments()), len(stored))
		}
	})
}
