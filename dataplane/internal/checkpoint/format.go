package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

const (
	version      = 1
	headSize     = 8
	lengthSize   = 4
	trailerSize  = 24
	maxPageBytes = 64 << 20
)

var (
	headMagic    = []byte("\x89SHCKP")
	trailerMagic = []byte("SHCEND")
)

// ErrInvalid says that these bytes are no checkpoint, or a damaged one, or one of a version that is not known here.
var ErrInvalid = errors.New("not a valid checkpoint")

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

// Writer puts a checkpoint together in memory. The zero value is not usable; see NewWriter.
type Writer struct {
	body  []byte
	pages uint32
}

// NewWriter begins a checkpoint.
func NewWriter() *Writer {
	return &Writer{body: binary.BigEndian.AppendUint16(bytes.Clone(headMagic), version)}
}

// Add appends a page.
func (w *Writer) Add(page *controlplanev1.CheckpointPage) error {
	at := len(w.body)
	w.body = append(w.body, 0, 0, 0, 0)
	body, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(w.body, page)
	if err != nil {
		return fmt.Errorf("encode page: %w", err)
	}
	length := len(body) - at - lengthSize
	if length < 1 || length > maxPageBytes {
		w.body = w.body[:at]
		return fmt.Errorf("a page of %d bytes: want 1 to %d", length, maxPageBytes)
	}
	binary.BigEndian.PutUint32(body[at:], uint32(length))
	w.body, w.pages = body, w.pages+1
	return nil
}

// Seal ends the checkpoint and answers all of it. Nothing may be added afterwards.
func (w *Writer) Seal() []byte {
	w.body = append(w.body, 0, 0, 0, 0)
	length, sum := len(w.body), object.Checksum(w.body)
	w.body = binary.BigEndian.AppendUint64(w.body, uint64(length))
	w.body = binary.BigEndian.AppendUint32(w.body, w.pages)
	w.body = binary.BigEndian.AppendUint32(w.body, sum)
	w.body = binary.BigEndian.AppendUint16(w.body, version)
	w.body = append(w.body, trailerMagic...)
	return w.body
}

// Read answers the pages of a checkpoint. Errors wrap ErrInvalid.
func Read(whole []byte) ([]*controlplanev1.CheckpointPage, error) {
	body, count, err := verify(whole)
	if err != nil {
		return nil, err
	}
	rest := body[headSize:]
	var pages []*controlplanev1.CheckpointPage
	for {
		page, after, err := readPage(rest)
		if err != nil {
			return nil, err
		}
		if page == nil {
			if len(after) > 0 || uint32(len(pages)) != count {
				return nil, invalid("%d pages and %d bytes, want %d pages", len(pages), len(after), count)
			}
			break
		}
		pages, rest = append(pages, page), after
	}
	if len(pages) == 0 || pages[0].GetHead() == nil {
		return nil, invalid("it does not begin with a head")
	}
	return pages, nil
}

// verify checks both ends and the checksum, and answers what stands before the trailer.
func verify(whole []byte) (body []byte, pages uint32, err error) {
	if len(whole) < headSize+lengthSize+trailerSize {
		return nil, 0, invalid("%d bytes", len(whole))
	}
	body, trailer := whole[:len(whole)-trailerSize], whole[len(whole)-trailerSize:]
	if !bytes.Equal(body[:len(headMagic)], headMagic) || !bytes.Equal(trailer[18:], trailerMagic) {
		return nil, 0, invalid("no magic")
	}
	if v := binary.BigEndian.Uint16(body[6:]); v != version || binary.BigEndian.Uint16(trailer[16:]) != version {
		return nil, 0, invalid("version %d is not known here", v)
	}
	if length := binary.BigEndian.Uint64(trailer); length != uint64(len(body)) {
		return nil, 0, invalid("%d bytes, its trailer says %d", len(body), length)
	}
	if binary.BigEndian.Uint32(trailer[12:]) != object.Checksum(body) {
		return nil, 0, invalid("its checksum is another")
	}
	return body, binary.BigEndian.Uint32(trailer[8:]), nil
}

// readPage answers nil for the end.
func readPage(rest []byte) (page *controlplanev1.CheckpointPage, after []byte, err error) {
	if len(rest) < lengthSize {
		return nil, nil, invalid("it has no end")
	}
	length := binary.BigEndian.Uint32(rest)
	rest = rest[lengthSize:]
	if length == 0 {
		return nil, rest, nil
	}
	if length > maxPageBytes || uint64(length) > uint64(len(rest)) {
		return nil, nil, invalid("a page of %d bytes", length)
	}
	page = &controlplanev1.CheckpointPage{}
	if err := proto.Unmarshal(rest[:length], page); err != nil {
		return nil, nil, fmt.Errorf("%w: page: %w", ErrInvalid, err)
	}
	return page, rest[length:], nil
}

// Describe is the object that describes one topic which no checkpoint has yet.
func Describe(agentGroup string, incarnation int32, topic *controlplanev1.CheckpointTopic) ([]byte, error) {
	w := NewWriter()
	err := w.Add(&controlplanev1.CheckpointPage{
		Head:   &controlplanev1.CheckpointHead{AgentGroup: agentGroup, Incarnation: incarnation},
		Topics: []*controlplanev1.CheckpointTopic{topic},
	})
	return w.Seal(), err
}
