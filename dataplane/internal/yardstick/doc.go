// Package yardstick measures what the parts of the data path can do alone, on this machine, in this minute: the bucket (Store) and the
// work on batches (CPU). `streamhouse-agent bench-store` and `bench-cpu` print it as one JSON object, for benchmarks that divide by it.
// Nothing here serves anybody; Store leaves nothing behind.
//
// bench-store, all sizes in bytes, MB = 10^6, times by the wall clock:
//
//	object_bytes, concurrency   as asked for
//	put, get                    of whole objects, conditional PUTs with their CRC-32C, GETs of what was put:
//	  operations, bytes         that succeeded
//	  seconds                   from the first call's beginning to the last one's end
//	  mb_per_second             bytes / seconds
//	  p50_ms, p99_ms            of one call
//	  cpu_seconds_per_gib       of this process (client side), per GiB put or got
//
// bench-cpu, on one core, of batches of JSON-like records:
//
//	record_bytes, batch_bytes   values; batch_bytes is the sum of a batch's values
//	stored_bytes, ratio         of a batch as it is stored, and batch_bytes / stored_bytes
//	compress                    LZ4, header and checksum of records that are encoded already
//	decompress                  checksum and LZ4
//	crc                         CRC-32C of the stored bytes
//	verify                      full verification, as the agent does by default: checksum, LZ4, every field of every record
//	verify_frame                what `--verify checksum` does: header, checksum, structure of the LZ4 frame
//
// and of each of these five gb_per_second and cpu_seconds_per_gib, per byte of values (10^9, GiB).
//
// Read: store.go, cpu.go, usage.go.
package yardstick
