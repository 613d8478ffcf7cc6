package produce

import "testing"

// The hashes are those of Kafka's own tests of Utils.murmur2.
func TestMurmur2IsKafkas(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536, "a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, "abc": 479470107,
	} {
		if got := int32(murmur2([]byte(key))); got != want {
			t.Errorf("%q: %d, want %d", key, got, want)
		}
	}
	for _, n := range []int32{1, 6, 100_000} {
		if p := partitionOf([]byte("foobar"), n); p < 0 || p >= n {
			t.Errorf("partition %d of %d", p, n)
		}
	}
}
