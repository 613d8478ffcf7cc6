//go:build !amd64 && !arm64

package recordbatch

import (
	"sync"

	"github.com/pierrec/lz4/v4"
)

// Compressors are pooled, not held by builders: one is 136 KiB, and a producer may have a builder for each of thousands of partitions.
var compressors = sync.Pool{New: func() any { return new(lz4.Compressor) }}

// blockEncoder encodes the blocks of one frame.
type blockEncoder struct{ library *lz4.Compressor }

func newBlockEncoder() blockEncoder { return blockEncoder{compressors.Get().(*lz4.Compressor)} }

func (e blockEncoder) close() { compressors.Put(e.library) }

// encode writes the block of src to dst and returns its length; len(src) or more means that it does not shrink.
// Requires: 0 < len(src) <= blockBytes, len(dst) >= blockBound(len(src)).
func (e blockEncoder) encode(dst, src []byte) int {
	n, err := e.library.CompressBlock(src, dst[:len(src)-1])
	if err != nil || n == 0 {
		return len(src)
	}
	return n
}
