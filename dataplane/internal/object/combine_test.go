package object

import (
	"testing"

	"pgregory.net/rapid"
)

func TestCombineIsTheChecksumOfBoth(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "a")
		b := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "b")
		got := Combine(Checksum(a), Checksum(b), int64(len(b)))
		if want := Checksum(append(a, b...)); got != want {
			t.Fatalf("%08x, want %08x", got, want)
		}
	})
	long := make([]byte, 5<<20+3)
	for i := range long {
		long[i] = byte(i * i >> 3)
	}
	for _, cut := range []int{0, 1, 61, 1 << 20, len(long)} {
		if got, want := Combine(Checksum(long[:cut]), Checksum(long[cut:]), int64(len(long)-cut)), Checksum(long); got != want {
			t.Errorf("cut at %d: %08x, want %08x", cut, got, want)
		}
	}
}

func BenchmarkCombine(b *testing.B) {
	for b.Loop() {
		Combine(0x12345678, 0x9abcdef0, 1<<20-1)
	}
}
