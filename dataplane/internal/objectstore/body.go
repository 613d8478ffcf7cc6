package objectstore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// pieces reads byte strings that follow each other as one, without copying them together.
type pieces struct {
	all   [][]byte
	size  int64
	at    int64 // position in the whole
	piece int   // the piece that at lies in
	done  int   // bytes of it that lie before at
}

func newPieces(body [][]byte) *pieces { return &pieces{all: body, size: sizeOf(body)} }

func sizeOf(body [][]byte) (size int64) {
	for _, b := range body {
		size += int64(len(b))
	}
	return size
}

// Read implements io.Reader. It fills p over the ends of pieces: what follows is a write of as many bytes.
func (r *pieces) Read(p []byte) (n int, err error) {
	for n < len(p) && r.piece < len(r.all) {
		got := copy(p[n:], r.all[r.piece][r.done:])
		n, r.done = n+got, r.done+got
		if r.done == len(r.all[r.piece]) {
			r.piece, r.done = r.piece+1, 0
		}
	}
	r.at += int64(n)
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// WriteTo implements io.WriterTo.
func (r *pieces) WriteTo(w io.Writer) (n int64, err error) {
	for r.piece < len(r.all) {
		got, err := w.Write(r.all[r.piece][r.done:])
		n, r.at, r.done = n+int64(got), r.at+int64(got), r.done+got
		if err != nil {
			return n, err
		}
		r.piece, r.done = r.piece+1, 0
	}
	return n, nil
}

var errSeek = errors.New("seek outside the body")

// Seek implements io.Seeker, which the client needs to learn the length and to begin again.
func (r *pieces) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.size
	}
	if offset < 0 || offset > r.size {
		return r.at, fmt.Errorf("%w: %d of %d", errSeek, offset, r.size)
	}
	r.at, r.piece, r.done = offset, 0, 0
	for r.piece < len(r.all) && offset >= int64(len(r.all[r.piece])) {
		offset -= int64(len(r.all[r.piece]))
		r.piece++
	}
	r.done = int(offset)
	return r.at, nil
}

// equal tells whether whole is what the pieces make together.
func equal(body [][]byte, whole []byte) bool {
	for _, b := range body {
		if !bytes.HasPrefix(whole, b) {
			return false
		}
		whole = whole[len(b):]
	}
	return len(whole) == 0
}

// ChecksumOf is the CRC-32C of the pieces together.
func ChecksumOf(body [][]byte) (sum uint32) {
	for _, b := range body {
		sum = update(sum, b)
	}
	return sum
}
