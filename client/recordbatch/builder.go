package recordbatch

import (
	"slices"
	"unicode/utf8"
)

// Builder encodes records into one batch at a time and reuses its buffers from batch to batch. Append
// allocates nothing once the buffers have grown. Not for concurrent use.
type Builder struct {
	codec   Codec
	limits  Limits
	records []byte // encoded records
	out     []byte // what Build returned last
	count   int32
	base    int64 // ms; timestamp of the first record
	max     int64 // ms; greatest timestamp
}

// NewBuilder returns an empty builder. With the codec LZ4 a batch that does not shrink is written
// uncompressed; any other codec means None. Limits are those that the agents verify with.
func NewBuilder(codec Codec, limits Limits) *Builder {
	return &Builder{codec: codec, limits: limits.orDefaults()}
}

// Count is the number of records appended.
func (b *Builder) Count() int { return int(b.count) }

// UncompressedBytes is the size of the encoded records so far, without the batch header.
func (b *Builder) UncompressedBytes() int { return len(b.records) }

// MaxTimestamp is the greatest timestamp so far, in ms since 1970 UTC; 0 if empty.
func (b *Builder) MaxTimestamp() int64 { return b.max }

// Reset forgets the records and keeps the buffers, which ends the bytes that Build returned.
func (b *Builder) Reset() {
	b.records, b.out = b.records[:0], b.out[:0]
	b.count, b.base, b.max = 0, 0, 0
}

// Renew is Reset for batches of another kind: see NewBuilder.
func (b *Builder) Renew(codec Codec, limits Limits) {
	b.Reset()
	b.codec, b.limits = codec, limits.orDefaults()
}

// RecordBound is the most bytes that such a record adds to UncompressedBytes.
func RecordBound(key, value []byte, headers []RecordHeader) int {
	const fixed = 5 + 1 + 10 + 5 + 5 + 5 + 5 // all varints at their longest
	n := fixed + len(key) + len(value)
	for i := range headers {
		n += 10 + len(headers[i].Key) + len(headers[i].Value)
	}
	return n
}

// Append adds a record; key, value and header values may be nil for null, and all are copied.
// timestamp is in ms since 1970 UTC. On error nothing was added: RecordTooLarge; TooLarge if the
// batch is full, so build it and append to the next; BadTimestamp; NoKey; Corrupt for a header key
// that is not UTF-8.
func (b *Builder) Append(timestamp int64, key, value []byte, headers []RecordHeader) error {
	size, e := b.check(timestamp, key, value, headers)
	if e != nil {
		return e
	}
	if b.count == 0 {
		b.base = timestamp
	}
	delta := zigzag64(timestamp - b.base)
	body := 1 + varintLen(delta) + varintLen(uint64(b.count)<<1) + fieldLen(key) + fieldLen(value) + size
	total := varintLen(uint64(body)<<1) + body
	if at := len(b.records); at+total > b.limits.MaxUncompressedBytes {
		return tooLarge(TooLarge, "uncompressed bytes", at+total, b.limits.MaxUncompressedBytes)
	}
	b.put(total, body, delta, key, value, headers)
	b.max = max(b.max, timestamp)
	b.count++
	return nil
}

// check returns the encoded size of the headers with their count.
func (b *Builder) check(timestamp int64, key, value []byte, headers []RecordHeader) (int, *Error) {
	if badTimestamp(timestamp) {
		return 0, fault(BadTimestamp, "timestamps must lie between the years 1970 and 9999").at(int(b.count))
	}
	if b.limits.KeysRequired && key == nil {
		return 0, fault(NoKey, keyless).at(int(b.count))
	}
	size := len(key) + len(value)
	encoded := varintLen(uint64(len(headers)) << 1)
	for i := range headers {
		h := &headers[i]
		if !utf8.ValidString(h.Key) {
			return 0, corrupt("record header key is not UTF-8").at(int(b.count))
		}
		size += headerOverhead + len(h.Key) + len(h.Value)
		encoded += varintLen(uint64(len(h.Key))<<1) + len(h.Key) + fieldLen(h.Value)
	}
	if size > b.limits.MaxRecordBytes {
		return 0, tooLarge(RecordTooLarge, "bytes of key, value and headers", size, b.limits.MaxRecordBytes).at(int(b.count))
	}
	return encoded, nil
}

// put writes the record at the end of the buffer, which it grows once.
func (b *Builder) put(total, body int, delta uint64, key, value []byte, headers []RecordHeader) {
	at := len(b.records)
	b.records = slices.Grow(b.records, total)[:at+total]
	p := b.records[at:]
	i := putVarint(p, 0, uint64(body)<<1)
	p[i] = 0
	i = putVarint(p, i+1, delta)
	i = putVarint(p, i, uint64(b.count)<<1)
	i = putField(p, i, key)
	i = putField(p, i, value)
	i = putVarint(p, i, uint64(len(headers))<<1)
	for k := range headers {
		h := &headers[k]
		i = putVarint(p, i, uint64(len(h.Key))<<1)
		i += copy(p[i:], h.Key)
		i = putField(p, i, h.Value)
	}
}

func fieldLen(f []byte) int { return varintLen(uint64(len(f))<<1) + len(f) }

// putField writes length and bytes; null (nil) is the length -1, which zigzags to 1.
func putField(p []byte, i int, f []byte) int {
	if f == nil {
		p[i] = 1
		return i + 1
	}
	i = putVarint(p, i, uint64(len(f))<<1)
	return i + copy(p[i:], f)
}

// Build returns the batch of all records appended since Reset, with base offset 0 and no leader epoch
// (see Stamp), in memory that stays valid until the next Build or Reset. Errors: Empty, BadProducer.
func (b *Builder) Build(p Producer) ([]byte, error) {
	out, err := b.AppendBatch(b.out[:0], p)
	if err != nil {
		return nil, err
	}
	b.out = out
	return out, nil
}

// AppendBatch is Build into the caller's memory: it appends the batch to dst.
func (b *Builder) AppendBatch(dst []byte, p Producer) ([]byte, error) {
	if b.count == 0 {
		return dst, fault(Empty, "no records")
	}
	if e := p.check(); e != nil {
		return dst, e
	}
	at := len(dst)
	dst = slices.Grow(dst, HeaderBytes+frameBound(len(b.records)))
	dst, codec := appendSmaller(dst[:at+HeaderBytes], b.records, b.codec)
	batch := dst[at:]
	h := Header{
		BatchLength: int32(len(batch) - lengthOffset), LeaderEpoch: NotStamped,
		Attributes: int16(codec), LastOffsetDelta: b.count - 1, RecordCount: b.count,
		BaseTimestamp: b.base, MaxTimestamp: b.max, Producer: p,
	}
	h.put(batch)
	putChecksum(batch)
	return dst, nil
}

// appendSmaller appends records, compressed if the codec is LZ4 and that makes them smaller.
func appendSmaller(dst, records []byte, codec Codec) ([]byte, Codec) {
	if codec == LZ4 {
		at := len(dst)
		if dst = appendFrame(dst, records); len(dst)-at < len(records) {
			return dst, LZ4
		}
		dst = dst[:at]
	}
	return append(dst, records...), None
}
