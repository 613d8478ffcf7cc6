package ingest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

func leading(partitions int) *Ledger {
	l := New(Config{AgentGroup: "g", MaxObjectBytes: 1 << 20, MaxBufferedBytes: 64 << 20})
	for p := range partitions {
		l.Grant(id(p), &controlplanev1.Grant{Epoch: 7, ProducersComplete: true})
	}
	return l
}

func accept(t *testing.T, l *Ledger, p int, b *Batch) *Pending {
	t.Helper()
	d := l.Append(id(p), b)
	if d.Verdict != Accepted {
		t.Fatalf("verdict %d, refusal %v", d.Verdict, d.Refusal)
	}
	return d.Pending
}

// uploaded seals what is open and brings it into the bucket, as the flusher does. broken is what Build says.
func uploaded(t *testing.T, l *Ledger) (o *Object, broken error) {
	t.Helper()
	l.Seal(Lingered)
	if o = l.NextUpload(); o == nil {
		t.Fatal("nothing to upload")
	}
	if broken = l.Build(o); o.Segments() == 0 {
		l.UploadFailed(o, refusalv1.Reason_REASON_INTERNAL)
		return o, broken
	}
	sealed, err := o.Encode()
	if err != nil {
		t.Fatal(err)
	}
	l.Uploaded(o, sealed)
	return o, broken
}

// commitAll has the catalog accept what is ready.
func commitAll(t *testing.T, l *Ledger) Effect {
	t.Helper()
	c := l.NextCommit()
	res := &controlplanev1.CommitResponse{}
	for _, o := range c.Request.GetObjects() {
		out := &controlplanev1.ObjectOutcome{Key: o.GetKey()}
		for range o.GetSegments() {
			out.Segments = append(out.Segments, &controlplanev1.SegmentOutcome{Result: controlplanev1.SegmentResult_SEGMENT_RESULT_COMMITTED})
		}
		res.Objects = append(res.Objects, out)
	}
	effect, err := l.Answered(c, res)
	if err != nil {
		t.Fatal(err)
	}
	return effect
}

func outcome(t *testing.T, p *Pending) Outcome {
	t.Helper()
	select {
	case <-p.Done():
		return p.Outcome()
	default:
		t.Fatal("nobody was told")
		return Outcome{}
	}
}

// The plain records of calls that wait for the same object make one batch; batches that came as such stay by themselves, and in their place.
func TestP2_PlainRecordsOfSeveralCallsMakeOneBatch(t *testing.T) {
	t.Parallel()
	l := leading(2)
	var waiting []*Pending
	var want []string
	call := func(values ...string) {
		waiting, want = append(waiting, accept(t, l, 0, plainly(t, values...))), append(want, values...)
	}
	for i := range 100 {
		call(fmt.Sprint("one ", i))
	}
	call("two", "three")
	waiting, want = append(waiting, accept(t, l, 0, encode(t, "prebuilt", recordbatch.NoProducer()))), append(want, "prebuilt")
	call("four")
	waiting, want = append(waiting, accept(t, l, 0, encode(t, "idempotent", recordbatch.Producer{ID: 9}))), append(want, "idempotent")
	call("five")
	call("six")
	accept(t, l, 1, plainly(t, "elsewhere"))
	if _, err := uploaded(t, l); err != nil {
		t.Fatal(err)
	}
	var got []string
	var counts []int
	for _, batch := range commitAll(t, l).Committed[0].Batches {
		h, err := recordbatch.ParseHeader(batch)
		if err != nil || h.BaseOffset != int64(len(got)) || h.LeaderEpoch != 7 {
			t.Errorf("%v: a batch at %d of epoch %d, want %d of 7", err, h.BaseOffset, h.LeaderEpoch, len(got))
		}
		values := valuesOf(t, batch)
		got, counts = append(got, values...), append(counts, len(values))
	}
	if !slices.Equal(got, want) {
		t.Errorf("read %q, want %q", got, want)
	}
	if !slices.Equal(counts, []int{102, 1, 1, 1, 2}) {
		t.Errorf("batches of %d records", counts)
	}
	next := int64(0)
	for i, p := range waiting {
		if o := outcome(t, p); !o.Stored() || o.BaseOffset != next {
			t.Fatalf("call %d: %+v, want offset %d", i, o, next)
		}
		next++
		if i == 100 { // it brought two
			next++
		}
	}
	if l.BufferedBytes() != 0 {
		t.Errorf("%d bytes are held by nobody", l.BufferedBytes())
	}
}

// A batch that is large enough is compressed at once: then the object has room again, and what is held is what there is.
func TestRipeBatchesAreCompressedAtOnce(t *testing.T) {
	t.Parallel()
	l := leading(1)
	value := strings.Repeat(`{"level":"info"},`, 600)
	raw, calls := 0, 0
	for ; raw < 4*ripeBytes+ripeBytes/2; calls++ {
		b := plainly(t, value)
		raw += len(b.Bytes)
		accept(t, l, 0, b)
	}
	if l.open == nil {
		t.Fatal("sealed before it was full")
	}
	if size := l.open.size; size > ripeBytes || size < ripeBytes/4 {
		t.Errorf("the open object has %d bytes, after %d that compress well", size, raw)
	}
	if held := l.BufferedBytes(); held < raw || held > raw+ripeBytes+calls*batchOverhead {
		t.Errorf("%d bytes are held, %d came", held, raw)
	}
	if _, err := uploaded(t, l); err != nil {
		t.Fatal(err)
	}
	batches := commitAll(t, l).Committed[0].Batches
	if len(batches) != 5 {
		t.Errorf("%d batches of %d bytes of records", len(batches), raw)
	}
	for _, b := range batches {
		if h, _ := recordbatch.ParseHeader(b); h.Codec() != recordbatch.LZ4 {
			t.Error("not compressed")
		}
	}
	if l.BufferedBytes() != 0 {
		t.Errorf("%d bytes are held by nobody", l.BufferedBytes())
	}
}

// A batch has so many records at most, however small they are.
func TestJointBatchesAreBoundedInRecords(t *testing.T) {
	t.Parallel()
	l := leading(1)
	few := plainly(t, make([]string, ripeRecords/2-1)...)
	for range 6 {
		accept(t, l, 0, few)
	}
	if _, err := uploaded(t, l); err != nil {
		t.Fatal(err)
	}
	if batches := commitAll(t, l).Committed[0].Batches; len(batches) != 2 {
		t.Errorf("%d batches", len(batches))
	}
}

// Records that cannot be batched, which cannot be, cost those who brought them, and nobody else.
func TestP6_OnlyThoseOfABatchThatCannotBeBuiltAreRefused(t *testing.T) {
	t.Parallel()
	l := leading(2)
	before := accept(t, l, 0, encode(t, "before", recordbatch.NoProducer()))
	broken := plainly(t, "broken")
	culprit, beside := accept(t, l, 0, broken), accept(t, l, 0, plainly(t, "beside"))
	after := accept(t, l, 0, encode(t, "after", recordbatch.NoProducer()))
	elsewhere := accept(t, l, 1, plainly(t, "elsewhere"))
	broken.Bytes[len(broken.Bytes)-3] ^= 1
	if _, err := uploaded(t, l); err == nil {
		t.Fatal("a broken batch was built")
	}
	for _, p := range []*Pending{culprit, beside} {
		if o := outcome(t, p); o.Reason != refusalv1.Reason_REASON_INTERNAL || o.Written != refusalv1.Written_WRITTEN_SURELY_NOT {
			t.Errorf("of the broken batch: %+v", o)
		}
	}
	for _, p := range []*Pending{before, after} {
		if o := outcome(t, p); o.Reason != refusalv1.Reason_REASON_NOT_LEADER || o.Written != refusalv1.Written_WRITTEN_SURELY_NOT {
			t.Errorf("of the same tenure: %+v", o)
		}
	}
	if effect := commitAll(t, l); len(effect.Committed) != 1 || effect.Committed[0].Partition != id(1) || !outcome(t, elsewhere).Stored() {
		t.Errorf("committed %+v", effect.Committed)
	}
	if _, leads := l.Leads(id(0)); leads || l.BufferedBytes() != 0 {
		t.Errorf("still leads: %v; %d bytes are held by nobody", leads, l.BufferedBytes())
	}
	l.Grant(id(0), &controlplanev1.Grant{Epoch: 8, ProducersComplete: true})
	broken = plainly(t, "broken")
	accept(t, l, 0, broken)
	broken.Bytes[len(broken.Bytes)-3] ^= 1
	if o, err := uploaded(t, l); err == nil || o.Segments() != 0 || !l.Idle() || l.BufferedBytes() != 0 {
		t.Errorf("alone: %v, %d segments, idle %v, %d bytes held", err, o.Segments(), l.Idle(), l.BufferedBytes())
	}
}

// Calls of many senders are appended while objects are built and tenures end: every call is told something, and what was stored is in the log.
func TestPlainRecordsOfManySendersAtOnce(t *testing.T) {
	t.Parallel()
	const senders, each = 8, 300
	l := leading(1)
	l.ripeBytes = 4 << 10
	log := map[string]int64{}
	ended := make(chan struct{})
	var sending, judging sync.WaitGroup
	judging.Go(func() {
		for high := int64(0); ; {
			l.Seal(Lingered)
			if o := l.NextUpload(); o != nil {
				if err := l.Build(o); err != nil {
					t.Error(err)
				}
				sealed, err := o.Encode()
				if err != nil {
					t.Error(err)
					return
				}
				l.Uploaded(o, sealed)
				high = noteLog(t, log, sealed, high)
				commitAll(t, l)
				continue
			}
			select {
			case <-l.Flush:
			case <-ended:
				return
			}
		}
	})
	stored := make([][]int64, senders)
	for s := range senders {
		sending.Go(func() {
			for i := range each {
				p := accept(t, l, 0, plainly(t, fmt.Sprintf("%d/%d", s, i)))
				if i%10 == 0 { // some wait, others send ahead
					<-p.Done()
				}
				stored[s] = append(stored[s], p.baseOffset)
			}
		})
	}
	sending.Wait()
	l.Stop()
	for !l.Idle() {
		<-l.Lease
	}
	close(ended)
	judging.Wait()
	for s := range senders {
		for i, at := range stored[s] {
			if got, ok := log[fmt.Sprintf("%d/%d", s, i)]; !ok || got != at {
				t.Fatalf("%d/%d was told offset %d, the log has it at %d (%v)", s, i, at, got, ok)
			}
		}
	}
}

// noteLog reads an object of one segment and returns where it ends.
func noteLog(t *testing.T, log map[string]int64, sealed *object.Sealed, high int64) int64 {
	t.Helper()
	s := sealed.Segments[0]
	data := bytes.Join(sealed.Body, nil)[s.BytePosition : s.BytePosition+int64(s.SizeBytes)]
	for batch := range recordbatch.Split(data) {
		for _, v := range valuesOf(t, batch) {
			if _, twice := log[v]; twice {
				t.Errorf("%s is in the log twice", v)
			}
			log[v] = high
			high++
		}
	}
	return high
}
