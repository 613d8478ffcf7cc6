// Package recordbatch is the codec of the unit that is sent, stored, cached and fetched: Kafka's
// RecordBatch v2 (magic 2), uncompressed or LZ4. The SDK builds and reads batches with it, agents
// verify and stamp them; a batch goes from producer to bucket to consumer without being rebuilt.
//
// What may not live here: partitioning, routing, segments, objects, anything that waits or does I/O.
//
// Promises: P2 (in a batch that [Verify] accepts offset deltas are dense and the record count is true, so that
// offsets are dense; what [Retain] leaves keeps its offsets),
// P5 (producer id, epoch and sequence are carried, and wrap, as in Kafka). No input, however
// malformed, makes this package panic or decompress beyond [Limits.MaxUncompressedBytes].
//
// Read: header.go, record.go, builder.go, reader.go, verify.go, fresh.go, retain.go, lz4.go.
//
// # Batch, version 2
//
// Source: Kafka's documentation, "Message format". Integers are big endian. Offsets and widths in
// bytes. Every row of the three tables is compared with the golden files in testdata.
//
//	field                   offset  width  unit, meaning
//	base_offset                  0      8  records; stamped by the leader, outside the checksum
//	batch_length                 8      4  bytes after this field: size of the batch minus 12
//	partition_leader_epoch      12      4  tenure; stamped by the leader, outside the checksum; -1: not stamped
//	magic                       16      1  version of the format, 2
//	crc                         17      4  CRC-32C of everything from attributes to the end
//	attributes                  21      2  bits 0-2 codec (0 none, 3 LZ4); all other bits must be 0
//	last_offset_delta           23      4  records; record_count - 1 as produced
//	base_timestamp              27      8  ms since 1970 UTC; that of the first record as produced
//	max_timestamp               35      8  ms since 1970 UTC; the greatest of all records
//	producer_id                 43      8  -1: not idempotent
//	producer_epoch              51      2  generation of the producer id; -1: not idempotent
//	base_sequence               53      4  sequence of the first record; -1: not idempotent
//	record_count                57      4  records, at least 1 as produced
//	records                     61      -  records, one after the other; or one LZ4 frame of them
//
// Key compaction removes records and nothing else: base_offset, last_offset_delta, base_timestamp and the producer's
// fields stay as they were produced, record_count and max_timestamp are those of what is left. A batch without any
// record left says so with record_count 0, no records, and the max_timestamp that it had. So a batch always takes
// last_offset_delta + 1 offsets and as many sequences. [Open] and [Reader] read such batches; [Verify] and [VerifyFrame],
// which guard the door, do not take them.
//
// # Record
//
// Varints are zigzag, least significant group first: at most 5 bytes (timestamp_delta: 10).
//
//	field               width   unit, meaning
//	length              varint  bytes of the record after this field
//	attributes          1       must be 0
//	timestamp_delta     varint  ms after base_timestamp, may be negative
//	offset_delta        varint  records after base_offset: 0, 1, 2, ... as produced
//	key_length          varint  bytes; -1: null key, 0: empty key
//	key                 -       bytes
//	value_length        varint  bytes; -1: null value, 0: empty value
//	value               -       bytes
//	header_count        varint  headers that follow
//	header_key_length   varint  bytes
//	header_key          -       UTF-8
//	header_value_length varint  bytes; -1: null, 0: empty
//	header_value        -       bytes
//
// # LZ4 frame
//
// Source: the LZ4 frame format, version 1. Little endian. This is what [Builder] writes; [Verify] also
// takes blocks up to 4 MiB, a missing content size, block checksums and a content checksum, as
// other Kafka producers send them, but no linked blocks and no dictionary.
//
//	field               width   unit, meaning
//	frame_magic         4       184D2204
//	flags               1       68: version 1, independent blocks, content size, no checksums
//	block_descriptor    1       40: blocks of at most 64 KiB
//	content_size        8       bytes of the records, uncompressed
//	header_checksum     1       second lowest byte of xxHash-32 over flags to content_size
//	block_size          4       bytes of the block that follows; top bit: the block is not compressed
//	block               -       one block, at most 64 KiB uncompressed; more may follow
//	end_mark            4       0
package recordbatch
