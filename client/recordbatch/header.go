package recordbatch

import (
	"encoding/binary"
	"hash/crc32"
	"math"
)

// HeaderBytes is the size of a batch's header: all fields before the records.
const HeaderBytes = 61

// ChecksumFrom is the position at which a batch's own checksum begins to cover it, up to its end.
const ChecksumFrom = attributesAt

// MaxTimestamp is the last millisecond of the year 9999, in ms since 1970 UTC: the greatest
// timestamp of a record (what a protobuf Timestamp can hold).
const MaxTimestamp int64 = 253402300799999

// NotStamped is the partition leader epoch of a batch that no leader has stamped.
const NotStamped int32 = -1

const (
	magicV2       = 2
	lengthOffset  = 12 // batch_length counts from here
	codecMask     = 0x07
	baseOffsetAt  = 0
	batchLengthAt = 8
	leaderEpochAt = 12
	magicAt       = 16
	crcAt         = 17
	attributesAt  = 21
	lastDeltaAt   = 23
	baseTimeAt    = 27
	maxTimeAt     = 35
	producerIDAt  = 43
	prodEpochAt   = 51
	baseSeqAt     = 53
	countAt       = 57
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Codec is the compression of a batch's records, numbered as in Kafka.
type Codec uint8

// The codecs that this package writes and reads.
const (
	None Codec = 0
	LZ4  Codec = 3
)

// Producer identifies an idempotent producer's batch. All fields are -1 without idempotence.
type Producer struct {
	ID           int64
	Epoch        int16
	BaseSequence int32
}

// NoProducer is the Producer of batches that are not idempotent.
func NoProducer() Producer { return Producer{ID: -1, Epoch: -1, BaseSequence: -1} }

// Idempotent reports whether p names a producer.
func (p Producer) Idempotent() bool { return p.ID >= 0 }

func (p Producer) check() *Error {
	none := p == NoProducer()
	if !none && (p.ID < 0 || p.Epoch < 0 || p.BaseSequence < 0) {
		return fault(BadProducer, "producer id, epoch and sequence must all be -1 or all be at least 0")
	}
	return nil
}

// NextSequence returns the sequence that follows count records from sequence seq. Sequences run
// from 0 to 2147483647 and wrap to 0, as in Kafka. Requires: seq >= 0, count >= 0.
func NextSequence(seq, count int32) int32 {
	return int32((int64(seq) + int64(count)) & math.MaxInt32)
}

// Header holds a batch's fixed fields; doc.go says what they mean.
type Header struct {
	BaseOffset      int64
	BatchLength     int32 // bytes after this field
	LeaderEpoch     int32
	CRC             uint32
	Attributes      int16
	LastOffsetDelta int32
	BaseTimestamp   int64 // ms since 1970 UTC
	MaxTimestamp    int64 // ms since 1970 UTC
	Producer        Producer
	RecordCount     int32
}

// Size is the whole batch's size in bytes, as the header claims it.
func (h *Header) Size() int64 { return int64(h.BatchLength) + lengthOffset }

// Codec is the compression of the records.
func (h *Header) Codec() Codec { return Codec(h.Attributes & codecMask) }

// Offsets is how many offsets the batch takes: as many as it has records, or more once key compaction has removed some.
// Requires: a batch that Open or Verify accepted.
func (h *Header) Offsets() int32 { return h.LastOffsetDelta + 1 }

// LastOffset is the last of the batch's offsets: that of its last record, unless key compaction has removed it.
func (h *Header) LastOffset() int64 { return h.BaseOffset + int64(h.LastOffsetDelta) }

// NextOffset is the offset that follows the batch.
func (h *Header) NextOffset() int64 { return h.LastOffset() + 1 }

// LastSequence is the sequence of the last record that the producer sent in this batch, also where key compaction has removed records:
// sequences run with the offsets. Requires: Producer.Idempotent, a batch that Open or Verify accepted.
func (h *Header) LastSequence() int32 {
	return NextSequence(h.Producer.BaseSequence, h.LastOffsetDelta)
}

// ParseHeader reads the header at the start of b. It trusts nothing and proves nothing: the batch
// may be shorter or longer than the header claims. Errors: Corrupt if b is too short for a header,
// Unsupported for another magic.
func ParseHeader(b []byte) (Header, error) {
	h, e := parseHeader(b)
	if e != nil {
		return h, e
	}
	return h, nil
}

func parseHeader(b []byte) (Header, *Error) {
	if len(b) > magicAt && b[magicAt] != magicV2 {
		return Header{}, fault(Unsupported, "only magic 2 is known")
	}
	if len(b) < HeaderBytes {
		return Header{}, corrupt("shorter than a batch header")
	}
	b = b[:HeaderBytes]
	return Header{
		BaseOffset:      int64(binary.BigEndian.Uint64(b[baseOffsetAt:])),
		BatchLength:     int32(binary.BigEndian.Uint32(b[batchLengthAt:])),
		LeaderEpoch:     int32(binary.BigEndian.Uint32(b[leaderEpochAt:])),
		CRC:             binary.BigEndian.Uint32(b[crcAt:]),
		Attributes:      int16(binary.BigEndian.Uint16(b[attributesAt:])),
		LastOffsetDelta: int32(binary.BigEndian.Uint32(b[lastDeltaAt:])),
		BaseTimestamp:   int64(binary.BigEndian.Uint64(b[baseTimeAt:])),
		MaxTimestamp:    int64(binary.BigEndian.Uint64(b[maxTimeAt:])),
		Producer: Producer{
			ID:           int64(binary.BigEndian.Uint64(b[producerIDAt:])),
			Epoch:        int16(binary.BigEndian.Uint16(b[prodEpochAt:])),
			BaseSequence: int32(binary.BigEndian.Uint32(b[baseSeqAt:])),
		},
		RecordCount: int32(binary.BigEndian.Uint32(b[countAt:])),
	}, nil
}

// put writes all fields but the checksum. Requires: len(b) >= HeaderBytes.
func (h *Header) put(b []byte) {
	b = b[:HeaderBytes]
	binary.BigEndian.PutUint64(b[baseOffsetAt:], uint64(h.BaseOffset))
	binary.BigEndian.PutUint32(b[batchLengthAt:], uint32(h.BatchLength))
	binary.BigEndian.PutUint32(b[leaderEpochAt:], uint32(h.LeaderEpoch))
	b[magicAt] = magicV2
	binary.BigEndian.PutUint16(b[attributesAt:], uint16(h.Attributes))
	binary.BigEndian.PutUint32(b[lastDeltaAt:], uint32(h.LastOffsetDelta))
	binary.BigEndian.PutUint64(b[baseTimeAt:], uint64(h.BaseTimestamp))
	binary.BigEndian.PutUint64(b[maxTimeAt:], uint64(h.MaxTimestamp))
	putProducer(b, h.Producer)
	binary.BigEndian.PutUint32(b[countAt:], uint32(h.RecordCount))
}

func putProducer(b []byte, p Producer) {
	binary.BigEndian.PutUint64(b[producerIDAt:], uint64(p.ID))
	binary.BigEndian.PutUint16(b[prodEpochAt:], uint16(p.Epoch))
	binary.BigEndian.PutUint32(b[baseSeqAt:], uint32(p.BaseSequence))
}

func checksum(batch []byte) uint32 { return crc32.Checksum(batch[attributesAt:], castagnoli) }

func putChecksum(batch []byte) { binary.BigEndian.PutUint32(batch[crcAt:], checksum(batch)) }

// Stamp writes the base offset and the leader's epoch into a batch, in place; both lie outside the
// checksum. Error: Corrupt if batch is too short for a header.
func Stamp(batch []byte, baseOffset int64, leaderEpoch int32) error {
	if len(batch) < HeaderBytes {
		return corrupt("shorter than a batch header")
	}
	binary.BigEndian.PutUint64(batch[baseOffsetAt:], uint64(baseOffset))
	binary.BigEndian.PutUint32(batch[leaderEpochAt:], uint32(leaderEpoch))
	return nil
}

// SetProducer gives a built batch another producer and computes the checksum anew, in place, without
// compressing again: for records that were never sent and outlive their producer id. batch must be
// exactly one batch. Errors: Corrupt, BadProducer.
func SetProducer(batch []byte, p Producer) error {
	h, e := parseHeader(batch)
	if e != nil {
		return e
	}
	if h.Size() != int64(len(batch)) {
		return corrupt("not exactly one batch")
	}
	if e := p.check(); e != nil {
		return e
	}
	putProducer(batch, p)
	putChecksum(batch)
	return nil
}

// SetTime moves a built batch in time, all its records alike, so that the first timestamp is at, and gives it the checksum that goes with it, in
// place, without reading the records. batch must be exactly one batch. Requires: a record that is earlier than the first one stays in bounds. Errors:
// Corrupt, BadTimestamp.
func SetTime(batch []byte, at int64) error {
	h, e := parseHeader(batch)
	if e != nil {
		return e
	}
	if h.Size() != int64(len(batch)) {
		return corrupt("not exactly one batch")
	}
	latest := at + h.MaxTimestamp - h.BaseTimestamp
	if badTimestamp(at) || badTimestamp(latest) {
		return fault(BadTimestamp, "timestamps must lie between the years 1970 and 9999")
	}
	rehead(batch, func() {
		binary.BigEndian.PutUint64(batch[baseTimeAt:], uint64(at))
		binary.BigEndian.PutUint64(batch[maxTimeAt:], uint64(latest))
	})
	return nil
}
