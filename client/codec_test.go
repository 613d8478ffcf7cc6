package client

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// anyAnswer draws an answer with every field of a partition, and perhaps one that this version does not know.
func anyAnswer(t *rapid.T) *dataplanev1.FetchResponse {
	answer := &dataplanev1.FetchResponse{}
	for i := range rapid.IntRange(0, 5).Draw(t, "partitions") {
		p := &dataplanev1.FetchedPartition{
			TopicId: rapid.String().Draw(t, "topic"), Partition: int32(i), NextOffset: rapid.Int64().Draw(t, "next"), SkippedOffsets: 3,
			LogStartOffset: 1, HighWatermark: 2, Batches: rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "batches"),
		}
		if rapid.Bool().Draw(t, "refused") {
			p.Refusal = &refusalv1.Refusal{Reason: refusalv1.Reason_REASON_INTERNAL, Message: "no"}
		}
		if rapid.Bool().Draw(t, "decoded") {
			p.Records = []*dataplanev1.Record{{Value: []byte("v")}, {Key: []byte("k")}}
		}
		if rapid.Bool().Draw(t, "newer") {
			p.ProtoReflect().SetUnknown(protoreflect.RawFields{0xf8, 0x07, 0x05}) // field 127
		}
		answer.Partitions = append(answer.Partitions, p)
	}
	return answer
}

// TestAnswersAreDecodedAsEver: as by protobuf itself, whole or cut off anywhere.
func TestAnswersAreDecodedAsEver(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		encoded, err := proto.Marshal(anyAnswer(t))
		if err != nil {
			t.Fatal(err)
		}
		encoded = encoded[:rapid.OneOf(rapid.Just(len(encoded)), rapid.IntRange(0, len(encoded))).Draw(t, "cut")]
		got, want := &dataplanev1.FetchResponse{}, &dataplanev1.FetchResponse{}
		gotErr, wantErr := newCodec().unmarshalFetched(slices.Clone(encoded), got), proto.Unmarshal(encoded, want)
		if (gotErr == nil) != (wantErr == nil) || (wantErr == nil && !proto.Equal(got, want)) {
			t.Errorf("%v, %v; want %v, %v", got, gotErr, want, wantErr)
		}
	})
}

// TestOnlyLargeAnswersWithRoomKeepTheirMemory: what stays in a buffer that goes back to the pool is never referred to.
func TestOnlyLargeAnswersWithRoomKeepTheirMemory(t *testing.T) {
	encode := func(n int) []byte {
		encoded, err := proto.Marshal(&dataplanev1.FetchResponse{Partitions: []*dataplanev1.FetchedPartition{{Batches: bytes.Repeat([]byte("b"), n)}}})
		if err != nil {
			t.Fatal(err)
		}
		return encoded
	}
	for name, c := range map[string]struct {
		bytes, capacity, spare int
		room                   bool
		taken, spared          bool
	}{
		"large":                       {bytes: 1 << 20, capacity: 2 << 20, room: true, taken: true},
		"large, with a spare":         {bytes: 1 << 20, capacity: 2 << 20, room: true, spare: 2 << 20, taken: true, spared: true},
		"large, with too small a one": {bytes: 1 << 20, capacity: 2 << 20, room: true, spare: 1 << 20, taken: true},
		"without room":                {bytes: 1 << 20, capacity: 2 << 20},
		"small":                       {bytes: keptBytes / 2, capacity: keptBytes, room: true},
		"much larger memory":          {bytes: 1 << 20, capacity: 3 << 20, room: true},
	} {
		encoded := encode(c.bytes)
		buffer := bytes.NewBuffer(append(make([]byte, 0, c.capacity), encoded...))
		memory := buffer.Bytes()[:1]
		r := &room{}
		if c.spare > 0 {
			r.spare = make([]byte, c.spare)
		}
		spare := r.spare
		ctx := t.Context()
		if c.room {
			ctx = r.with(ctx)
		}
		answer := &dataplanev1.FetchResponse{}
		if err := newCodec().UnmarshalRead(ctx, buffer, answer); err != nil || buffer.Len() != 0 {
			t.Errorf("%s: %v, %d bytes left", name, err, buffer.Len())
		}
		buffer.Reset() // as the pool does
		has := buffer.Bytes()[:1]
		if (r.taken != nil) != c.taken || (&has[0] == &memory[0]) == c.taken || (c.spared && &has[0] != &spare[0]) || (c.spared && r.spare != nil) {
			t.Errorf("%s: taken %v, the buffer has what it had %v, a spare is left %v", name, r.taken != nil, &has[0] == &memory[0], r.spare != nil)
		}
		if c.taken && buffer.Cap() < c.bytes+bytes.MinRead {
			t.Errorf("%s: the next message has room for %d bytes", name, buffer.Cap())
		}
		clear(buffer.Bytes()[:buffer.Cap()])
		if got := answer.GetPartitions()[0].GetBatches(); !bytes.Equal(got, bytes.Repeat([]byte("b"), c.bytes)) {
			t.Errorf("%s: the answer changed with the buffer", name)
		}
	}
	src := io.MultiReader(bytes.NewReader(encode(1 << 20)))
	if err := newCodec().UnmarshalRead(t.Context(), src, &dataplanev1.FetchResponse{}); err != nil {
		t.Error(err)
	}
}

func TestFieldNumbersAreTheSchemas(t *testing.T) {
	partitions := (&dataplanev1.FetchResponse{}).ProtoReflect().Descriptor().Fields().ByName("partitions")
	batches := (&dataplanev1.FetchedPartition{}).ProtoReflect().Descriptor().Fields().ByName("batches")
	if partitions.Number() != answerPartitions || batches.Number() != partitionBatches {
		t.Errorf("%d and %d", partitions.Number(), batches.Number())
	}
}

// distinctValues are values of n bytes that shrink a little, each with its number in front.
func distinctValues(count, n int) [][]byte {
	r := rand.New(rand.NewPCG(3, 4))
	values := make([][]byte, count)
	for i := range values {
		values[i] = binary.BigEndian.AppendUint32(nil, uint32(i))
		for len(values[i]) < n {
			values[i] = append(values[i], "0123456789abcdef"[r.IntN(16)])
		}
	}
	return values
}

// TestRecordsOutliveTheMemoryThatTheyCameIn reads large answers by real HTTP, whose memory is used again and again, compressed and not, and
// looks at all records at the end. Views are looked at while they are valid.
func TestRecordsOutliveTheMemoryThatTheyCameIn(t *testing.T) {
	for _, codec := range []recordbatch.Codec{recordbatch.LZ4, recordbatch.None} {
		for _, views := range []bool{false, true} {
			t.Run(fmt.Sprintf("codec %d, views %v", codec, views), func(t *testing.T) { outlive(t, codec, views) })
		}
	}
}

func outlive(t *testing.T, codec recordbatch.Codec, views bool) {
	values := distinctValues(400, 500)
	n := nullHTTP(t, 4)
	n.stock(t, codec, values)
	sdk, err := New(WithAgents(n.url), WithZone(""))
	if err != nil {
		t.Fatal(err)
	}
	defer sdk.Close()
	k := consumer(t, sdk, From(Beginning()), WithFetchBytes(4<<20))
	const most = 60_000 // 30 MB
	var all []*Record
	spares := 0
	for read, stopped := 0, false; !stopped || k.waiting() > 0; {
		if !views {
			records, err := k.Poll(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			all, read = append(all, records...), read+len(records)
		} else if batch, err := k.PollBatch(t.Context()); err != nil {
			t.Fatal(err)
		} else {
			for v := (View{}); batch.Next(&v); read++ {
				if !bytes.Equal(v.Value, values[v.Offset%int64(len(values))]) {
					t.Fatalf("offset %d is not what was stored", v.Offset)
				}
			}
		}
		if read >= most && !stopped {
			k.stop()
			k.running.Wait() // nobody takes spares any more
			stopped = true
		}
		spares = max(spares, k.spareCount())
	}
	for _, r := range all {
		if !bytes.Equal(r.Value, values[r.Offset%int64(len(values))]) {
			t.Fatalf("offset %d is not what was stored any more", r.Offset)
		}
	}
	if lasting := codec == recordbatch.None && !views; lasting != (spares == 0) || spares > maxSpares {
		t.Errorf("there were up to %d spares", spares)
	}
}

func (k *Consumer) waiting() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.ready)
}

func (k *Consumer) spareCount() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.spares)
}
