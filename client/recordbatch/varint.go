package recordbatch

import "math/bits"

func zigzag64(v int64) uint64 { return uint64(v<<1) ^ uint64(v>>63) }

// varintLen is the encoded size of an already zigzagged value.
func varintLen(u uint64) int { return (bits.Len64(u|1) + 6) / 7 }

// putVarint writes an already zigzagged value at b[i:] and returns the index after it.
func putVarint(b []byte, i int, u uint64) int {
	for u >= 0x80 {
		b[i] = byte(u) | 0x80
		u >>= 7
		i++
	}
	b[i] = byte(u)
	return i + 1
}

// varint32 reads a varint at b[i:] and returns it with the index after it, or a negative index if it
// does not end within b and 32 bits. A negative i is passed on, so that callers may check once.
func varint32(b []byte, i int) (int32, int) {
	if uint(i) >= uint(len(b)) {
		return 0, -1
	}
	u := uint32(b[i])
	i++
	if u >= 0x80 {
		if u, i = uvarint32More(b, i, u&0x7f); i < 0 {
			return 0, -1
		}
	}
	return int32(u>>1) ^ -int32(u&1), i
}

func uvarint32More(b []byte, i int, u uint32) (uint32, int) {
	for shift := 7; shift < 35 && i < len(b); shift += 7 {
		c := b[i]
		i++
		if shift == 28 && c > 0x0f {
			return 0, -1
		}
		u |= uint32(c&0x7f) << shift
		if c < 0x80 {
			return u, i
		}
	}
	return 0, -1
}

// varint64 is varint32 for 64 bits.
func varint64(b []byte, i int) (int64, int) {
	if uint(i) >= uint(len(b)) {
		return 0, -1
	}
	u := uint64(b[i])
	i++
	if u >= 0x80 {
		if u, i = uvarint64More(b, i, u&0x7f); i < 0 {
			return 0, -1
		}
	}
	return int64(u>>1) ^ -int64(u&1), i
}

func uvarint64More(b []byte, i int, u uint64) (uint64, int) {
	for shift := 7; shift < 70 && i < len(b); shift += 7 {
		c := b[i]
		i++
		if shift == 63 && c > 1 {
			return 0, -1
		}
		u |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return u, i
		}
	}
	return 0, -1
}
