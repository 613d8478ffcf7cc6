package inventory

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"

	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
)

const (
	// pieceBytes is how much of a segment is in memory: more than the largest batch. readersTogether pieces are at a time.
	pieceBytes      = 8 << 20
	readersTogether = 4
	// window is how many batches of a producer are told (P5).
	window = 5
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// CheckSegments reads segments piece by piece.
func (s *Service) CheckSegments(ctx context.Context, request *dataplanev1.CheckSegmentsRequest) (*dataplanev1.CheckSegmentsResponse, error) {
	for _, r := range request.GetSegments() {
		if err := s.mine(r.GetObjectKey()); err != nil {
			return nil, err
		}
	}
	done, err := s.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	response := &dataplanev1.CheckSegmentsResponse{Segments: make([]*dataplanev1.CheckedSegment, len(request.GetSegments()))}
	runs := adjacent(request.GetSegments())
	readers := make(chan struct{}, readersTogether)
	err = inParallel(ctx, len(runs), func(ctx context.Context, i int) error {
		readers <- struct{}{}
		defer func() { <-readers }()
		return s.checkRun(ctx, request.GetSegments()[runs[i].first:runs[i].end], response.GetSegments()[runs[i].first:runs[i].end])
	})
	if err != nil {
		return nil, unavailable(ctx, err)
	}
	return response, nil
}

// run is some segments of a request that lie one behind the other in an object, and together in a piece. What has no bytes is by itself.
type run struct{ first, end int }

func adjacent(segments []*dataplanev1.SegmentRange) (runs []run) {
	bytes, next := int64(0), int64(0) // of the last run: its size, and where it ends
	for i, r := range segments {
		size := int64(r.GetSizeBytes())
		if bytes > 0 && size > 0 && r.GetObjectKey() == segments[i-1].GetObjectKey() && r.GetBytePosition() == next && bytes+size <= pieceBytes {
			runs[len(runs)-1].end, bytes = i+1, bytes+size
		} else {
			runs, bytes = append(runs, run{i, i + 1}), size
		}
		next = r.GetBytePosition() + size
	}
	return runs
}

// checkRun reads a run of segments at once. Where that is not possible each is read by itself, and so is told what is wrong with it.
func (s *Service) checkRun(ctx context.Context, run []*dataplanev1.SegmentRange, into []*dataplanev1.CheckedSegment) (err error) {
	if len(run) > 1 && s.checkTogether(ctx, run, into) == nil {
		return nil
	}
	for i, r := range run {
		if into[i], err = s.check(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) checkTogether(ctx context.Context, run []*dataplanev1.SegmentRange, into []*dataplanev1.CheckedSegment) error {
	from, last := run[0].GetBytePosition(), run[len(run)-1]
	buffer := make([]byte, last.GetBytePosition()+int64(last.GetSizeBytes())-from)
	if err := s.store.GetRange(ctx, run[0].GetObjectKey(), from, buffer); err != nil {
		return fmt.Errorf("read %d segments: %w", len(run), err)
	}
	for i, r := range run {
		at := r.GetBytePosition() - from
		into[i] = &dataplanev1.CheckedSegment{}
		if err := verify(buffer[at:at+int64(r.GetSizeBytes())], r, into[i]); err != nil {
			into[i].Fault = err.Error()
		}
	}
	return nil
}

// verify checks the bytes of a whole segment. All its errors are damage.
func verify(b []byte, r *dataplanev1.SegmentRange, checked *dataplanev1.CheckedSegment) error {
	var producers lastBatches
	rest, err := producers.take(b)
	if err != nil {
		return err
	}
	return producers.end(crc32.Checksum(b, castagnoli), len(rest), r, checked)
}

// check reads one segment. An error: the bucket does not answer.
func (s *Service) check(ctx context.Context, r *dataplanev1.SegmentRange) (*dataplanev1.CheckedSegment, error) {
	checked := &dataplanev1.CheckedSegment{}
	var err error
	if r.GetSizeBytes() == 0 {
		_, err = s.store.Head(ctx, r.GetObjectKey())
	} else {
		err = s.read(ctx, r, checked)
	}
	bad, damaged := errors.AsType[*damage](err)
	switch {
	case errors.Is(err, objectstore.ErrNotFound):
		checked.Missing, checked.Fault = true, "the object is not there"
	case errors.Is(err, objectstore.ErrOutOfRange):
		checked.Fault = "the object ends before the segment does"
	case damaged:
		checked.Fault = bad.what
	case err != nil:
		return nil, err
	}
	return checked, nil
}

// damage is a fault of the bytes, not of the way to them.
type damage struct{ what string }

func (d *damage) Error() string { return d.what }

func damaged(format string, args ...any) error { return &damage{fmt.Sprintf(format, args...)} }

func (s *Service) read(ctx context.Context, r *dataplanev1.SegmentRange, checked *dataplanev1.CheckedSegment) error {
	buffer := make([]byte, min(pieceBytes, int(r.GetSizeBytes())))
	held, sum := 0, uint32(0)
	var producers lastBatches
	for at := int64(0); at < int64(r.GetSizeBytes()); {
		piece := buffer[held:min(len(buffer), held+int(int64(r.GetSizeBytes())-at))]
		if len(piece) == 0 {
			return damaged("a batch of more than %d bytes at byte %d", pieceBytes, r.GetBytePosition()+at-int64(held))
		}
		if err := s.store.GetRange(ctx, r.GetObjectKey(), r.GetBytePosition()+at, piece); err != nil {
			return err
		}
		sum = crc32.Update(sum, castagnoli, piece)
		at += int64(len(piece))
		rest, err := producers.take(buffer[:held+len(piece)])
		if err != nil {
			return err
		}
		held = copy(buffer, rest)
	}
	return producers.end(sum, held, r, checked)
}

// lastBatches keeps the last batches of each producer, of its newest epoch.
type lastBatches struct {
	of    map[int64][]*controlplanev1.ProducerBatch
	order []int64
}

// take reads the whole batches at the beginning of b and returns what is left.
func (l *lastBatches) take(b []byte) (rest []byte, err error) {
	for len(b) >= recordbatch.HeaderBytes {
		h, err := recordbatch.ParseHeader(b)
		if err != nil {
			return nil, damaged("no batch where one should begin: %v", err)
		}
		size := h.Size()
		if size < recordbatch.HeaderBytes || size > pieceBytes {
			return nil, damaged("a batch at offset %d claims %d bytes", h.BaseOffset, size)
		}
		if size > int64(len(b)) {
			return b, nil
		}
		if sum := crc32.Checksum(b[recordbatch.ChecksumFrom:size], castagnoli); sum != h.CRC {
			return nil, damaged("the batch at offset %d has the checksum %08x, want %08x", h.BaseOffset, sum, h.CRC)
		}
		if h.Producer.Idempotent() {
			l.add(h)
		}
		b = b[size:]
	}
	return b, nil
}

func (l *lastBatches) add(h recordbatch.Header) {
	if l.of == nil {
		l.of = map[int64][]*controlplanev1.ProducerBatch{}
	}
	known := l.of[h.Producer.ID]
	if known == nil {
		l.order = append(l.order, h.Producer.ID)
	}
	epoch := int32(h.Producer.Epoch)
	switch {
	case len(known) > 0 && epoch < known[0].GetProducerEpoch():
		return
	case len(known) > 0 && epoch > known[0].GetProducerEpoch():
		known = nil
	case len(known) == window:
		known = known[1:]
	}
	l.of[h.Producer.ID] = append(known, &controlplanev1.ProducerBatch{
		// Sequences count the records that were written, also of a batch that compaction has taken some from.
		ProducerId: h.Producer.ID, ProducerEpoch: epoch, BaseSequence: h.Producer.BaseSequence, RecordCount: h.LastOffsetDelta + 1, BaseOffset: h.BaseOffset,
	})
}

// end judges a segment with this checksum, behind whose last batch some bytes are left.
func (l *lastBatches) end(sum uint32, left int, r *dataplanev1.SegmentRange, checked *dataplanev1.CheckedSegment) error {
	if sum != r.GetCrc32C() {
		return damaged("its bytes have the checksum %08x, want %08x", sum, r.GetCrc32C())
	}
	if left > 0 {
		return damaged("it ends within a batch")
	}
	checked.ProducerBatches = l.list()
	return nil
}

func (l *lastBatches) list() (batches []*controlplanev1.ProducerBatch) {
	for _, id := range l.order {
		batches = append(batches, l.of[id]...)
	}
	return batches
}
