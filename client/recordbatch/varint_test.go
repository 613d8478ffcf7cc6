package recordbatch

import (
	"encoding/binary"
	"math"
	"testing"
)

func TestVarintsAgreeWithTheStandardLibrary(t *testing.T) {
	t.Parallel()
	values := []int64{0, 1, -1, 63, 64, -64, -65, math.MaxInt32, math.MinInt32, math.MaxInt32 + 1, math.MaxInt64, math.MinInt64}
	for shift := range 63 {
		values = append(values, 1<<shift, -1<<shift, 1<<shift-1)
	}
	for _, v := range values {
		want := binary.AppendVarint(nil, v)
		got := make([]byte, varintLen(zigzag64(v)))
		if n := putVarint(got, 0, zigzag64(v)); n != len(got) || string(got) != string(want) {
			t.Errorf("%d: wrote % x, want % x", v, got, want)
		}
		if read, i := varint64(want, 0); read != v || i != len(want) {
			t.Errorf("%d: read %d, %d bytes of %d", v, read, i, len(want))
		}
		read, i := varint32(want, 0)
		if fits := v == int64(int32(v)); fits != (i == len(want)) || (fits && int64(read) != v) || (!fits && i >= 0) {
			t.Errorf("%d: read %d in 32 bits, index %d", v, read, i)
		}
		for cut := range want {
			if _, i := varint64(want[:cut], 0); i >= 0 {
				t.Errorf("%d: cut to %d bytes, accepted", v, cut)
			}
			if _, i := varint32(want[:cut], 0); i >= 0 {
				t.Errorf("%d: cut to %d bytes, accepted in 32 bits", v, cut)
			}
		}
	}
}

func TestVarintsEndInTime(t *testing.T) {
	t.Parallel()
	for _, b := range [][]byte{
		{0x80, 0x80, 0x80, 0x80, 0x80, 0},
		{0xff, 0xff, 0xff, 0xff, 0x10},
		{0xff, 0xff, 0xff, 0xff, 0x8f, 0},
	} {
		if _, i := varint32(b, 0); i >= 0 {
			t.Errorf("% x: accepted in 32 bits", b)
		}
	}
	ten := []byte{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80}
	for _, end := range [][]byte{{2}, {0x80, 0}, {0x81, 0}} {
		if _, i := varint64(append(ten[:9:9], end...), 0); i >= 0 {
			t.Errorf("ending in % x: accepted in 64 bits", end)
		}
	}
	if _, i := varint32([]byte{0}, -1); i >= 0 {
		t.Error("a failed index was forgotten")
	}
	if _, i := varint64([]byte{0}, 5); i >= 0 {
		t.Error("an index past the end was accepted")
	}
}
