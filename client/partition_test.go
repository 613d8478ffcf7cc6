package client

import (
	"testing"

	"github.com/streamhouse/streamhouse/client/recordbatch"
)

// The hashes are those that Kafka's own tests expect of its murmur2.
func TestMurmur2AsInKafka(t *testing.T) {
	for key, want := range map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		if got := int32(murmur2([]byte(key))); got != want {
			t.Errorf("murmur2(%q) = %d, want %d", key, got, want)
		}
	}
}

func TestPartitionOfStaysInBounds(t *testing.T) {
	for n := int32(1); n < 2000; n++ {
		if p := partitionOf([]byte{byte(n), byte(n >> 8)}, n); p < 0 || p >= n {
			t.Fatalf("partition %d of %d", p, n)
		}
	}
}

func testBatch(t *testing.T, base int64, n int) []byte {
	t.Helper()
	b := recordbatch.NewBuilder(recordbatch.LZ4, recordbatch.Limits{})
	for range n {
		if err := b.Append(0, nil, []byte("v"), nil); err != nil {
			t.Fatal(err)
		}
	}
	batch, err := b.Build(recordbatch.NoProducer())
	if err == nil {
		err = recordbatch.Stamp(batch, base, 1)
	}
	if err != nil {
		t.Fatal(err)
	}
	return batch
}
