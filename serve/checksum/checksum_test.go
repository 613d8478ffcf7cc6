package checksum

import (
	"hash/crc32"
	"math/rand/v2"
	"testing"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func TestCombineIsTheChecksumOfBoth(t *testing.T) {
	t.Parallel()
	all := make([]byte, 5<<20+3)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(all)
	for _, cut := range []int{0, 1, 61, 4096, 1 << 20, len(all) - 1, len(all)} {
		got := Combine(crc32.Checksum(all[:cut], castagnoli), crc32.Checksum(all[cut:], castagnoli), int64(len(all)-cut))
		if want := crc32.Checksum(all, castagnoli); got != want {
			t.Errorf("cut at %d: %08x, want %08x", cut, got, want)
		}
	}
}

func BenchmarkCombine(b *testing.B) {
	for b.Loop() {
		Combine(0x12345678, 0x9abcdef0, 1<<20-1)
	}
}
