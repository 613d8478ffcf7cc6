package ingest

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// world is a ledger with the smallest catalog that can judge it, and what the ledger told whom.
type world struct {
	ledger *Ledger
	epoch  [parts]int32 // of the newest tenure
	ours   [parts]bool  // this session holds it
	log    [parts][]string
	seq    [parts]int32

	uploading []*Object
	uploaded  map[string]*object.Sealed
	content   map[string]string // (partition, epoch, offset) -> first bytes that were ever uploaded for it
	sent      *Commit
	answered  map[string]*controlplanev1.ObjectOutcome
	open      map[*Pending]waiting
	names     int
}

type waiting struct {
	p      int
	values []string
}

const parts = 3

func id(p int) partition.ID { return partition.ID{Topic: object.UUID{15: 1}, Number: int32(p)} }

func newWorld() *world {
	w := &world{
		ledger:   New(Config{AgentGroup: "g", MaxObjectBytes: 700, MaxBufferedBytes: 6000}),
		uploaded: map[string]*object.Sealed{}, content: map[string]string{}, answered: map[string]*controlplanev1.ObjectOutcome{},
		open: map[*Pending]waiting{},
	}
	w.ledger.ripeBytes = 200 // about three calls
	return w
}

func encode(t interface{ Fatal(...any) }, value string, who recordbatch.Producer) *Batch {
	b := recordbatch.NewBuilder(recordbatch.None, recordbatch.Limits{})
	if err := b.Append(5, nil, []byte(value), nil); err != nil {
		t.Fatal(err)
	}
	bytes, err := b.AppendBatch(nil, who)
	if err != nil {
		t.Fatal(err)
	}
	h, err := recordbatch.ParseHeader(bytes)
	if err != nil {
		t.Fatal(err)
	}
	return &Batch{Bytes: bytes, Header: h, MinTimestampMs: 5, ExpectedOffset: Anywhere}
}

// plainly makes a call of plain records.
func plainly(t interface{ Fatal(...any) }, values ...string) *Batch {
	b := recordbatch.NewBuilder(recordbatch.None, recordbatch.Limits{})
	for i, v := range values {
		if err := b.Append(5+int64(i), nil, []byte(v), nil); err != nil {
			t.Fatal(err)
		}
	}
	bytes, err := b.AppendBatch(nil, recordbatch.NoProducer())
	if err != nil {
		t.Fatal(err)
	}
	h, err := recordbatch.ParseHeader(bytes)
	if err != nil {
		t.Fatal(err)
	}
	return &Batch{Bytes: bytes, Plain: true, Header: h, MinTimestampMs: 5, ExpectedOffset: Anywhere}
}

// valuesOf reads a whole batch, which must be true in every field.
func valuesOf(t interface{ Fatal(...any) }, batch []byte) (values []string) {
	info, err := recordbatch.Verify(batch, recordbatch.Limits{}, new(recordbatch.Scratch))
	if err != nil {
		t.Fatal(err)
	}
	var v recordbatch.View
	for r := recordbatch.NewReader(info); r.Next(&v); {
		values = append(values, string(v.Value))
	}
	return values
}

// TestP2_P3_P6_LedgerAgainstTheSmallestCatalog: whatever happens in whatever order, the log is dense, one (epoch, offset) has one content,
// what was acknowledged is in the log at its offset, and what was surely not written is not in it, then or later.
func TestP2_P3_P6_LedgerAgainstTheSmallestCatalog(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		pick := func(name string) int { return rapid.IntRange(0, parts-1).Draw(t, name) }
		t.Repeat(map[string]func(*rapid.T){
			"grant":   func(*rapid.T) { w.grant(pick("p")) },
			"late":    func(t *rapid.T) { w.late(t, pick("p")) },
			"append":  func(t *rapid.T) { w.append(t, pick("p"), rapid.Bool().Draw(t, "idempotent")) },
			"again":   func(t *rapid.T) { w.append(t, pick("p"), false) },
			"plain":   func(t *rapid.T) { w.plain(t, pick("p"), rapid.IntRange(1, 3).Draw(t, "records")) },
			"plainly": func(t *rapid.T) { w.plain(t, pick("p"), 1) },
			"seal":    func(*rapid.T) { w.ledger.Seal(Lingered) },
			"begin":   func(t *rapid.T) { w.begin(t) },
			"stored":  func(t *rapid.T) { w.stored(t, true) },
			"failed":  func(t *rapid.T) { w.stored(t, false) },
			"send":    func(t *rapid.T) { w.send(t) },
			"answer":  func(t *rapid.T) { w.answer(t) },
			"depose":  func(*rapid.T) { w.depose(pick("p")) },
			"resign":  func(*rapid.T) { w.resign(pick("p")) },
			"closing": func(*rapid.T) { w.close(pick("p")) },
			"":        func(t *rapid.T) { w.check(t) },
		})
		w.finish(t)
	})
}

func (w *world) grant(p int) {
	if held, ok := w.ledger.Held()[id(p)]; ok && w.ours[p] && held.Epoch == w.epoch[p] {
		return
	}
	if !w.ours[p] || w.ledger.LastEnded(id(p)) >= w.epoch[p] {
		w.epoch[p]++
		w.ours[p] = true
	}
	w.ledger.Grant(id(p), w.grantOf(p))
}

func (w *world) grantOf(p int) *controlplanev1.Grant {
	g := &controlplanev1.Grant{
		Epoch: w.epoch[p], TenureFirstOffset: int64(len(w.log[p])), HighWatermark: int64(len(w.log[p])), ProducersComplete: true,
	}
	if w.seq[p] > 0 {
		g.Producers = []*controlplanev1.ProducerState{{ProducerId: 9, Batches: []*controlplanev1.ProducerBatch{
			{ProducerId: 9, BaseSequence: w.seq[p] - 1, RecordCount: 1, BaseOffset: w.lastIdempotent(p)},
		}}}
	}
	return g
}

func (w *world) lastIdempotent(p int) int64 {
	for i, v := range slices.Backward(w.log[p]) {
		if v[0] == 'i' {
			return int64(i)
		}
	}
	return 0
}

// late repeats the grant of a tenure that has begun, or ended: it must change nothing.
func (w *world) late(t *rapid.T, p int) {
	held, ok := w.ledger.Held()[id(p)]
	begun := (ok && held.Epoch == w.epoch[p]) || w.ledger.LastEnded(id(p)) == w.epoch[p]
	if w.epoch[p] > 0 && begun && w.ledger.Grant(id(p), w.grantOf(p)) {
		t.Fatalf("the grant of epoch %d, come late, began it again", w.epoch[p])
	}
}

func (w *world) append(t *rapid.T, p int, idempotent bool) {
	w.names++
	value, who := fmt.Sprintf("n%d", w.names), recordbatch.NoProducer()
	if idempotent {
		w.ledger.mu.Lock()
		next := w.seq[p]
		if held := w.ledger.tenures[id(p)]; held != nil && held.producers[9] != nil {
			next = held.producers[9].expected()
		}
		w.ledger.mu.Unlock()
		value, who = fmt.Sprintf("i%d", next), recordbatch.Producer{ID: 9, BaseSequence: next}
	}
	w.taken(t, w.ledger.Append(id(p), encode(t, value, who)), p, value)
}

// plain appends a call of plain records.
func (w *world) plain(t *rapid.T, p, records int) {
	values := make([]string, records)
	for i := range values {
		w.names++
		values[i] = fmt.Sprintf("n%d", w.names)
	}
	w.taken(t, w.ledger.Append(id(p), plainly(t, values...)), p, values...)
}

func (w *world) taken(t *rapid.T, d Decision, p int, values ...string) {
	switch d.Verdict {
	case Accepted:
		w.open[d.Pending] = waiting{p: p, values: values}
	case NotLeading, Overloaded:
	default:
		t.Fatalf("verdict %d, refusal %v", d.Verdict, d.Refusal)
	}
}

func (w *world) begin(t *rapid.T) {
	o := w.ledger.NextUpload()
	if o == nil {
		return
	}
	if err := w.ledger.Build(o); err != nil {
		t.Fatal(err)
	}
	sealed, err := o.Encode()
	if err != nil {
		t.Fatal(err)
	}
	o.sealed = nil
	w.uploading = append(w.uploading, o)
	w.uploaded[o.Key.String()] = sealed
	for _, s := range sealed.Segments {
		data := bytes.Join(sealed.Body, nil)[s.BytePosition : s.BytePosition+int64(s.SizeBytes)]
		for batch := range recordbatch.Split(data) {
			h, _ := recordbatch.ParseHeader(batch)
			at := fmt.Sprint(s.Partition, s.Epoch, h.BaseOffset)
			if old, ok := w.content[at]; ok && old != string(batch) {
				t.Fatalf("P2: epoch and offset %s have two contents", at)
			}
			w.content[at] = string(batch)
			if h.LeaderEpoch != s.Epoch {
				t.Fatalf("stamped with epoch %d in a segment of %d", h.LeaderEpoch, s.Epoch)
			}
		}
	}
}

func (w *world) stored(t *rapid.T, ok bool) {
	if len(w.uploading) == 0 {
		return
	}
	i := rapid.IntRange(0, len(w.uploading)-1).Draw(t, "upload")
	o := w.uploading[i]
	w.uploading = append(w.uploading[:i], w.uploading[i+1:]...)
	if ok {
		w.ledger.Uploaded(o, w.uploaded[o.Key.String()])
	} else {
		w.ledger.UploadFailed(o, refusalv1.Reason_REASON_NOT_LEADER)
	}
}

func (w *world) send(t *rapid.T) {
	c := w.ledger.NextCommit()
	if c == nil {
		return
	}
	if w.sent != nil {
		t.Fatal("two commits in flight")
	}
	w.sent = c
}

// answer has the catalog decide the commit, or answer what it decided before; sometimes the answer is lost.
func (w *world) answer(t *rapid.T) {
	if w.sent == nil {
		return
	}
	res := &controlplanev1.CommitResponse{}
	for _, o := range w.sent.Request.GetObjects() {
		out := w.answered[o.GetKey()]
		if out == nil {
			out = &controlplanev1.ObjectOutcome{Key: o.GetKey()}
			for _, s := range o.GetSegments() {
				out.Segments = append(out.Segments, w.decide(t, o.GetKey(), s))
			}
			w.answered[o.GetKey()] = out
		}
		res.Objects = append(res.Objects, out)
	}
	if rapid.Bool().Draw(t, "lost") {
		return
	}
	if _, err := w.ledger.Answered(w.sent, res); err != nil {
		t.Fatal(err)
	}
	for i, o := range w.sent.Request.GetObjects() {
		for j, s := range o.GetSegments() {
			held, ok := w.ledger.Held()[id(int(s.GetPartition()))]
			refused := res.GetObjects()[i].GetSegments()[j].GetResult() != controlplanev1.SegmentResult_SEGMENT_RESULT_COMMITTED
			if refused && ok && held.Epoch == s.GetEpoch() {
				t.Fatalf("epoch %d of %d goes on after a failed entry", s.GetEpoch(), s.GetPartition())
			}
		}
	}
	w.sent = nil
}

func (w *world) decide(t *rapid.T, key string, s *controlplanev1.SegmentCommit) *controlplanev1.SegmentOutcome {
	p := int(s.GetPartition())
	high := int64(len(w.log[p]))
	out := &controlplanev1.SegmentOutcome{CurrentEpoch: w.epoch[p]}
	switch {
	case !w.ours[p] || w.epoch[p] != s.GetEpoch():
		out.Result = controlplanev1.SegmentResult_SEGMENT_RESULT_FENCED
	case high != s.GetBaseOffset():
		t.Fatalf("partition %d: a commit at %d in the current epoch, the end is %d", p, s.GetBaseOffset(), high)
	default:
		out.Result = controlplanev1.SegmentResult_SEGMENT_RESULT_COMMITTED
		body := bytes.Join(w.uploaded[key].Body, nil)[s.GetBytePosition() : s.GetBytePosition()+int64(s.GetSizeBytes())]
		for batch := range recordbatch.Split(body) {
			if h, _ := recordbatch.ParseHeader(batch); h.BaseOffset != int64(len(w.log[p])) {
				t.Fatalf("P2: a batch at %d, the log ends at %d", h.BaseOffset, len(w.log[p]))
			}
			w.log[p] = append(w.log[p], valuesOf(t, batch)...)
		}
		w.seq[p] += int32(len(s.GetProducerBatches()))
	}
	return out
}

func (w *world) depose(p int) {
	w.epoch[p]++
	w.ours[p] = false
}

func (w *world) resign(p int) {
	if held, ok := w.ledger.Held()[id(p)]; ok {
		w.ledger.EndAll([]Ended{{Tenure{id(p), held.Epoch}, refusalv1.Reason_REASON_NOT_LEADER}})
	}
}

func (w *world) close(p int) {
	if held, ok := w.ledger.Held()[id(p)]; ok {
		w.ledger.CloseAll([]Tenure{{id(p), held.Epoch}})
		if !w.ledger.Held()[id(p)].Busy {
			w.ledger.EndAll([]Ended{{Tenure{id(p), held.Epoch}, refusalv1.Reason_REASON_NOT_LEADER}})
		}
	}
}

func (w *world) check(t *rapid.T) {
	for pending, want := range w.open {
		select {
		case <-pending.Done():
		default:
			continue
		}
		delete(w.open, pending)
		o := pending.Outcome()
		log := w.log[want.p]
		if end := o.BaseOffset + int64(len(want.values)); o.Stored() && (end > int64(len(log)) || !slices.Equal(log[o.BaseOffset:end], want.values)) {
			t.Fatalf("P1: %s was acknowledged at %d, the log is %v", want.values, o.BaseOffset, w.log[want.p])
		}
		if o.Written == refusalv1.Written_WRITTEN_SURELY_NOT && want.values[0][0] == 'n' && w.has(want) {
			t.Fatalf("P6: %s was surely not written, the log is %v", want.values, w.log[want.p])
		}
	}
	if n := w.ledger.BufferedBytes(); n < 0 {
		t.Fatalf("%d bytes buffered", n)
	}
}

func (w *world) has(want waiting) bool {
	return slices.ContainsFunc(want.values, func(v string) bool { return slices.Contains(w.log[want.p], v) })
}

// finish brings everything to an end: every fate is known, nothing is held any more.
func (w *world) finish(t *rapid.T) {
	w.ledger.Stop()
	for range 1000 {
		if w.ledger.Idle() {
			break
		}
		w.ledger.Seal(Lingered)
		w.begin(t)
		w.stored(t, true)
		w.send(t)
		w.answer(t)
		w.check(t)
	}
	w.check(t)
	if len(w.open) > 0 || w.ledger.BufferedBytes() != 0 || !w.ledger.Idle() {
		t.Fatalf("%d fates open, %d bytes held, idle %v", len(w.open), w.ledger.BufferedBytes(), w.ledger.Idle())
	}
	for p := range parts {
		seen := map[string]bool{}
		for _, v := range w.log[p] {
			if seen[v] {
				t.Fatalf("P5: %s is in the log twice: %v", v, w.log[p])
			}
			seen[v] = true
		}
	}
}
