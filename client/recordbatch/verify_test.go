package recordbatch_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math"
	"strings"
	"testing"

	"github.com/streamhouse/streamhouse/client/recordbatch"
)

func withLength(batch []byte, length uint32) []byte {
	bad := bytes.Clone(batch)
	binary.BigEndian.PutUint32(bad[8:], length)
	return bad
}

// sealed makes length and checksum right again after a test has changed a batch: only a dishonest
// producer sends such bytes.
func sealed(batch []byte) []byte {
	binary.BigEndian.PutUint32(batch[8:], uint32(len(batch)-12))
	binary.BigEndian.PutUint32(batch[17:], crc32.Checksum(batch[21:], crc32.MakeTable(crc32.Castagnoli)))
	return batch
}

// withRecords returns an honest header of count records at time now around any bytes.
func withRecords(count int, codec recordbatch.Codec, records []byte) []byte {
	b := make([]byte, recordbatch.HeaderBytes, recordbatch.HeaderBytes+len(records))
	b[16] = 2
	b[22] = byte(codec)
	binary.BigEndian.PutUint32(b[23:], uint32(count-1))
	binary.BigEndian.PutUint64(b[27:], uint64(now))
	binary.BigEndian.PutUint64(b[35:], uint64(now))
	for i := 43; i < 57; i++ {
		b[i] = 0xff
	}
	binary.BigEndian.PutUint32(b[57:], uint32(count))
	return sealed(append(b, records...))
}

func verify(batch []byte, limits recordbatch.Limits) error {
	_, err := recordbatch.Verify(batch, limits, new(recordbatch.Scratch))
	return err
}

func put16(at int, v int16) func([]byte) []byte {
	return func(b []byte) []byte { binary.BigEndian.PutUint16(b[at:], uint16(v)); return b }
}

func put32(at int, v int32) func([]byte) []byte {
	return func(b []byte) []byte { binary.BigEndian.PutUint32(b[at:], uint32(v)); return b }
}

func put64(at int, v int64) func([]byte) []byte {
	return func(b []byte) []byte { binary.BigEndian.PutUint64(b[at:], uint64(v)); return b }
}

func hugeCount(b []byte) []byte { return put32(57, math.MaxInt32)(put32(23, math.MaxInt32-1)(b)) }

func TestVerifyRefusesDishonestHeaders(t *testing.T) {
	t.Parallel()
	good := build(t, recordbatch.None, recordbatch.Producer{ID: 1, Epoch: 1, BaseSequence: 1},
		recordbatch.Record{Timestamp: now, Value: []byte("a")}, recordbatch.Record{Timestamp: now + 1, Value: []byte("b")})
	for name, c := range map[string]struct {
		change func([]byte) []byte
		want   recordbatch.Reason
	}{
		"magic 1":                  {func(b []byte) []byte { b[16] = 1; return b }, recordbatch.Unsupported},
		"magic 3":                  {func(b []byte) []byte { b[16] = 3; return b }, recordbatch.Unsupported},
		"gzip":                     {put16(21, 1), recordbatch.Unsupported},
		"snappy":                   {put16(21, 2), recordbatch.Unsupported},
		"zstd":                     {put16(21, 4), recordbatch.Unsupported},
		"codec 7":                  {put16(21, 7), recordbatch.Unsupported},
		"log append time":          {put16(21, 8), recordbatch.Unsupported},
		"transactional":            {put16(21, 16), recordbatch.Unsupported},
		"control":                  {put16(21, 32), recordbatch.Unsupported},
		"delete horizon":           {put16(21, 64), recordbatch.Unsupported},
		"sign bit":                 {put16(21, math.MinInt16), recordbatch.Unsupported},
		"lz4 of plain records":     {put16(21, 3), recordbatch.Corrupt},
		"count 0":                  {func(b []byte) []byte { return put32(57, 0)(put32(23, -1)(b)) }, recordbatch.Empty},
		"count 1":                  {put32(57, 1), recordbatch.WrongCount},
		"count 3":                  {put32(57, 3), recordbatch.WrongCount},
		"count negative":           {put32(57, -1), recordbatch.WrongCount},
		"last delta 0":             {put32(23, 0), recordbatch.WrongCount},
		"both 1 less":              {func(b []byte) []byte { return put32(57, 1)(put32(23, 0)(b)) }, recordbatch.WrongCount},
		"both 1 more":              {func(b []byte) []byte { return put32(57, 3)(put32(23, 2)(b)) }, recordbatch.WrongCount},
		"both huge":                {hugeCount, recordbatch.TooLarge},
		"base offset negative":     {put64(0, -1), recordbatch.Corrupt},
		"base offset overflows":    {put64(0, math.MaxInt64-1), recordbatch.Corrupt},
		"base time negative":       {put64(27, -1), recordbatch.BadTimestamp},
		"base time shifted":        {put64(27, now-1), recordbatch.BadTimestamp},
		"max time low":             {put64(35, now), recordbatch.BadTimestamp},
		"max time high":            {put64(35, now+2), recordbatch.BadTimestamp},
		"max time overflows":       {put64(35, math.MaxInt64), recordbatch.BadTimestamp},
		"producer without epoch":   {put16(51, -1), recordbatch.BadProducer},
		"producer negative":        {put64(43, -2), recordbatch.BadProducer},
		"epoch without producer":   {put64(43, -1), recordbatch.BadProducer},
		"sequence negative":        {put32(53, -7), recordbatch.BadProducer},
		"a byte more":              {func(b []byte) []byte { return append(b, 0) }, recordbatch.WrongCount},
		"a byte less":              {func(b []byte) []byte { return b[:len(b)-1] }, recordbatch.Corrupt},
		"header only":              {func(b []byte) []byte { return b[:recordbatch.HeaderBytes] }, recordbatch.WrongCount},
		"half of the header":       {func(b []byte) []byte { return b[:30] }, recordbatch.Corrupt},
		"two batches":              {func(b []byte) []byte { return append(b, b...) }, recordbatch.WrongCount},
		"unchanged, but for a bit": {func(b []byte) []byte { b[len(b)-1] ^= 1; return b }, recordbatch.Corrupt},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantReason(t, verify(sealed(c.change(bytes.Clone(good))), recordbatch.Limits{}), c.want)
		})
	}
	if err := verify(good, recordbatch.Limits{}); err != nil {
		t.Fatal(err)
	}
}

func TestVerifyWantsExactlyOneWholeBatch(t *testing.T) {
	t.Parallel()
	good := build(t, recordbatch.LZ4, recordbatch.NoProducer(), oddRecords()...)
	for n := range good {
		wantReason(t, verify(good[:n], recordbatch.Limits{}), recordbatch.Corrupt)
	}
	wantReason(t, verify(append(bytes.Clone(good), good...), recordbatch.Limits{}), recordbatch.Corrupt)
	wantReason(t, verify(nil, recordbatch.Limits{}), recordbatch.Corrupt)
}

// Every flipped bit behind the fields that a leader stamps is found, by the checksum or earlier.
func TestVerifyFindsEveryFlippedBit(t *testing.T) {
	t.Parallel()
	good := build(t, recordbatch.LZ4, recordbatch.NoProducer(), recordbatch.Record{Timestamp: now, Value: bytes.Repeat([]byte("ab"), 200)})
	for bit := range len(good) * 8 {
		if at := bit / 8; at < 8 || (at >= 12 && at < 16) {
			continue
		}
		bad := bytes.Clone(good)
		bad[bit/8] ^= 1 << (bit % 8)
		if verify(bad, recordbatch.Limits{}) == nil {
			t.Fatalf("bit %d of byte %d flipped: accepted", bit%8, bit/8)
		}
		if _, err := recordbatch.VerifyFrame(bad, recordbatch.Limits{}); err == nil {
			t.Fatalf("bit %d of byte %d flipped: frame accepted", bit%8, bit/8)
		}
	}
}

func TestP2_VerifyRefusesDishonestRecords(t *testing.T) {
	t.Parallel()
	// length, attributes, timestamp delta, offset delta, key (1: null), value, headers
	plain := []byte{12, 0, 0, 0, 1, 1, 0}
	if err := verify(withRecords(1, recordbatch.None, plain), recordbatch.Limits{}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		records []byte
		want    recordbatch.Reason
	}{
		"attributes":             {[]byte{12, 1, 0, 0, 1, 1, 0}, recordbatch.Unsupported},
		"offset delta 1":         {[]byte{12, 0, 0, 2, 1, 1, 0}, recordbatch.WrongCount},
		"offset delta -1":        {[]byte{12, 0, 0, 1, 1, 1, 0}, recordbatch.WrongCount},
		"timestamp delta 1":      {[]byte{12, 0, 2, 0, 1, 1, 0}, recordbatch.BadTimestamp},
		"timestamp overflows":    {[]byte{30, 0, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 1, 1, 0}, recordbatch.BadTimestamp},
		"timestamp of 65 bits":   {[]byte{30, 0, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 1, 1, 0}, recordbatch.Corrupt},
		"length 0":               {[]byte{0, 0, 0, 0, 1, 1, 0}, recordbatch.Corrupt},
		"length negative":        {[]byte{1, 0, 0, 0, 1, 1, 0}, recordbatch.Corrupt},
		"length short":           {[]byte{10, 0, 0, 0, 1, 1, 0}, recordbatch.Corrupt},
		"length long":            {[]byte{14, 0, 0, 0, 1, 1, 0}, recordbatch.Corrupt},
		"length hides a byte":    {[]byte{14, 0, 0, 0, 1, 1, 0, 0}, recordbatch.Corrupt},
		"length never ends":      {[]byte{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80}, recordbatch.Corrupt},
		"length of 33 bits":      {[]byte{0xff, 0xff, 0xff, 0xff, 0x1f, 0, 0}, recordbatch.Corrupt},
		"length huge":            {[]byte{0xfe, 0xff, 0xff, 0xff, 0x0f, 0, 0}, recordbatch.Corrupt},
		"key long":               {[]byte{12, 0, 0, 0, 8, 1, 0}, recordbatch.Corrupt},
		"key -2":                 {[]byte{12, 0, 0, 0, 3, 1, 0}, recordbatch.Corrupt},
		"value long":             {[]byte{12, 0, 0, 0, 1, 4, 0}, recordbatch.Corrupt},
		"value -2":               {[]byte{12, 0, 0, 0, 1, 3, 0}, recordbatch.Corrupt},
		"headers missing":        {[]byte{12, 0, 0, 0, 1, 1, 2}, recordbatch.Corrupt},
		"headers negative":       {[]byte{12, 0, 0, 0, 1, 1, 1}, recordbatch.Corrupt},
		"headers huge":           {[]byte{20, 0, 0, 0, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f}, recordbatch.Corrupt},
		"header key null":        {[]byte{16, 0, 0, 0, 1, 1, 2, 1, 1}, recordbatch.Corrupt},
		"header key not UTF-8":   {[]byte{18, 0, 0, 0, 1, 1, 2, 2, 0xff, 1}, recordbatch.Corrupt},
		"header value missing":   {[]byte{14, 0, 0, 0, 1, 1, 2, 0}, recordbatch.Corrupt},
		"header value -2":        {[]byte{16, 0, 0, 0, 1, 1, 2, 0, 3}, recordbatch.Corrupt},
		"another record":         {append(bytes.Clone(plain), plain...), recordbatch.WrongCount},
		"no record at all":       {nil, recordbatch.WrongCount},
		"record shorter than 7 ": {[]byte{10, 0, 0, 0, 1, 1}, recordbatch.WrongCount},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantReason(t, verify(withRecords(1, recordbatch.None, c.records), recordbatch.Limits{}), c.want)
		})
	}
	twice := withRecords(2, recordbatch.None, append(bytes.Clone(plain), plain...))
	e := wantReason(t, verify(twice, recordbatch.Limits{}), recordbatch.WrongCount)
	if e.Record != 1 || !strings.Contains(e.Error(), "record 1: wrong count") {
		t.Errorf("the second record repeats the first's offset: %v", e)
	}
}

// Timestamps that only a delta takes out of bounds: below 1970 beside a greater one, and past 64 bits
// where nobody but the reader looks.
func TestTimestampDeltasStayInBounds(t *testing.T) {
	t.Parallel()
	below := binary.AppendVarint([]byte{0}, -now-1)
	below = append(below, 2, 1, 1, 0)
	records := append([]byte{12, 0, 0, 0, 1, 1, 0, byte(len(below) << 1)}, below...)
	e := wantReason(t, verify(withRecords(2, recordbatch.None, records), recordbatch.Limits{}), recordbatch.BadTimestamp)
	if e.Record != 1 {
		t.Errorf("record %d", e.Record)
	}
	beyond := append(binary.AppendVarint([]byte{0}, math.MaxInt64), 0, 1, 1, 0)
	batch := withRecords(1, recordbatch.None, append([]byte{byte(len(beyond) << 1)}, beyond...))
	info, err := recordbatch.Open(batch, recordbatch.Limits{}, new(recordbatch.Scratch))
	if err != nil {
		t.Fatal(err)
	}
	_, err = recordbatch.AppendRecords(nil, info)
	wantReason(t, err, recordbatch.BadTimestamp)

	early := sealed(put64(27, -1)(withRecords(1, recordbatch.None, []byte{12, 0, 0, 0, 1, 1, 0})))
	_, err = recordbatch.VerifyFrame(early, recordbatch.Limits{})
	wantReason(t, err, recordbatch.BadTimestamp)
}

func TestVerifyKeepsLimits(t *testing.T) {
	t.Parallel()
	for _, codec := range []recordbatch.Codec{recordbatch.None, recordbatch.LZ4} {
		batch := build(t, codec, recordbatch.NoProducer(), recordbatch.Record{Timestamp: now, Value: []byte("a")},
			recordbatch.Record{
				Timestamp: now, Key: make([]byte, 500), Value: make([]byte, 490),
				Headers: []recordbatch.RecordHeader{{Key: "k", Value: make([]byte, 7)}},
			})
		info, err := recordbatch.Open(batch, recordbatch.Limits{}, new(recordbatch.Scratch))
		if err != nil {
			t.Fatal(err)
		}
		n := info.UncompressedBytes()
		if err := verify(batch, recordbatch.Limits{MaxRecordBytes: 1000, MaxUncompressedBytes: n}); err != nil {
			t.Errorf("codec %d: exactly at the limits: %v", codec, err)
		}
		e := wantReason(t, verify(batch, recordbatch.Limits{MaxRecordBytes: 999}), recordbatch.RecordTooLarge)
		if e.Record != 1 || e.Actual != 1000 || e.Limit != 999 {
			t.Errorf("codec %d: %+v", codec, e)
		}
		wantReason(t, verify(batch, recordbatch.Limits{MaxUncompressedBytes: n - 1}), recordbatch.TooLarge)
	}
	huge := withRecords(1, recordbatch.None, make([]byte, 100_000))
	wantReason(t, verify(huge, recordbatch.Limits{MaxUncompressedBytes: 1000}), recordbatch.TooLarge)
}

func TestErrorsSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	for reason := recordbatch.Corrupt; reason <= recordbatch.BadProducer; reason++ {
		if strings.HasPrefix(reason.String(), "reason") {
			t.Errorf("reason %d has no name", reason)
		}
	}
	if recordbatch.Reason(0).String() != "reason 0" || recordbatch.Reason(99).String() != "reason 99" {
		t.Error("unknown reasons must show their number")
	}
	e := &recordbatch.Error{Reason: recordbatch.RecordTooLarge, Record: 3, Detail: "bytes", Actual: 2, Limit: 1}
	if got, want := e.Error(), "record batch: record 3: record too large: bytes: 2, limit 1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestVerifyTellsLeastTimestampAndFirstKey(t *testing.T) {
	t.Parallel()
	for _, codec := range []recordbatch.Codec{recordbatch.None, recordbatch.LZ4} {
		for name, keys := range map[string][][]byte{"key": {[]byte("first"), nil, []byte("x")}, "null": {nil, []byte("second"), nil}} {
			b := recordbatch.NewBuilder(codec, recordbatch.Limits{})
			for i, at := range []int64{now, now - 7, now + 3} {
				if err := b.Append(at, keys[i], bytes.Repeat([]byte("value"), 50), nil); err != nil {
					t.Fatal(err)
				}
			}
			batch, err := b.AppendBatch(nil, recordbatch.NoProducer())
			if err != nil {
				t.Fatal(err)
			}
			info, err := recordbatch.Verify(batch, recordbatch.Limits{}, new(recordbatch.Scratch))
			if err != nil || info.MinTimestamp != now-7 || info.MaxTimestamp != now+3 || !bytes.Equal(info.FirstKey, keys[0]) || (info.FirstKey == nil) != (keys[0] == nil) {
				t.Errorf("%s: from %d, key %q, %v", name, info.MinTimestamp, info.FirstKey, err)
			}
		}
	}
}

// TestOpenWithoutScratchHasMemoryOfItsOwn: what one batch was decompressed to stays when others are, and ends where the records end.
func TestOpenWithoutScratchHasMemoryOfItsOwn(t *testing.T) {
	t.Parallel()
	var opened []recordbatch.Info
	var want [][]byte
	for i := range 50 {
		b := recordbatch.NewBuilder(recordbatch.LZ4, recordbatch.Limits{})
		for range 1 + 40*i {
			if err := b.Append(1, nil, bytes.Repeat([]byte{byte(i)}, 100), nil); err != nil {
				t.Fatal(err)
			}
		}
		batch, err := b.Build(recordbatch.NoProducer())
		if err != nil {
			t.Fatal(err)
		}
		info, err := recordbatch.Open(batch, recordbatch.Limits{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		inScratch, err := recordbatch.Open(batch, recordbatch.Limits{}, new(recordbatch.Scratch))
		if err != nil {
			t.Fatal(err)
		}
		opened, want = append(opened, info), append(want, inScratch.Records)
	}
	for i, info := range opened {
		if !bytes.Equal(info.Records, want[i]) || cap(info.Records) != len(info.Records) {
			t.Errorf("batch %d: %d bytes, %d with what lies behind, want %d", i, len(info.Records), cap(info.Records), len(want[i]))
		}
	}
}
