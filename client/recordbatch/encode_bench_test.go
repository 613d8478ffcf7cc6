package recordbatch

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/pierrec/lz4/v4"
)

// BenchmarkBlocks compares the encoder with the library's on the same bytes, block for block.
func BenchmarkBlocks(b *testing.B) {
	for name, src := range blockSources() {
		dst := make([]byte, blockBound(blockBytes))
		own := func() (n int) {
			e := newBlockEncoder()
			for at := 0; at < len(src); at += blockBytes {
				n += e.encode(dst, src[at:min(at+blockBytes, len(src))])
			}
			e.close()
			return n
		}
		var c lz4.Compressor
		library := func() (n int) {
			for at := 0; at < len(src); at += blockBytes {
				m, _ := c.CompressBlock(src[at:min(at+blockBytes, len(src))], dst)
				n += m
			}
			return n
		}
		for _, encoder := range []struct {
			name string
			run  func() int
		}{{"own", own}, {"library", library}} {
			b.Run(name+"/"+encoder.name, func(b *testing.B) {
				b.SetBytes(int64(len(src)))
				n := 0
				for b.Loop() {
					n = encoder.run()
				}
				b.ReportMetric(float64(len(src))/float64(n), "ratio")
			})
		}
	}
}

// blockSources are bytes as records have them.
func blockSources() map[string][]byte {
	return map[string][]byte{"events100": events(0), "events1024": events(20), "noise": noise(1 << 20)}
}

// events are JSON records with a few or many items.
func events(items int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	kinds := []string{"created", "paid", "shipped", "returned"}
	cities := []string{"Amsterdam", "Berlin", "København", "Lisboa", "Wien"}
	var all []byte
	for len(all) < 1<<20 {
		all = fmt.Appendf(all, `{"id":%d,"kind":%q,"user":"user-%d","at":"2026-11-%02dT%02d:%02d:%02dZ"`,
			r.Uint64N(1e9), kinds[r.IntN(len(kinds))], r.IntN(5000), 1+r.IntN(30), r.IntN(24), r.IntN(60), r.IntN(60))
		for i := range items {
			all = fmt.Appendf(all, `,{"sku":"A-%05d","qty":%d,"price":%d.%02d,"city":%q}`,
				r.IntN(20000), 1+i%3, r.IntN(500), r.IntN(100), cities[r.IntN(len(cities))])
		}
		all = append(all, "}\x0c\x00"...)
	}
	return all
}

func noise(n int) []byte {
	r := rand.New(rand.NewPCG(3, 4))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}
