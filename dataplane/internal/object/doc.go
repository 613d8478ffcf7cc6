// Package object is the format of what agents write to the bucket: bytes in, bytes out, no I/O of its own.
// An object holds segments of many partitions back to back; a segment is Kafka RecordBatches (v2) of one
// partition with contiguous offsets. A footer at the end says what is where, so that an object explains
// itself and the catalog can be rebuilt from the bucket.
// Nothing here decodes batches, talks to a store or knows the control plane.
//
// Promises: P7 (a key begins with its agent group), P9 (the footer names all that a commit names, and the
// first offset of the tenure), P1 in part (every byte lies under a checksum).
//
// # Format, version 1
//
// All numbers are big-endian; signed ones are two's complement. CRC-32C is Castagnoli's.
//
//	object = head, segments, footer, trailer
//
// Head, 8 bytes at the start:
//
//	offset  width  unit     field
//	     0      6  -        magic: 89 53 48 4F 42 4A ("\x89SHOBJ")
//	     6      2  version  format version: 1
//
// Segments begin right after the head, each where the last one ended; the footer begins where the last one
// ended. They are in strictly rising order of (topic id, partition, base offset) and do not overlap.
//
// Footer, 76 bytes and 80 for each segment:
//
//	offset  width  unit     field
//	     0      1  bytes    length of the agent group's name, 1 to 40
//	     1     40  ASCII    agent group, [a-z0-9-], padded with zeros
//	    41      3  -        zero
//	    44      4  number   catalog incarnation, 0 to 255
//	    48     16  UUID     session that wrote the object
//	    64      8  number   counter of the object within its session
//	    72      4  count    segments, 1 to 65,536
//	    76   80*n  -        segments
//
// Each segment:
//
//	offset  width  unit     field
//	     0     16  UUID     topic id
//	    16      4  number   partition, at least 0
//	    20      4  epoch    epoch of the tenure that wrote it, at least 1
//	    24      8  offset   base offset, at least 0
//	    32      4  records  record count, at least 1
//	    36      4  bytes    size, at least 1
//	    40      8  bytes    position in the object
//	    48      8  ms       least record timestamp, since 1970 UTC
//	    56      8  ms       greatest record timestamp, since 1970 UTC
//	    64      8  offset   first offset of the tenure, 0 to the base offset
//	    72      4  CRC-32C  of the segment's bytes
//	    76      4  -        zero
//
// Trailer, 16 bytes at the end:
//
//	offset  width  unit     field
//	     0      4  bytes    size of the footer, without the trailer
//	     4      4  CRC-32C  of the footer's bytes
//	     8      2  version  format version, as in the head
//	    10      6  -        magic: 53 48 46 4F 4F 54 ("SHFOOT")
//
// A new version may change all but the head's and the trailer's last 8 bytes; readers refuse a version that
// they do not know.
//
// Read: format.go, key.go, segment.go, builder.go, combine.go, frame.go, footer.go, read.go.
package object
