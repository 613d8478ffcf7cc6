package ingest

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// A joint batch is ripe, and takes no more, when it has so many bytes or records before it is compressed: four blocks of LZ4. A larger one
// would not be smaller for it, and who reads one record of it decompresses all.
const (
	ripeBytes   = 256 << 10
	ripeRecords = 10_000
)

// joint is a batch in the making: the plain records that one or more calls have brought for a segment, one after the other. Which records it
// has, in which order, is fixed from when they are appended; it is compressed once, without the ledger's mutex: when it is ripe by whoever
// made it so, else when its object is uploaded, so that a lone record waits for nobody.
type joint struct {
	segment    *segment
	epoch      partition.Epoch
	baseOffset int64

	// The ledger's mutex guards these while it takes more; from then on they are read by whoever builds it, and the mutex guards counted alone.
	batches  [][]byte
	pendings []*Pending
	size     int // bytes of batches
	count    int32
	ripe     bool
	counted  bool // the ledger knows the size of what was built

	once sync.Once
	part object.Part
	err  error
}

// builders are shared by all: each compression borrows one.
var builders = sync.Pool{New: func() any { return recordbatch.NewBuilder(recordbatch.LZ4, recordbatch.Limits{}) }}

func (j *joint) add(b *Batch, pending *Pending) {
	j.batches, j.pendings = append(j.batches, b.Bytes), append(j.pendings, pending)
	j.size += len(b.Bytes)
	j.count += b.Header.RecordCount
}

// build compresses and stamps it, once, however many call. Requires: it takes no more.
func (j *joint) build() error {
	j.once.Do(func() {
		j.part, j.err = j.encode()
		j.batches = nil
	})
	return j.err
}

func (j *joint) encode() (object.Part, error) {
	builder := builders.Get().(*recordbatch.Builder)
	defer builders.Put(builder)
	builder.Reset()
	for _, b := range j.batches {
		if err := builder.Join(b); err != nil {
			return object.Part{}, fmt.Errorf("join plain records: %w", err)
		}
	}
	if builder.Count() != int(j.count) {
		return object.Part{}, fmt.Errorf("join plain records: %d of %d are there", builder.Count(), j.count)
	}
	built, err := builder.Build(recordbatch.NoProducer())
	if err != nil {
		return object.Part{}, fmt.Errorf("compress plain records: %w", err)
	}
	built = bytes.Clone(built)
	if err := recordbatch.Stamp(built, j.baseOffset, j.epoch); err != nil {
		return object.Part{}, fmt.Errorf("stamp plain records: %w", err)
	}
	header, err := recordbatch.ParseHeader(built)
	if err != nil {
		return object.Part{}, fmt.Errorf("compress plain records: %w", err)
	}
	return object.Part{Bytes: built, CRC32C: stampedChecksum(built, header)}, nil
}

// ripen has a batch that is large enough built by whoever appends now. Requires: mu.
func (l *Ledger) ripen(j *joint) {
	if j.ripe = j.size >= l.ripeBytes || j.count >= ripeRecords; j.ripe {
		l.ripe = append(l.ripe, j)
	}
}

// build compresses a ripe batch at once: an object that is full of raw bytes would be small, and whoever uploads it busy for long.
func (l *Ledger) build(j *joint) {
	if j.build() != nil {
		return // whoever uploads it comes to the same, and sees to those who wait
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count(j)
}

// count takes the size of what was built for what it was built of. Requires: mu, and it was built.
func (l *Ledger) count(j *joint) {
	if j.counted {
		return
	}
	j.counted = true
	s, saved := j.segment, j.size-len(j.part.Bytes)
	s.size -= saved
	if l.openAt[s.tenure] == s {
		l.open.size -= saved
	}
	if s.held > 0 { // else it is settled
		l.hold(s, -saved)
	}
}

// Build compresses what plain records of the object are not compressed yet, and leaves segments out that cannot be: those who brought the
// records are told that surely nothing was written. It is called once, before Encode, by whoever uploads the object.
func (l *Ledger) Build(o *Object) error {
	var failed []*joint
	all := o.joints()
	for _, j := range all {
		if j.build() != nil {
			failed = append(failed, j)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, j := range all {
		if j.err == nil {
			l.count(j)
		}
	}
	for _, j := range failed {
		l.leaveOut(o, j)
	}
	if len(failed) > 0 {
		return failed[0].err
	}
	return nil
}

// leaveOut ends the tenure of a batch that could not be built, for its offsets are gone. Only those who brought its records are told so; the
// others, whose records are sound, may be appended in a later tenure. Requires: mu.
func (l *Ledger) leaveOut(o *Object, j *joint) {
	s := j.segment
	if !s.dropped {
		for _, p := range j.pendings {
			p.settle(surelyNot(refusalv1.Reason_REASON_INTERNAL))
		}
		s.forget(j.pendings)
		l.end(s.tenure, refusalv1.Reason_REASON_NOT_LEADER)
	}
	o.remove(s)
}
