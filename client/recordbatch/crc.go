package recordbatch

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"
)

// castagnoliPoly is the polynomial of CRC-32C, reflected: bit 31 is x^0.
const castagnoliPoly = 0x82f63b78

// squares[k] is x^(2^k) modulo the polynomial.
var squares = func() (s [64]uint32) {
	s[0] = 1 << 30
	for k := 1; k < len(s); k++ {
		s[k] = times(s[k-1], s[k-1])
	}
	return s
}()

// times multiplies two polynomials modulo the CRC's.
func times(a, b uint32) (product uint32) {
	for ; a != 0; a <<= 1 {
		if a&(1<<31) != 0 {
			product ^= b
		}
		b = b>>1 ^ castagnoliPoly&-(b&1)
	}
	return product
}

// rehead changes header fields of a whole batch, and its checksum with them, in a microsecond: the records are not read. A checksum that was
// wrong stays wrong.
//
// Checksums are linear: that of two byte strings of one length that differ in a beginning alone differ by what the beginnings' own differ by,
// times x for each bit that follows.
func rehead(batch []byte, change func()) {
	head := batch[attributesAt:HeaderBytes]
	before := crc32.Checksum(head, castagnoli)
	change()
	difference := before ^ crc32.Checksum(head, castagnoli)
	for n := uint64(len(batch)-HeaderBytes) << 3; n != 0; n &= n - 1 {
		difference = times(squares[bits.TrailingZeros64(n)], difference)
	}
	binary.BigEndian.PutUint32(batch[crcAt:], binary.BigEndian.Uint32(batch[crcAt:])^difference)
}
