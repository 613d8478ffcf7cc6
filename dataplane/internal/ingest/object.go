package ingest

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/serve/tracing"
)

// Weights estimate what a segment and a producer's batch cost in a commit request, in bytes.
const (
	segmentWeight  = 130
	producerWeight = 40
	// maxObjectWeight bounds an object's share of a commit request, and maxCommitWeight the whole: messages end at 4 MiB.
	maxObjectWeight = 2 << 20
	maxCommitWeight = 3 << 20
)

// An open object of more than fewSegments segments is growing until they have goodSegmentBytes each on average: a segment is a row in the
// catalog, whatever its size.
const (
	fewSegments      = 64
	goodSegmentBytes = 8 << 10
	// growth bounds how many times its size an object may become by that.
	growth = 4
)

// Reason is why an object was sealed.
type Reason uint8

// The reasons.
const (
	// Full: it had reached its greatest size.
	Full Reason = iota + 1
	// Urgent: a hand-off or a drain waited for it.
	Urgent
	// First: it has the first batch of a tenure that has just begun.
	First
	// Idle: nothing else was on its way, and the budget allowed it.
	Idle
	// Lingered: it had waited for the budget, or to grow.
	Lingered
)

// Reasons lists all of them.
func Reasons() []Reason { return []Reason{Full, Urgent, First, Idle, Lingered} }

func (r Reason) String() string {
	return [...]string{"unsealed", "size", "urgent", "first", "idle", "linger"}[r]
}

// segment is one tenure's contiguous run of batches in one object. The ledger's mutex guards it; once its object is sealed, all but sent
// and dropped is read-only.
type segment struct {
	tenure     *tenure
	baseOffset int64
	count      int32
	size       int // bytes of batches; of what is not compressed yet, as it is
	held       int // bytes that count as buffered
	minTimeMs  int64
	maxTimeMs  int64
	parts      []part
	pendings   []*Pending
	producers  []*controlplanev1.ProducerBatch

	sent    bool // a commit has named it
	dropped bool // its tenure ended first: no commit will name it
}

// part is a batch of a segment: whole since it was appended, or in the making.
type part struct {
	whole object.Part
	joint *joint // nil: whole
}

// built is the finished batch. Requires: a joint one was built.
func (p part) built() object.Part {
	if p.joint != nil {
		return p.joint.part
	}
	return p.whole
}

func (s *segment) nextOffset() int64 { return s.baseOffset + int64(s.count) }

// bytes lists them for memory. Requires: Build.
func (s *segment) bytes() [][]byte {
	all := make([][]byte, len(s.parts))
	for i, p := range s.parts {
		all[i] = p.built().Bytes
	}
	return all
}

// add appends a batch; one of plain records to those right before it, in the joint batch that is returned.
func (s *segment) add(b *Batch, pending *Pending) *joint {
	if s.count == 0 {
		s.baseOffset, s.minTimeMs, s.maxTimeMs = pending.baseOffset, b.MinTimestampMs, b.Header.MaxTimestamp
	}
	s.count += b.Header.RecordCount
	s.size += len(b.Bytes)
	s.minTimeMs, s.maxTimeMs = min(s.minTimeMs, b.MinTimestampMs), max(s.maxTimeMs, b.Header.MaxTimestamp)
	s.pendings = append(s.pendings, pending)
	if b.Plain {
		j := s.joint(pending.baseOffset)
		j.add(b, pending)
		return j
	}
	s.parts = append(s.parts, part{whole: object.Part{Bytes: b.Bytes, CRC32C: stampedChecksum(b.Bytes, b.Header)}})
	if p := b.Header.Producer; p.Idempotent() {
		s.producers = append(s.producers, &controlplanev1.ProducerBatch{
			ProducerId: p.ID, ProducerEpoch: int32(p.Epoch), BaseSequence: p.BaseSequence, RecordCount: b.Header.RecordCount,
			BaseOffset: pending.baseOffset,
		})
	}
	return nil
}

// joint finds the joint batch that the segment ends with, or begins one there, at an offset: what was appended since, or a batch that is ripe,
// is not joined over.
func (s *segment) joint(baseOffset int64) *joint {
	if n := len(s.parts); n > 0 {
		if last := s.parts[n-1].joint; last != nil && !last.ripe {
			return last
		}
	}
	j := &joint{segment: s, epoch: s.tenure.epoch, baseOffset: baseOffset}
	s.parts = append(s.parts, part{joint: j})
	return j
}

// forget takes batches that were settled by themselves off the list of those that wait.
func (s *segment) forget(settled []*Pending) {
	s.pendings = slices.DeleteFunc(s.pendings, func(p *Pending) bool { return slices.Contains(settled, p) })
}

// stampedChecksum is the checksum of a whole batch. Its own covers all but what stands before: of a large batch it is not computed again,
// and a byte that changes in memory later on makes the bucket refuse the object.
func stampedChecksum(batch []byte, h recordbatch.Header) uint32 {
	const worthIt = 16 << 10
	if len(batch) < worthIt {
		return object.Checksum(batch)
	}
	head := batch[:recordbatch.ChecksumFrom]
	return object.Combine(object.Checksum(head), h.CRC, int64(len(batch)-len(head)))
}

// Object is a set of segments under one key: what is uploaded, and then named by a commit.
type Object struct {
	// Key names it in the bucket; valid once sealed.
	Key object.Key
	// OpenedAt is when its first batch came.
	OpenedAt time.Time
	// Calls are the traced ones that brought its batches; fixed once sealed.
	Calls tracing.Links
	// Span is the flusher's, set before the object is Uploaded; nil: it is not traced.
	Span trace.Span

	segments []*segment
	size     int // bytes of batches
	weight   int
	urgent   bool   // a hand-off or a drain waits for it
	first    bool   // it has a batch for which a tenure was awaited
	reason   Reason // why it was sealed

	sealed   *object.Sealed
	uploaded bool
	dead     bool // definitely never stored: nothing of it is committed
}

// Reason is why it was sealed. Requires: it was.
func (o *Object) Reason() Reason { return o.reason }

// Segments is how many it has. Requires: it was sealed.
func (o *Object) Segments() int { return len(o.segments) }

// Topics are those of its segments, each once. Requires: it was sealed.
func (o *Object) Topics(yield func(object.UUID) bool) {
	for i, s := range o.segments {
		topic := s.tenure.partition.Topic
		if i > 0 && topic == o.segments[i-1].tenure.partition.Topic {
			continue
		}
		if !yield(topic) {
			return
		}
	}
}

// joints lists the batches that are made of plain records. Requires: it was sealed.
func (o *Object) joints() (all []*joint) {
	for _, s := range o.segments {
		for _, p := range s.parts {
			if p.joint != nil {
				all = append(all, p.joint)
			}
		}
	}
	return all
}

// remove takes a segment out. Requires: it was not encoded.
func (o *Object) remove(s *segment) {
	o.segments = slices.DeleteFunc(o.segments, func(have *segment) bool { return have == s })
}

// growing tells whether its segments are many and small.
func (o *Object) growing() bool {
	n := len(o.segments)
	return n > fewSegments && o.size < n*goodSegmentBytes
}

// Encode describes what to upload; no batch is copied. It is called once, after Build, by whoever uploads it.
func (o *Object) Encode() (*object.Sealed, error) {
	builder, err := object.NewBuilder(o.Key)
	if err != nil {
		return nil, fmt.Errorf("encode object: %w", err)
	}
	for _, s := range o.segments {
		if _, err := builder.Append(s.describe(), s.built()...); err != nil {
			return nil, fmt.Errorf("encode object: %w", err)
		}
	}
	sealed, err := builder.Seal()
	if err != nil {
		return nil, fmt.Errorf("encode object: %w", err)
	}
	return &sealed, nil
}

// built lists its batches. Requires: Build.
func (s *segment) built() []object.Part {
	all := make([]object.Part, len(s.parts))
	for i, p := range s.parts {
		all[i] = p.built()
	}
	return all
}

func (s *segment) describe() object.Segment {
	return object.Segment{
		TopicID: s.tenure.partition.Topic, Partition: s.tenure.partition.Number, Epoch: s.tenure.epoch,
		BaseOffset: s.baseOffset, RecordCount: s.count, MinTimestampMs: s.minTimeMs, MaxTimestampMs: s.maxTimeMs,
		TenureFirstOffset: s.tenure.first,
	}
}

// sort puts the segments in the order of objects and commits.
func (o *Object) sort() {
	slices.SortFunc(o.segments, func(a, b *segment) int {
		p, q := a.tenure.partition, b.tenure.partition
		return cmp.Or(bytes.Compare(p.Topic[:], q.Topic[:]), cmp.Compare(p.Number, q.Number))
	})
}

// live lists the positions of the segments that a commit may still name.
func (o *Object) live() []int {
	var at []int
	for i, s := range o.segments {
		if !s.dropped && !o.dead {
			at = append(at, i)
		}
	}
	return at
}

// commit describes the object with only these segments of it. Requires: uploaded.
func (o *Object) commit(at []int) *controlplanev1.ObjectCommit {
	c := &controlplanev1.ObjectCommit{Key: o.Key.String(), SizeBytes: o.sealed.SizeBytes}
	for _, i := range at {
		s, e := o.segments[i], o.sealed.Segments[i]
		c.Segments = append(c.Segments, &controlplanev1.SegmentCommit{
			TopicId: bytes.Clone(e.TopicID[:]), Partition: e.Partition, Epoch: e.Epoch, BaseOffset: e.BaseOffset, RecordCount: e.RecordCount,
			BytePosition: e.BytePosition, SizeBytes: e.SizeBytes, Crc32C: e.CRC32C, MinTimestampMs: e.MinTimestampMs,
			MaxTimestampMs: e.MaxTimestampMs, TenureFirstOffset: e.TenureFirstOffset, ProducerBatches: s.producers,
		})
	}
	return c
}
