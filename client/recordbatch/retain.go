package recordbatch

import "slices"

// Retain appends to dst what is left of a batch when only the records that keep wants are kept, and returns how many these are. Offsets,
// timestamps and headers of what is left, the offsets that the batch takes, its producer, its leader epoch: all as before. A batch that
// loses nothing is appended as it is, one that loses everything without any record. info is what Open or Verify made of batch, and room
// is not the Scratch that info lies in; keep sees each record once, in order. All errors are *Error; dst is then as it was.
func Retain(dst, batch []byte, info Info, keep func(*View) bool, room *Scratch) ([]byte, int32, error) {
	h := info.Header
	h.RecordCount, h.MaxTimestamp = 0, -1
	left := room.take(len(info.Records), max(len(info.Records), DefaultMaxUncompressedBytes))[:0]
	var v View
	r := NewReader(info)
	for before := r.rest; r.Next(&v); before = r.rest {
		if !keep(&v) {
			continue
		}
		// The bytes of a record depend on the batch's base offset and base timestamp alone, and these stay.
		left = append(left, before[:len(before)-len(r.rest)]...)
		h.RecordCount++
		h.MaxTimestamp = max(h.MaxTimestamp, v.Timestamp)
	}
	if r.err != nil {
		return dst, 0, r.err
	}
	switch h.RecordCount {
	case info.RecordCount:
		return append(dst, batch...), h.RecordCount, nil
	case 0:
		h.MaxTimestamp = info.MaxTimestamp
	}
	return appendLeft(dst, h, left), h.RecordCount, nil
}

// appendLeft appends a batch of encoded records with the header h, but for length, codec and checksum.
func appendLeft(dst []byte, h Header, records []byte) []byte {
	at := len(dst)
	dst = slices.Grow(dst, HeaderBytes+frameBound(len(records)))[:at+HeaderBytes]
	dst, codec := appendSmaller(dst, records, h.Codec())
	batch := dst[at:]
	h.BatchLength, h.Attributes = int32(len(batch)-lengthOffset), int16(codec)
	h.put(batch)
	putChecksum(batch)
	return dst
}
