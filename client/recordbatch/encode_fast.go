//go:build amd64 || arm64

package recordbatch

import (
	"math/bits"
	"sync"
	"unsafe"
)

// The encoder of LZ4 blocks. Source: the LZ4 block format. It differs from a general one in that a block never exceeds 64 KiB: positions
// fit 16 bits, so that the table of 16,384 of them stays in the first-level cache, which is where its speed comes from. It reads and
// writes machine words at any address, hence the two architectures; elsewhere the library does the work (encode_library.go).
//
// Memory: every load and store lies within src[:len(src)] and dst[:blockBound(len(src))]; see the notes at each. FuzzBlock holds it
// against the library's decoder.

const (
	tableBits    = 14
	tableSize    = 1 << tableBits
	leastMatch   = 4  // bytes; a shorter one cannot be written
	lastLiterals = 5  // bytes at the end that are always literals
	lastMatchAt  = 16 // no match begins within so many bytes of the end; the format asks for 12
	skipShift    = 6  // after 2^skipShift positions without a match the stride grows by one
	wordBytes    = 8
)

type positions [tableSize]uint16

var tables = sync.Pool{New: func() any { return new(positions) }}

// blockEncoder encodes the blocks of one frame.
type blockEncoder struct{ table *positions }

func newBlockEncoder() blockEncoder { return blockEncoder{tables.Get().(*positions)} }

func (e blockEncoder) close() { tables.Put(e.table) }

// encode writes the block of src to dst and returns its length; len(src) or more means that it does not shrink.
// Requires: 0 < len(src) <= blockBytes, len(dst) >= blockBound(len(src)).
func (e blockEncoder) encode(dst, src []byte) int {
	_ = dst[blockBound(len(src))-1]
	//nolint:gosec // bounded by the two requirements, fuzzed, and fenced in by a test
	w := blockWriter{s: unsafe.Pointer(unsafe.SliceData(src)), d: unsafe.Pointer(unsafe.SliceData(dst))}
	if len(src) > lastMatchAt {
		clear(e.table[:])
		w.matches(e.table, len(src))
	}
	return w.rest(dst, src)
}

// blockWriter is where an encoding stands: src is written up to anchor, dst filled up to at.
type blockWriter struct {
	s, d       unsafe.Pointer
	anchor, at int
}

func load32(p unsafe.Pointer, i int) uint32  { return *(*uint32)(unsafe.Add(p, i)) }
func load64(p unsafe.Pointer, i int) uint64  { return *(*uint64)(unsafe.Add(p, i)) }
func store8(p unsafe.Pointer, i int, v byte) { *(*byte)(unsafe.Add(p, i)) = v }
func store16(p unsafe.Pointer, i int, v uint16) {
	*(*uint16)(unsafe.Add(p, i)) = v
}
func store64(p unsafe.Pointer, i int, v uint64) { *(*uint64)(unsafe.Add(p, i)) = v }

// slot hashes the first six of eight bytes: five or four find more matches, but short ones that cost more than they save.
func slot(v uint64) uint64 {
	const prime = 227718039650203
	return (v << 16) * prime >> (64 - tableBits)
}

// matches writes all sequences but the last literals. Every load of eight bytes at i or below needs i <= n-8: i <= n-lastMatchAt holds.
func (w *blockWriter) matches(table *positions, n int) {
	last, src := n-lastMatchAt, w.s
	for i := 1; i <= last; {
		// A slot that was never filled says 0, which is as good a candidate as any: all are compared.
		var candidate int
		for {
			v := load64(src, i)
			h, after := slot(v), slot(v>>8)
			candidate = int(table[h])
			next := int(table[after])
			table[h], table[after] = uint16(i), uint16(i+1)
			if uint32(v) == load32(src, candidate) {
				break
			}
			if uint32(v>>8) == load32(src, next) {
				i, candidate = i+1, next
				break
			}
			if i += 2 + (i-w.anchor)>>skipShift; i > last {
				return
			}
		}
		for i > w.anchor && candidate > 0 && *(*byte)(unsafe.Add(src, i-1)) == *(*byte)(unsafe.Add(src, candidate-1)) {
			i--
			candidate--
		}
		for {
			length := leastMatch + common(src, i+leastMatch, candidate+leastMatch, n-lastLiterals)
			w.sequence(i, i-candidate, length)
			if i += length; i > last {
				return
			}
			table[slot(load64(src, i-2))] = uint16(i - 2)
			v := load64(src, i)
			h := slot(v)
			candidate = int(table[h])
			table[h] = uint16(i)
			if uint32(v) != load32(src, candidate) {
				break
			}
		}
		i++
	}
}

// common is how many bytes at i and j are the same, i running to end. Requires: j < i, end+lastLiterals bytes can be read.
func common(s unsafe.Pointer, i, j, end int) int {
	from := i
	for i+wordBytes <= end {
		if x := load64(s, i) ^ load64(s, j); x != 0 {
			return i - from + bits.TrailingZeros64(x)>>3
		}
		i += wordBytes
		j += wordBytes
	}
	for i < end && *(*byte)(unsafe.Add(s, i)) == *(*byte)(unsafe.Add(s, j)) {
		i++
		j++
	}
	return i - from
}

// sequence writes the literals up to i and a match of length bytes at that distance. Literals are copied by words: up to 15 bytes too many
// are read, which lie before the end of src because i <= n-lastMatchAt, and written, which blockBound allows for.
func (w *blockWriter) sequence(i, distance, length int) {
	literals, token := i-w.anchor, w.at
	at := w.lengths(token, literals)
	store64(w.d, at, load64(w.s, w.anchor))
	store64(w.d, at+wordBytes, load64(w.s, w.anchor+wordBytes))
	for k := 2 * wordBytes; k < literals; k += 2 * wordBytes {
		store64(w.d, at+k, load64(w.s, w.anchor+k))
		store64(w.d, at+k+wordBytes, load64(w.s, w.anchor+k+wordBytes))
	}
	at += literals
	store16(w.d, at, uint16(distance))
	at += 2
	w.anchor = i + length
	if length -= leastMatch; length < 15 {
		*(*byte)(unsafe.Add(w.d, token)) |= byte(length)
	} else {
		*(*byte)(unsafe.Add(w.d, token)) |= 15
		at = putLength(w.d, at, length-15)
	}
	w.at = at
}

// lengths writes a token for so many literals, and their number where it does not fit in there; it returns where they go.
func (w *blockWriter) lengths(token, literals int) int {
	if literals < 15 {
		store8(w.d, token, byte(literals<<4))
		return token + 1
	}
	store8(w.d, token, 15<<4)
	return putLength(w.d, token+1, literals-15)
}

// rest writes the last literals.
func (w *blockWriter) rest(dst, src []byte) int {
	at := w.lengths(w.at, len(src)-w.anchor)
	return at + copy(dst[at:], src[w.anchor:])
}

func putLength(d unsafe.Pointer, at, n int) int {
	for ; n >= 255; n -= 255 {
		store8(d, at, 255)
		at++
	}
	store8(d, at, byte(n))
	return at + 1
}
