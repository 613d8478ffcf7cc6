package inventory

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"

	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
)

const agentGroup = "default"

// batchAt is a stored batch of some records.
func batchAt(t *testing.T, offset int64, records int, producer recordbatch.Producer) []byte {
	t.Helper()
	b := recordbatch.NewBuilder(recordbatch.LZ4, recordbatch.Limits{})
	for i := range records {
		if err := b.Append(int64(1000+i), nil, fmt.Appendf(nil, "record %d", i), nil); err != nil {
			t.Fatal(err)
		}
	}
	batch, err := b.Build(producer)
	if err != nil {
		t.Fatal(err)
	}
	batch = slices.Clone(batch)
	if err := recordbatch.Stamp(batch, offset, 1); err != nil {
		t.Fatal(err)
	}
	return batch
}

// put writes an object with one segment of these batches, and answers where the segment is.
func put(t *testing.T, store objectstore.Store, counter uint64, batches ...[]byte) *dataplanev1.SegmentRange {
	t.Helper()
	key := object.Key{AgentGroup: agentGroup, Session: object.UUID{1}, Counter: counter}
	builder, err := object.NewBuilder(key)
	if err != nil {
		t.Fatal(err)
	}
	var parts []object.Part
	for _, b := range batches {
		parts = append(parts, object.PartOf(b))
	}
	segment, err := builder.Append(object.Segment{TopicID: object.UUID{2}, Epoch: 1, RecordCount: 9}, parts...)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := builder.Seal()
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Put(t.Context(), key.String(), sealed.Body, sealed.CRC32C); err != nil {
		t.Fatal(err)
	}
	return &dataplanev1.SegmentRange{ObjectKey: key.String(), BytePosition: segment.BytePosition, SizeBytes: segment.SizeBytes, Crc32C: segment.CRC32C}
}

func TestP5_SegmentsTellWhereProducersStand(t *testing.T) {
	t.Parallel()
	var store objectstore.Memory
	var batches [][]byte
	offset := int64(0)
	for i := range 7 { // of epoch 1: the last five count
		batches = append(batches, batchAt(t, offset, 2, recordbatch.Producer{ID: 5, Epoch: 1, BaseSequence: int32(2 * i)}))
		offset += 2
	}
	batches = append(batches, batchAt(t, offset, 1, recordbatch.NoProducer()), batchAt(t, offset+1, 3, recordbatch.Producer{ID: 6, Epoch: 0, BaseSequence: 7}),
		batchAt(t, offset+4, 1, recordbatch.Producer{ID: 6, Epoch: 2, BaseSequence: 0}))
	r := put(t, &store, 1, batches...)
	response, err := New("bucket", agentGroup, &store).CheckSegments(t.Context(), &dataplanev1.CheckSegmentsRequest{Segments: []*dataplanev1.SegmentRange{r}})
	if err != nil || response.GetSegments()[0].GetFault() != "" {
		t.Fatal(response, err)
	}
	var got []string
	for _, b := range response.GetSegments()[0].GetProducerBatches() {
		got = append(got, fmt.Sprint(b.GetProducerId(), b.GetProducerEpoch(), b.GetBaseSequence(), b.GetRecordCount(), b.GetBaseOffset()))
	}
	want := []string{"5 1 4 2 4", "5 1 6 2 6", "5 1 8 2 8", "5 1 10 2 10", "5 1 12 2 12", "6 2 0 1 18"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestDamageIsFound(t *testing.T) {
	t.Parallel()
	var store objectstore.Memory
	sound := batchAt(t, 0, 3, recordbatch.NoProducer())
	flipped := slices.Clone(sound)
	flipped[len(flipped)-1] ^= 1
	s := New("bucket", agentGroup, &store)
	good := put(t, &store, 1, sound)
	wrongSum := put(t, &store, 2, sound)
	wrongSum.Crc32C++
	long := put(t, &store, 3, sound)
	long.SizeBytes += 1 << 20
	for name, c := range map[string]struct {
		at    *dataplanev1.SegmentRange
		fault string
	}{
		"sound":              {good, ""},
		"another checksum":   {wrongSum, "checksum"},
		"a flipped bit":      {put(t, &store, 4, flipped), "the batch at offset 0 has the checksum"},
		"a torn batch":       {put(t, &store, 5, sound, sound[:70]), "ends within a batch"},
		"no batch":           {put(t, &store, 6, slices.Repeat([]byte{7}, 100)), "no batch"},
		"beyond the object":  {long, "ends before"},
		"not there":          {&dataplanev1.SegmentRange{ObjectKey: "default/00/none"}, "not there"},
		"there, bytes apart": {&dataplanev1.SegmentRange{ObjectKey: good.GetObjectKey()}, ""},
	} {
		response, err := s.CheckSegments(t.Context(), &dataplanev1.CheckSegmentsRequest{Segments: []*dataplanev1.SegmentRange{c.at}})
		if err != nil {
			t.Fatal(name, err)
		}
		got := response.GetSegments()[0]
		if (c.fault == "") != (got.GetFault() == "") || !strings.Contains(got.GetFault(), c.fault) || got.GetMissing() != (name == "not there") {
			t.Errorf("%s: %v, want %q", name, got, c.fault)
		}
	}
}

// counting counts the reads that go to the store.
type counting struct {
	*objectstore.Memory
	reads atomic.Int64
}

func (c *counting) GetRange(ctx context.Context, key string, from int64, into []byte) error {
	c.reads.Add(1)
	return c.Memory.GetRange(ctx, key, from, into)
}

// Segments that lie one behind the other are read at once, and each is told its own fault.
func TestNeighboursAreReadTogether(t *testing.T) {
	t.Parallel()
	store := &counting{Memory: &objectstore.Memory{}}
	batches := make([][]byte, 4)
	for i := range batches {
		batches[i] = batchAt(t, int64(3*i), 3, recordbatch.Producer{ID: int64(i), Epoch: 1, BaseSequence: 7})
	}
	batches[2][len(batches[2])-1] ^= 1
	whole := put(t, store.Memory, 1, batches...)
	var ranges []*dataplanev1.SegmentRange
	at := whole.GetBytePosition()
	for _, b := range batches {
		ranges = append(ranges, &dataplanev1.SegmentRange{ObjectKey: whole.GetObjectKey(), BytePosition: at, SizeBytes: int32(len(b)), Crc32C: objectstore.Checksum(b)})
		at += int64(len(b))
	}
	ranges[3].Crc32C++
	ranges = append(ranges, &dataplanev1.SegmentRange{ObjectKey: whole.GetObjectKey(), BytePosition: at}, // no bytes
		put(t, store.Memory, 2, batches[0]), &dataplanev1.SegmentRange{ObjectKey: "default/00/none", SizeBytes: 1}, &dataplanev1.SegmentRange{ObjectKey: "default/00/none", BytePosition: 1, SizeBytes: 1})
	response, err := New("bucket", agentGroup, store).CheckSegments(t.Context(), &dataplanev1.CheckSegmentsRequest{Segments: ranges})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"", "", "the batch at offset 6 has the checksum", "its bytes have the checksum", "", "", "not there", "not there"} {
		got := response.GetSegments()[i]
		if !strings.Contains(got.GetFault(), want) || (want == "") != (got.GetFault() == "") {
			t.Errorf("range %d: %v, want %q", i, got, want)
		}
		if told := len(got.GetProducerBatches()); (told == 1) != (i < 2 || i == 5) {
			t.Errorf("range %d tells of %d batches", i, told)
		}
	}
	if reads := store.reads.Load(); reads != 1+1+3 { // a run, another object, and what is not there at once and one by one
		t.Errorf("%d reads", reads)
	}
}

// P7: another agent group's objects are none of this agent's business.
func TestP7_OnlyItsOwnKeys(t *testing.T) {
	t.Parallel()
	s := New("bucket", agentGroup, &objectstore.Memory{})
	_, err := s.CheckSegments(t.Context(), &dataplanev1.CheckSegmentsRequest{Segments: []*dataplanev1.SegmentRange{{ObjectKey: "default2/00/x"}}})
	if err == nil || !strings.Contains(err.Error(), "ask an agent of its group") {
		t.Errorf("%v", err)
	}
}

func TestFootersAreReadAndFaultsSaid(t *testing.T) {
	t.Parallel()
	var store objectstore.Memory
	good := put(t, &store, 1, batchAt(t, 0, 3, recordbatch.NoProducer()))
	torn := object.Key{AgentGroup: agentGroup, Session: object.UUID{1}, Counter: 2}.String()
	body := []byte("this is not an object at all, but it is long enough to have had a trailer")
	if err := store.Put(t.Context(), torn, [][]byte{body}, objectstore.Checksum(body)); err != nil {
		t.Fatal(err)
	}
	page, err := store.List(t.Context(), agentGroup+"/", "", objectstore.MaxListLimit)
	if err != nil {
		t.Fatal(err)
	}
	objects := append(objectsOf(page.Objects), &controlplanev1.StoredObject{Key: "default/00/gone"})
	var got []*controlplanev1.StoredObject
	s := New("bucket", agentGroup, &store)
	if err := s.inspect(t.Context(), objects, true, func(some []*controlplanev1.StoredObject) error { got = append(got, some...); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 {
		t.Fatalf("%v", got)
	}
	for _, o := range got {
		switch o.GetKey() {
		case good.GetObjectKey():
			if o.GetFault() != "" || len(o.GetSegments()) != 1 || o.GetSegments()[0].GetCrc32C() != good.GetCrc32C() || o.GetSizeBytes() == 0 {
				t.Errorf("%v", o)
			}
		case torn:
			if o.GetFault() == "" || len(o.GetSegments()) != 0 {
				t.Errorf("%v", o)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.inspect(ctx, objects, true, func([]*controlplanev1.StoredObject) error { return nil }); err == nil {
		t.Error("a caller who is gone is answered")
	}
}

func TestMessagesAreBounded(t *testing.T) {
	t.Parallel()
	of := func(segments int) *controlplanev1.StoredObject {
		return &controlplanev1.StoredObject{Segments: make([]*controlplanev1.StoredSegment, segments)}
	}
	var sizes []int
	if err := sendInPieces([]*controlplanev1.StoredObject{of(19_000), of(1_000), of(1), of(60_000), of(1)}, func(some []*controlplanev1.StoredObject) error {
		sizes = append(sizes, len(some))
		return nil
	}); err != nil || !slices.Equal(sizes, []int{2, 1, 1, 1}) {
		t.Errorf("%v, %v", sizes, err)
	}
}
