package producer

import (
	"math"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

func TestFollow(t *testing.T) {
	t.Parallel()
	known := State{Epoch: 2, Batches: []Batch{{BaseSequence: 0, RecordCount: 3, BaseOffset: 10}}}
	cases := map[string]struct {
		state State
		epoch int16
		base  int32
		want  Verdict
	}{
		"unknown producer from 0":      {State{}, 5, 0, Follows},
		"unknown producer from 1":      {State{}, 0, 1, Gap},
		"the next":                     {known, 2, 3, Follows},
		"a repeat":                     {known, 2, 0, Gap},
		"an overlap":                   {known, 2, 2, Gap},
		"a gap":                        {known, 2, 4, Gap},
		"an old epoch":                 {known, 1, 3, Fenced},
		"a newer epoch from 0":         {known, 3, 0, Follows},
		"a newer epoch from elsewhere": {known, 3, 3, Gap},
		"wrapped": {
			State{Epoch: 0, Batches: []Batch{{BaseSequence: math.MaxInt32 - 1, RecordCount: 3}}}, 0, 1, Follows,
		},
		"wrapped to exactly 0": {
			State{Epoch: 0, Batches: []Batch{{BaseSequence: math.MaxInt32, RecordCount: 1}}}, 0, 0, Follows,
		},
	}
	for name, c := range cases {
		after, got := c.state.Follow(c.epoch, Batch{BaseSequence: c.base, RecordCount: 1})
		if got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		if got == Follows && (after.Epoch != c.epoch || after.Batches[len(after.Batches)-1].BaseSequence != c.base) {
			t.Errorf("%s: state %v", name, after)
		}
	}
}

// A producer that sends one batch after the other is always followed; the window holds its last five; a state that was answered does
// not change afterwards.
func TestFollow_Window(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var state State
		var all []Batch
		sequence := int32(0)
		for range rapid.IntRange(1, 20).Draw(t, "batches") {
			b := Batch{BaseSequence: sequence, RecordCount: rapid.Int32Range(1, math.MaxInt32).Draw(t, "count"), BaseOffset: int64(len(all))}
			before := state.Encode()
			next, verdict := state.Follow(4, b)
			if verdict != Follows {
				t.Fatalf("%v does not follow %v", b, state)
			}
			if string(before) != string(state.Encode()) {
				t.Fatal("the state before was changed")
			}
			state, all, sequence = next, append(all, b), b.next()
		}
		want := all[max(0, len(all)-Window):]
		decoded, err := Decode(4, state.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(decoded.Message(1), State{Epoch: 4, Batches: want}.Message(1)) {
			t.Fatalf("window %v, want %v", decoded, want)
		}
	})
}

func TestDecode_RefusesWhatItDidNotWrite(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 15, 17, 96} {
		if _, err := Decode(0, make([]byte, size)); err == nil {
			t.Errorf("%d bytes accepted", size)
		}
	}
}

// The layout is the schema's: rows outlive programs.
func TestEncode_Golden(t *testing.T) {
	t.Parallel()
	got := State{Batches: []Batch{{BaseSequence: 1, RecordCount: 2, BaseOffset: 3}}}.Encode()
	if want := "\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x03"; string(got) != want {
		t.Fatalf("%x", got)
	}
}
