package interop_test

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"reflect"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/streamhouse/streamhouse/client/recordbatch"
)

const now = int64(1_700_000_000_000)

// records are n of which every codec likes to confuse some.
func records(n int) []recordbatch.Record {
	odd := []recordbatch.Record{
		{Timestamp: now},
		{Timestamp: now - 5, Key: []byte{}, Value: []byte{}},
		{Timestamp: now + 300, Key: []byte("k"), Value: nil},
		{Timestamp: 0, Value: []byte("a line\r\n")},
		{Timestamp: now, Key: []byte{0, 255}, Value: bytes.Repeat([]byte("ab"), 150_000)},
		{Timestamp: now, Value: []byte("v"), Headers: []recordbatch.RecordHeader{
			{Key: "a", Value: nil}, {Key: "", Value: []byte{}}, {Key: "a", Value: []byte{0}}, {Key: "größe", Value: []byte("1")},
		}},
	}
	for i := len(odd); i < n; i++ {
		odd = append(odd, recordbatch.Record{
			Timestamp: now + int64(i), Key: fmt.Appendf(nil, "key-%d", i%7), Value: fmt.Appendf(nil, `{"n":%d,"text":"some text"}`, i),
		})
	}
	return odd[:n]
}

func build(t *testing.T, codec recordbatch.Codec, p recordbatch.Producer, rs []recordbatch.Record) []byte {
	t.Helper()
	b := recordbatch.NewBuilder(codec, recordbatch.Limits{})
	for _, r := range rs {
		if err := b.Append(r.Timestamp, r.Key, r.Value, r.Headers); err != nil {
			t.Fatal(err)
		}
	}
	batch, err := b.AppendBatch(nil, p)
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

// fetched is what franz-go's consumer makes of a fetch answer.
func fetched(t *testing.T, answer []byte, offset int64) []*kgo.Record {
	t.Helper()
	rp := kmsg.NewFetchResponseTopicPartition()
	rp.RecordBatches = answer
	fp, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Offset: offset, Topic: "t"}, &rp, kgo.DefaultDecompressor(), nil)
	if fp.Err != nil {
		t.Fatal(fp.Err)
	}
	return fp.Records
}

func compare(t *testing.T, got []*kgo.Record, want []recordbatch.Record, epoch int32, p recordbatch.Producer) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i, g := range got {
		r := recordbatch.Record{Offset: g.Offset, Timestamp: g.Timestamp.UnixMilli(), Key: g.Key, Value: g.Value}
		for _, h := range g.Headers {
			r.Headers = append(r.Headers, recordbatch.RecordHeader{Key: h.Key, Value: h.Value})
		}
		if !reflect.DeepEqual(r, want[i]) {
			t.Errorf("record %d: franz-go reads %.100v, want %.100v", i, r, want[i])
		}
		if g.LeaderEpoch != epoch || g.ProducerID != p.ID || g.ProducerEpoch != p.Epoch {
			t.Errorf("record %d: epoch %d, producer %d %d", i, g.LeaderEpoch, g.ProducerID, g.ProducerEpoch)
		}
	}
}

func TestFranzGoReadsOurBatches(t *testing.T) {
	t.Parallel()
	for _, codec := range []recordbatch.Codec{recordbatch.None, recordbatch.LZ4} {
		for _, n := range []int{1, 2, 6, 20_000} {
			for _, p := range []recordbatch.Producer{recordbatch.NoProducer(), {ID: 77, Epoch: 3, BaseSequence: 1<<31 - 2}} {
				want := records(n)
				batch := build(t, codec, p, want)
				for _, offset := range []int64{0, 42, 1 << 40} {
					if err := recordbatch.Stamp(batch, offset, 9); err != nil {
						t.Fatal(err)
					}
					for i := range want {
						want[i].Offset = offset + int64(i)
					}
					compare(t, fetched(t, batch, offset), want, 9, p)
				}
			}
		}
	}
}

// What is joined of batches of all sizes reads as one batch of all records.
func TestFranzGoReadsJoinedBatches(t *testing.T) {
	t.Parallel()
	joined := recordbatch.NewBuilder(recordbatch.LZ4, recordbatch.Limits{})
	var want []recordbatch.Record
	for i := range 40 {
		rs := records(6 + i%3)[i%5:] // another first record, and with it another base timestamp, each time
		if err := joined.Join(build(t, recordbatch.None, recordbatch.NoProducer(), rs)); err != nil {
			t.Fatal(err)
		}
		for _, r := range rs {
			r.Offset = 42 + int64(len(want))
			want = append(want, r)
		}
	}
	batch, err := joined.Build(recordbatch.NoProducer())
	if err != nil {
		t.Fatal(err)
	}
	if err := recordbatch.Stamp(batch, 42, 9); err != nil {
		t.Fatal(err)
	}
	compare(t, fetched(t, batch, 42), want, 9, recordbatch.NoProducer())
}

func TestP2_FranzGoReadsManyBatchesFromTheMiddle(t *testing.T) {
	t.Parallel()
	var answer []byte
	var want []recordbatch.Record
	for _, n := range []int{3, 1, 500, 6} {
		rs := records(n)
		batch := build(t, recordbatch.LZ4, recordbatch.NoProducer(), rs)
		if err := recordbatch.Stamp(batch, int64(len(want)), 2); err != nil {
			t.Fatal(err)
		}
		for _, r := range rs {
			r.Offset = int64(len(want))
			want = append(want, r)
		}
		answer = append(answer, batch...)
	}
	for _, from := range []int64{0, 2, 3, 250, 509} {
		compare(t, fetched(t, answer, from), want[from:], 2, recordbatch.NoProducer())
	}
}

// kafkaBatch encodes as a Kafka client does: franz-go's encoders and compressor.
func kafkaBatch(t *testing.T, rs []recordbatch.Record, codec kgo.CompressionCodec, kind int16) []byte {
	t.Helper()
	var raw []byte
	greatest := rs[0].Timestamp
	for i, r := range rs {
		greatest = max(greatest, r.Timestamp)
		k := kmsg.Record{TimestampDelta64: r.Timestamp - rs[0].Timestamp, OffsetDelta: int32(i), Key: r.Key, Value: r.Value}
		for _, h := range r.Headers {
			k.Headers = append(k.Headers, kmsg.Header{Key: h.Key, Value: h.Value})
		}
		k.Length = int32(len(k.AppendTo(nil)) - 1) // its length 0 is one byte
		raw = k.AppendTo(raw)
	}
	if kind != 0 {
		compressor, err := kgo.DefaultCompressor(codec)
		if err != nil {
			t.Fatal(err)
		}
		out, used := compressor.Compress(new(bytes.Buffer), raw)
		if int16(used) != kind {
			t.Fatalf("codec %d was used", used)
		}
		raw = out
	}
	b := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, Attributes: kind, LastOffsetDelta: int32(len(rs) - 1),
		FirstTimestamp: rs[0].Timestamp, MaxTimestamp: greatest, ProducerID: 5, ProducerEpoch: 1, FirstSequence: 10,
		NumRecords: int32(len(rs)), Records: raw, Length: int32(recordbatch.HeaderBytes - 12 + len(raw)),
	}
	b.CRC = int32(crc32.Checksum(b.AppendTo(nil)[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b.AppendTo(nil)
}

func TestVerifyAcceptsKafkaClientsBatches(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 6, 60_000} {
		want := records(n)
		for i := range want {
			want[i].Offset = int64(i)
		}
		for _, c := range []struct {
			codec kgo.CompressionCodec
			kind  int16
		}{{kgo.NoCompression(), 0}, {kgo.Lz4Compression(), 3}} {
			batch := kafkaBatch(t, want, c.codec, c.kind)
			info, err := recordbatch.Verify(batch, recordbatch.Limits{}, new(recordbatch.Scratch))
			if err != nil {
				t.Fatalf("%d records, codec %d: %v", n, c.kind, err)
			}
			got, err := recordbatch.AppendRecords(nil, info)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%d records, codec %d: other records (%v)", n, c.kind, err)
			}
			if info.Producer != (recordbatch.Producer{ID: 5, Epoch: 1, BaseSequence: 10}) {
				t.Errorf("producer %+v", info.Producer)
			}
		}
		for kind, codec := range map[int16]kgo.CompressionCodec{1: kgo.GzipCompression(), 2: kgo.SnappyCompression(), 4: kgo.ZstdCompression()} {
			_, err := recordbatch.Verify(kafkaBatch(t, want, codec, kind), recordbatch.Limits{}, new(recordbatch.Scratch))
			if err == nil || !strings.Contains(err.Error(), "unsupported") {
				t.Errorf("codec %d: %v", kind, err)
			}
		}
	}
}

// The same records without compression are the same bytes in both encoders.
func TestPlainBatchesAreTheSameBytes(t *testing.T) {
	t.Parallel()
	want := records(1000)
	ours := build(t, recordbatch.None, recordbatch.Producer{ID: 5, Epoch: 1, BaseSequence: 10}, want)
	if !bytes.Equal(ours, kafkaBatch(t, want, kgo.NoCompression(), 0)) {
		t.Error("the batches differ")
	}
}

// What key compaction leaves: records missing inside of batches and at their edges, whole batches missing, batches without any record.
func TestP2_FranzGoReadsWhatKeyCompactionLeaves(t *testing.T) {
	t.Parallel()
	for _, codec := range []recordbatch.Codec{recordbatch.None, recordbatch.LZ4} {
		p := recordbatch.Producer{ID: 77, Epoch: 3, BaseSequence: 1<<31 - 2}
		var answer []byte
		var want []recordbatch.Record
		next := int64(1000)
		for i, keep := range []func(n int) bool{
			func(n int) bool { return n%3 == 1 }, func(int) bool { return false }, func(n int) bool { return n < 2 }, nil,
			func(n int) bool { return n == 499 }, func(int) bool { return false },
		} {
			rs := records(500)
			batch := build(t, codec, p, rs)
			if err := recordbatch.Stamp(batch, next, 9); err != nil {
				t.Fatal(err)
			}
			next += int64(len(rs))
			if keep == nil {
				continue // the batch is gone
			}
			info, err := recordbatch.Open(batch, recordbatch.Limits{}, new(recordbatch.Scratch))
			if err != nil {
				t.Fatal(err)
			}
			left, n, err := recordbatch.Retain(nil, batch, info, func(v *recordbatch.View) bool { return keep(int(v.Offset - info.BaseOffset)) }, new(recordbatch.Scratch))
			if err != nil {
				t.Fatalf("batch %d: %v", i, err)
			}
			answer = append(answer, left...)
			before := len(want)
			for j, r := range rs {
				if r.Offset = info.BaseOffset + int64(j); keep(j) {
					want = append(want, r)
				}
			}
			if int(n) != len(want)-before {
				t.Fatalf("batch %d: %d records left, want %d", i, n, len(want)-before)
			}
		}
		for _, from := range []int64{0, 1000, 1001, 1002, 1499, 1700, 2001, 2100, 3499} {
			first := 0
			for first < len(want) && want[first].Offset < from {
				first++
			}
			compare(t, fetched(t, answer, from), want[first:], 9, p)
		}
	}
}
