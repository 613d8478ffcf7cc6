package bench

import (
	"bytes"
	"encoding/json"
	"testing"

	"pgregory.net/rapid"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/client/recordbatch"
)

func TestValuesAreWhatTheySay(t *testing.T) {
	t.Parallel()
	for _, size := range []int{minRecordBytes, 65, 100, 1024, 100_000} {
		for _, kind := range []string{PayloadJSON, PayloadRandom} {
			p := newPayload(kind, size)
			for n := range int64(20) {
				v := p.stamped(7, n)
				if len(v) != size || (kind == PayloadJSON && !json.Valid(v)) {
					t.Fatalf("%s of %d bytes: %d bytes: %.200s", kind, size, len(v), v)
				}
			}
		}
	}
}

// Stored values are less than half of JSON, and all of random ones: what the ratios of measurements rest on.
func TestValuesShrinkAsRealOnesDo(t *testing.T) {
	t.Parallel()
	for kind, bounds := range map[string][2]float64{PayloadJSON: {2, 3}, PayloadRandom: {0.9, 1.05}} {
		for _, size := range []int{100, 1024} {
			batch, records, err := newPayload(kind, size).batch(1<<20, false)
			if err != nil {
				t.Fatal(err)
			}
			if ratio := float64(records*size) / float64(len(batch)); ratio < bounds[0] || ratio > bounds[1] {
				t.Errorf("%s of %d bytes shrink %.2f times", kind, size, ratio)
			}
		}
	}
}

func TestBatchesAreValid(t *testing.T) {
	t.Parallel()
	for _, size := range []int{minRecordBytes, 1024, maxRecordBytes} {
		batch, records, err := newPayload(PayloadRandom, size).batch(1<<20, true)
		if err != nil {
			t.Fatal(err)
		}
		info, err := recordbatch.Verify(batch, recordbatch.Limits{}, recordbatch.AcquireScratch())
		if err != nil || int(info.RecordCount) != records || records < 1 {
			t.Errorf("%d bytes: %d records, %v", size, records, err)
		}
	}
}

func TestStampsAreRead(t *testing.T) {
	t.Parallel()
	for _, p := range []*payload{newPayload(PayloadJSON, 100), newPayload(PayloadRandom, minRecordBytes)} {
		rapid.Check(t, func(t *rapid.T) {
			producer, n := rapid.IntRange(0, 9999).Draw(t, "producer"), rapid.Int64Range(0, 1e12-1).Draw(t, "n")
			if gotProducer, got, err := p.readStamp(p.stamped(producer, n)); err != nil || gotProducer != producer || got != n {
				t.Fatalf("%d, %d came back as %d, %d, %v", producer, n, gotProducer, got, err)
			}
		})
		for _, other := range []string{"", "short", string(bytes.Repeat([]byte("x"), 100)), `{"id":"00a3-000000000001"}` + string(make([]byte, 50))} {
			if _, _, err := p.readStamp([]byte(other)); err == nil {
				t.Errorf("%.40q passes for a value of ours", other)
			}
		}
	}
}

// The verifier tells each kind of broken promise from the others.
func TestVerifierFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	values := newPayload(PayloadJSON, 100)
	l := newLoad(nil, &tally{}, values, []string{"t"}, 0)
	l.sent = 6
	l.failed = map[int64]client.Written{3: client.SurelyNotWritten, 4: client.PossiblyWritten, 5: client.SurelyNotWritten}
	v := &verifier{payload: values, last: map[lane]int64{}, seen: [][]uint64{make([]uint64, 1)}}
	for _, n := range []int64{1, 0, 1, 3} { // 2 is lost, 1 is there twice, 0 comes late, 3 should not be there; 4 and 5 are not
		if err := v.take(&client.Record{Topic: "t", Value: bytes.Clone(values.stamped(0, n))}); err != nil {
			t.Fatal(err)
		}
	}
	v.compare(0, l)
	if want := (Verified{Read: 4, Lost: 1, Duplicated: 1, Unwanted: 1, Disordered: 1}); v.result != want {
		t.Errorf("got %+v, want %+v", v.result, want)
	}
	for _, foreign := range []*client.Record{{Value: values.stamped(1, 0)}, {Value: values.stamped(0, 64)}, {}} {
		if err := v.take(foreign); err == nil {
			t.Errorf("%.40q is no record of this run", foreign.Value)
		}
	}
}
