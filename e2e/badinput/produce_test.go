package badinput_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	"github.com/streamhouse/streamhouse/e2e/wire"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// Positions in a batch, see package recordbatch.
const (
	atBlockSize                                                                           = 7 // in an LZ4 frame
	atLength, atMagic, atCRC, atAttributes, atLastDelta, atProducer, atCount, headerBytes = 8, 16, 17, 21, 23, 43, 57, 61
)

// odd are names that no topic has.
var odd = map[string]string{
	"slash": "a/b", "climbing": "../../etc/passwd", "dot": ".", "dots": "..", "dotted": "a.b", "nul": "a\x00b", "line feed": "a\nb",
	"escape": "\x1b[31m", "space": "a b", "letter beyond ASCII": "ä", "quote": `a"b`, "sql": "a'; drop table topics; --", "percent": "%2f",
}

const missing = "5b0c4f5e-0a55-4a9c-8e4f-6f0b5b1d2c3a"

func plain(values ...[]byte) *dataplanev1.ProduceEntry_Records {
	records := &dataplanev1.PlainRecords{}
	for _, v := range values {
		records.Records = append(records.Records, &dataplanev1.Record{Value: v})
	}
	return &dataplanev1.ProduceEntry_Records{Records: records}
}

func entry(topic string, partition int32) *dataplanev1.ProduceEntry {
	return &dataplanev1.ProduceEntry{Topic: &dataplanev1.ProduceEntry_TopicName{TopicName: topic}, Partition: &partition, Payload: plain([]byte("x"))}
}

func one(e *dataplanev1.ProduceEntry) *dataplanev1.ProduceRequest {
	return &dataplanev1.ProduceRequest{Entries: []*dataplanev1.ProduceEntry{e}}
}

// build makes a batch without limits of its own.
func build(t *testing.T, codec recordbatch.Codec, values ...[]byte) []byte {
	t.Helper()
	b := recordbatch.NewBuilder(codec, recordbatch.Limits{MaxRecordBytes: 64 << 20, MaxUncompressedBytes: 64 << 20})
	for _, v := range values {
		if err := b.Append(time.Now().UnixMilli(), nil, v, nil); err != nil {
			t.Fatal(err)
		}
	}
	batch, err := b.AppendBatch(nil, recordbatch.NoProducer())
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

// mended writes the checksum anew.
func mended(b []byte) []byte {
	binary.BigEndian.PutUint32(b[atCRC:], crc32.Checksum(b[atAttributes:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// changed is a copy of a batch with a change, and a checksum that fits.
func changed(batch []byte, change func([]byte)) []byte {
	b := bytes.Clone(batch)
	change(b)
	return mended(b)
}

func noise(n int) []byte {
	b := make([]byte, n)
	random := rand.New(rand.NewPCG(uint64(n), 3))
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
}

// bomb is a small batch of many records, each within its limit, that together are larger than a batch may be.
func bomb(t *testing.T) []byte {
	t.Helper()
	return build(t, recordbatch.LZ4, bytes.Split(bytes.Repeat(append(make([]byte, 1<<20-1), '\n'), 40), []byte("\n"))...)
}

func (s *suite) badProduces(t *testing.T) map[string]refused {
	t.Helper()
	all := map[string]refused{}
	add := func(name string, request *dataplanev1.ProduceRequest, code connect.Code, reason refusalv1.Reason, field string) {
		all[name] = refused{method: "Produce", request: request, code: code, reason: reason, field: field}
	}
	invalid := func(name, field string, e *dataplanev1.ProduceEntry) {
		add(name, one(e), connect.CodeInvalidArgument, refusalv1.Reason_REASON_INVALID, field)
	}
	notFound := func(name string, reason refusalv1.Reason, e *dataplanev1.ProduceEntry) {
		add(name, one(e), connect.CodeNotFound, reason, "")
	}
	for name, batch := range s.badBatches(t) {
		e := entry(orders, 0)
		e.Payload = &dataplanev1.ProduceEntry_Batch{Batch: batch.bytes}
		add("batch: "+name, one(e), connect.CodeInvalidArgument, batch.reason, "entries[0].batch")
	}
	for name, topic := range odd {
		notFound("name: "+name, refusalv1.Reason_REASON_UNKNOWN_TOPIC, entry(topic, 0))
	}
	notFound("unknown topic", refusalv1.Reason_REASON_UNKNOWN_TOPIC, entry("nowhere", 0))
	unknown := entry("", 0)
	unknown.Topic = &dataplanev1.ProduceEntry_TopicId{TopicId: missing}
	notFound("unknown id", refusalv1.Reason_REASON_UNKNOWN_TOPIC, unknown)
	notFound("unknown partition", refusalv1.Reason_REASON_UNKNOWN_PARTITION, entry(orders, 2))
	notFound("partition far away", refusalv1.Reason_REASON_UNKNOWN_PARTITION, entry(orders, math.MaxInt32))

	invalid("negative partition", "entries[0].partition", entry(orders, -1))
	invalid("no name", "entries[0].topic_name", entry("", 0))
	invalid("long name", "entries[0].topic_name", entry(strings.Repeat("a", 201), 0))
	without := entry(orders, 0)
	without.Topic = nil
	invalid("no topic", "entries[0].topic", without)
	noID := entry("", 0)
	noID.Topic = &dataplanev1.ProduceEntry_TopicId{TopicId: "42"}
	invalid("no UUID", "entries[0].topic_id", noID)
	empty := entry(orders, 0)
	empty.Payload = nil
	invalid("no payload", "entries[0].payload", empty)
	none := entry(orders, 0)
	none.Payload = plain()
	invalid("no records", "entries[0].records.records", none)
	nothing := entry(orders, 0)
	nothing.Payload = &dataplanev1.ProduceEntry_Batch{}
	invalid("batch without bytes", "entries[0].batch", nothing)
	negative := entry(orders, 0)
	negative.ExpectedOffset = new(int64(-1))
	invalid("negative expected offset", "entries[0].expected_offset", negative)
	early := entry(orders, 0)
	early.GetRecords().Records[0].TimestampMs = new(int64(math.MaxInt64))
	invalid("timestamp beyond time", "entries[0].records", early)

	add("no entries", &dataplanev1.ProduceRequest{}, connect.CodeInvalidArgument, refusalv1.Reason_REASON_INVALID, "entries")
	many := &dataplanev1.ProduceRequest{}
	for range 10_001 {
		many.Entries = append(many.Entries, entry(orders, 0))
	}
	add("too many entries", many, connect.CodeInvalidArgument, refusalv1.Reason_REASON_INVALID, "entries")
	add("unknown acks", &dataplanev1.ProduceRequest{Acks: 7, Entries: []*dataplanev1.ProduceEntry{entry(orders, 0)}},
		connect.CodeInvalidArgument, refusalv1.Reason_REASON_INVALID, "acks")
	add("long zone", &dataplanev1.ProduceRequest{ClientZone: strings.Repeat("z", 101), Entries: []*dataplanev1.ProduceEntry{entry(orders, 0)}},
		connect.CodeInvalidArgument, refusalv1.Reason_REASON_INVALID, "client_zone")
	add("buffered acks", &dataplanev1.ProduceRequest{Acks: dataplanev1.Acks_ACKS_BUFFERED, Entries: []*dataplanev1.ProduceEntry{entry(orders, 0)}},
		connect.CodeFailedPrecondition, refusalv1.Reason_REASON_BUFFERED_ACKS_NOT_ALLOWED, "")
	large := entry(orders, 0)
	large.Payload = plain(noise(1<<20 + 1))
	add("record too large", one(large), connect.CodeInvalidArgument, refusalv1.Reason_REASON_RECORD_TOO_LARGE, "entries[0].records")
	eleven := entry(strict, 0)
	eleven.Payload = plain([]byte("0123456789a"))
	add("record larger than its topic takes", one(eleven), connect.CodeInvalidArgument, refusalv1.Reason_REASON_RECORD_TOO_LARGE, "entries[0].records")
	two := entry(orders, 0)
	two.Payload = plain(noise(700<<10), noise(700<<10))
	add("records too large together", one(two), connect.CodeInvalidArgument, refusalv1.Reason_REASON_BATCH_TOO_LARGE, "entries[0].records")
	huge := entry(orders, 0)
	huge.Payload = &dataplanev1.ProduceEntry_Batch{Batch: noise(5 << 20)}
	add("message too large", one(huge), connect.CodeResourceExhausted, refusalv1.Reason_REASON_MESSAGE_TOO_LARGE, "")
	return all
}

// badBatch is an encoded batch and why it is refused.
type badBatch struct {
	bytes  []byte
	reason refusalv1.Reason
}

func (s *suite) badBatches(t *testing.T) map[string]badBatch {
	t.Helper()
	good := build(t, recordbatch.None, []byte("one"), []byte("two"))
	lz4 := build(t, recordbatch.LZ4, bytes.Repeat([]byte("compresses "), 1000))
	const (
		corrupt = refusalv1.Reason_REASON_CORRUPT_BATCH
		count   = refusalv1.Reason_REASON_RECORD_COUNT_MISMATCH
		large   = refusalv1.Reason_REASON_BATCH_TOO_LARGE
		invalid = refusalv1.Reason_REASON_INVALID
	)
	setCount := func(n int32) func([]byte) {
		return func(b []byte) {
			binary.BigEndian.PutUint32(b[atCount:], uint32(n))
			binary.BigEndian.PutUint32(b[atLastDelta:], uint32(n-1))
		}
	}
	wrongChecksum := bytes.Clone(good)
	wrongChecksum[len(good)-1]++
	halfLength := bytes.Clone(good)
	binary.BigEndian.PutUint32(halfLength[atLength:], uint32(len(good)/2))
	return map[string]badBatch{
		"garbage":                     {[]byte("hello"), corrupt},
		"checksum":                    {wrongChecksum, corrupt},
		"cut":                         {good[:len(good)-1], corrupt},
		"header alone":                {good[:headerBytes], corrupt},
		"half a header":               {good[:headerBytes/2], corrupt},
		"two batches":                 {bytes.Repeat(good, 2), corrupt},
		"a byte more":                 {append(bytes.Clone(good), 0), corrupt},
		"length":                      {halfLength, corrupt},
		"negative length":             {changed(good, func(b []byte) { b[atLength] = 0xff }), corrupt},
		"old magic":                   {changed(good, func(b []byte) { b[atMagic] = 1 }), corrupt},
		"unknown codec":               {changed(good, func(b []byte) { b[atAttributes+1] |= 7 }), corrupt},
		"gzip, which is not taken":    {changed(good, func(b []byte) { b[atAttributes+1] |= 1 }), corrupt},
		"transactional":               {changed(good, func(b []byte) { b[atAttributes+1] |= 1 << 4 }), corrupt},
		"control":                     {changed(good, func(b []byte) { b[atAttributes+1] |= 1 << 5 }), corrupt},
		"says LZ4, is not":            {changed(good, func(b []byte) { b[atAttributes+1] |= 3 }), corrupt},
		"says nothing, is LZ4":        {changed(lz4, func(b []byte) { b[atAttributes+1] &^= 7 }), corrupt},
		"LZ4 damaged":                 {changed(lz4, func(b []byte) { b[headerBytes+atBlockSize+2] = 0x7f }), corrupt},
		"empty":                       {changed(good[:headerBytes], func(b []byte) { setCount(0)(b); binary.BigEndian.PutUint32(b[atLength:], headerBytes-12) }), refusalv1.Reason_REASON_EMPTY_BATCH},
		"count 0, with records":       {changed(good, setCount(0)), refusalv1.Reason_REASON_EMPTY_BATCH},
		"count too high":              {changed(good, setCount(3)), count},
		"count too low":               {changed(good, setCount(1)), count},
		"count enormous":              {changed(good, setCount(math.MaxInt32)), large},
		"negative count":              {changed(good, setCount(-5)), count},
		"half a producer":             {changed(good, func(b []byte) { binary.BigEndian.PutUint64(b[atProducer:], 7) }), invalid},
		"decompresses beyond 16 MiB":  {bomb(t), large},
		"larger than a batch may be":  {build(t, recordbatch.None, noise(600<<10), noise(600<<10)), large},
		"a record larger than 1 MiB":  {build(t, recordbatch.LZ4, make([]byte, 1<<20+1)), refusalv1.Reason_REASON_RECORD_TOO_LARGE},
		"one record beyond all bound": {build(t, recordbatch.LZ4, make([]byte, 40<<20)), large},
	}
}

// wholeCalls puts a good entry before each bad one: the call is refused before anything is appended, and the culprit is named.
func (s *suite) wholeCalls(ctx context.Context, t *testing.T) {
	t.Helper()
	caller := wire.Dial(t, wire.ConnectProto, s.Agents[0].URL, s.ClientKey)
	tried := 0
	for name, c := range s.badProduces(t) {
		request, _ := c.request.(*dataplanev1.ProduceRequest)
		if len(request.GetEntries()) != 1 || c.reason == refusalv1.Reason_REASON_MESSAGE_TOO_LARGE || request.GetAcks() != 0 || request.GetClientZone() != "" {
			continue
		}
		tried++
		c.request = &dataplanev1.ProduceRequest{Entries: []*dataplanev1.ProduceEntry{entry(orders, 1), request.GetEntries()[0]}}
		c.field = strings.Replace(c.field, "entries[0]", "entries[1]", 1)
		fromSchema := c.reason == refusalv1.Reason_REASON_INVALID // the schema's rules name the field, with its index in it
		c.also = func(r *refusalv1.Refusal) bool { return fromSchema || (r.Entry != nil && r.GetEntry() == 1) }
		s.refuseOne(ctx, t, caller, name+", second", c, refusalv1.Written_WRITTEN_SURELY_NOT)
	}
	if tried < 40 {
		t.Errorf("only %d were tried", tried)
	}
}
