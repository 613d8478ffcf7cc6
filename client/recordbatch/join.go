package recordbatch

import "slices"

// Join appends the records of a batch that was built without compression. Keys, values and headers are copied as they are, offsets and
// timestamps are told anew, so that what is built of several batches is, byte for byte, what Append would have made of all their records.
// Limits of single records are not looked at: whoever built the batch did. On error nothing was added: TooLarge if there is no room, so
// build and join to the next; Unsupported for a compressed batch, or one with a producer; Corrupt.
func (b *Builder) Join(batch []byte) error {
	h, e := plainHeader(batch)
	if e != nil {
		return e
	}
	before := *b
	if b.count == 0 {
		b.base = h.BaseTimestamp
	}
	b.max = max(b.max, h.MaxTimestamp)
	if e = b.joinRecords(batch[HeaderBytes:], h); e != nil {
		*b = before
		return e
	}
	return nil
}

// plainHeader proves that batch is one whole batch of uncompressed records without a producer, unchanged since it was built.
func plainHeader(batch []byte) (Header, *Error) {
	h, e := parseHeader(batch)
	switch {
	case e != nil:
		return h, e
	case h.Attributes != int16(None) || h.Producer != NoProducer():
		return h, fault(Unsupported, "only uncompressed batches without a producer are joined")
	case h.Size() != int64(len(batch)) || h.RecordCount < 1 || h.LastOffsetDelta != h.RecordCount-1:
		return h, corrupt("not exactly one batch as it was built")
	case checksum(batch) != h.CRC:
		return h, corrupt("checksum mismatch")
	}
	return h, nil
}

func (b *Builder) joinRecords(rest []byte, h Header) *Error {
	shift := h.BaseTimestamp - b.base
	b.records = slices.Grow(b.records, len(rest))
	for range h.RecordCount {
		n, e := b.joinRecord(rest, shift)
		if e != nil {
			return e
		}
		rest = rest[n:]
	}
	if len(rest) > 0 {
		return fault(WrongCount, "more bytes than the record count says")
	}
	return nil
}

// joinRecord appends the record at the start of src, shift ms later after the base timestamp, and returns its size in src.
func (b *Builder) joinRecord(src []byte, shift int64) (int, *Error) {
	length, start := varint32(src, 0)
	if start < 0 || length < minRecordBytes-1 || int(length) > len(src)-start {
		return 0, corrupt("record length out of bounds")
	}
	end := start + int(length)
	timestamp, i := varint64(src[:end], start+1)
	_, i = varint32(src[:end], i)
	if i < 0 || addOverflows(timestamp, shift) {
		return 0, corrupt("record field out of bounds")
	}
	delta, offset, same := zigzag64(timestamp+shift), uint64(b.count)<<1, src[i:end]
	body := 1 + varintLen(delta) + varintLen(offset) + len(same)
	total := varintLen(uint64(body)<<1) + body
	at := len(b.records)
	if at+total > b.limits.MaxUncompressedBytes {
		return 0, tooLarge(TooLarge, "uncompressed bytes", at+total, b.limits.MaxUncompressedBytes)
	}
	b.records = slices.Grow(b.records, total)[:at+total]
	p := b.records[at:]
	n := putVarint(p, 0, uint64(body)<<1)
	p[n] = src[start]
	n = putVarint(p, n+1, delta)
	n = putVarint(p, n, offset)
	copy(p[n:], same)
	b.count++
	return end, nil
}
