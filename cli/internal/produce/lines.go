package produce

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// maxLineBytes bounds a line: the largest record, 3 MiB, in base64 and with names around it.
const maxLineBytes = 8 << 20

const readBytes = 256 << 10

// lines splits a stream at \n, and nowhere else: a \r belongs to the line, and so does every other byte. What follows the last \n is a line
// if there is anything.
type lines struct {
	source *bufio.Reader
	number int
	limit  int
}

func newLines(r io.Reader) *lines {
	return &lines{source: bufio.NewReaderSize(r, readBytes), limit: maxLineBytes}
}

// next returns a line without its \n, in memory of its own, and how many bytes of input it took; io.EOF: there is none.
func (l *lines) next() (line []byte, taken int, err error) {
	l.number++
	for {
		piece, err := l.source.ReadSlice('\n')
		if len(line)+len(piece) > l.limit+1 {
			return nil, 0, fmt.Errorf("line %d is longer than %d bytes, which no record may be", l.number, l.limit)
		}
		line = append(line, piece...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case err == nil:
			return line[: len(line)-1 : len(line)], len(line), nil
		case errors.Is(err, io.EOF) && len(line) > 0:
			return line, len(line), nil
		default:
			return nil, 0, err
		}
	}
}
