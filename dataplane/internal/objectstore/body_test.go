package objectstore

import (
	"bytes"
	"io"
	"testing"
	"testing/iotest"
)

func TestPiecesReadAsOne(t *testing.T) {
	t.Parallel()
	for name, body := range map[string][][]byte{
		"none": nil, "empty ones": {nil, {}, nil}, "one": {[]byte("abc")},
		"many": {[]byte("a"), nil, []byte("bcdefg"), []byte("hi"), nil, []byte("jklmnopq"), {}},
	} {
		whole := bytes.Join(body, nil)
		if err := iotest.TestReader(newPieces(body), whole); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for at := range len(whole) + 1 {
			r := newPieces(body)
			if _, err := r.Seek(int64(at), io.SeekStart); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			n, err := r.WriteTo(&out)
			if err != nil || n != int64(len(whole)-at) || !bytes.Equal(out.Bytes(), whole[at:]) {
				t.Errorf("%s from %d: %q, %v", name, at, out.Bytes(), err)
			}
		}
		if !equal(body, whole) || equal(body, append([]byte("x"), whole...)) || equal(append(body, []byte("x")), whole) {
			t.Errorf("%s: equality", name)
		}
		if ChecksumOf(body) != Checksum(whole) {
			t.Errorf("%s: checksum", name)
		}
	}
	if _, err := newPieces(nil).Seek(1, io.SeekStart); err == nil {
		t.Error("a seek past the end was taken")
	}
}
