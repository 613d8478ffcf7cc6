// Package checksum puts CRC-32C (Castagnoli) checksums together without the bytes that they cover.
// Nothing here reads bytes: hash/crc32 does.
package checksum

import "math/bits"

// castagnoliPoly is the polynomial of CRC-32C, reflected: bit 31 is x^0.
const castagnoliPoly = 0x82f63b78

// squares[k] is x^(2^k) modulo the polynomial.
var squares = func() (s [64]uint32) {
	s[0] = 1 << 30 // x^1
	for k := 1; k < len(s); k++ {
		s[k] = multiply(s[k-1], s[k-1])
	}
	return s
}()

// multiply multiplies two polynomials modulo the CRC's.
func multiply(a, b uint32) (product uint32) {
	for ; a != 0; a <<= 1 {
		if a&(1<<31) != 0 {
			product ^= b
		}
		b = b>>1 ^ castagnoliPoly&-(b&1)
	}
	return product
}

// Combine is the CRC-32C of two byte strings back to back, from that of each and the second one's length: it costs a microsecond, whatever the
// length. Requires: size >= 0.
//
// Appending n zero bytes multiplies a checksum by x^(8n); the second string's own checksum is then added.
func Combine(first, second uint32, size int64) uint32 {
	for n := uint64(size) << 3; n != 0; n &= n - 1 {
		first = multiply(squares[bits.TrailingZeros64(n)], first)
	}
	return first ^ second
}
