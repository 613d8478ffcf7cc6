package object

import (
	"bytes"
	"testing"
)

// What is written around the bytes of others is the object that a Builder would have made of them.
func TestFrameIsTheObjectThatABuilderMakes(t *testing.T) {
	t.Parallel()
	key := Key{AgentGroup: "default", Incarnation: 1, Session: UUID{7}, Counter: 3}
	one, two, three := []byte("one batch"), []byte("the next"), []byte("of another partition")
	a := Segment{Epoch: 4, BaseOffset: 10, RecordCount: 2, MinTimestampMs: 5, MaxTimestampMs: 9, TenureFirstOffset: 1, SizeBytes: int32(len(one)), CRC32C: Checksum(one)}
	b := a
	b.BaseOffset, b.RecordCount, b.MinTimestampMs, b.MaxTimestampMs, b.SizeBytes, b.CRC32C = 12, 1, 3, 4, int32(len(two)), Checksum(two)
	c := b
	c.Partition, c.SizeBytes, c.CRC32C = 1, int32(len(three)), Checksum(three)
	if !b.Joins(a) || a.Joins(b) || c.Joins(b) || a.Compare(b) >= 0 || c.Compare(b) <= 0 {
		t.Fatal("order of segments")
	}
	frame, err := NewFrame(key, []Segment{Join([]Segment{a, b}), c})
	if err != nil {
		t.Fatal(err)
	}
	whole := bytes.Join([][]byte{frame.Head, one, two, three, frame.Tail}, nil)
	footer, err := Parse(whole)
	if err != nil {
		t.Fatal(err)
	}
	if err := footer.Verify(whole); err != nil {
		t.Fatal(err)
	}
	if frame.SizeBytes != int64(len(whole)) || frame.CRC32C != Checksum(whole) || footer.Key != key || len(footer.Segments) != 2 {
		t.Fatalf("%+v, want %d bytes with checksum %08x", frame, len(whole), Checksum(whole))
	}
	joined := footer.Segments[0]
	if joined.BaseOffset != 10 || joined.RecordCount != 3 || joined.MinTimestampMs != 3 || joined.MaxTimestampMs != 9 || joined.End() != 13 {
		t.Fatalf("%+v", joined)
	}
	if joined != frame.Segments[0] {
		t.Fatalf("%+v, the footer says %+v", frame.Segments[0], joined)
	}
}

func TestFrameRefusesWhatABuilderRefuses(t *testing.T) {
	t.Parallel()
	good := Segment{Epoch: 1, RecordCount: 1, SizeBytes: 1}
	for name, segments := range map[string][]Segment{
		"nothing":      nil,
		"no bytes":     {{Epoch: 1, RecordCount: 1}},
		"no epoch":     {{RecordCount: 1, SizeBytes: 1}},
		"out of order": {good, good},
	} {
		if _, err := NewFrame(Key{AgentGroup: "g"}, segments); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
