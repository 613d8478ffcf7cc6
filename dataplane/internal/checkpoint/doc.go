// Package checkpoint is the format of checkpoints, and of the descriptions of topics that no checkpoint has yet: objects that say what the objects of
// records alone do not, so that the catalog can be rebuilt from the bucket. Bytes in, bytes out; and where such objects lie.
//
// Not here: what is in them (package job reads it from the control plane), and what a rebuild makes of them.
// Promises: P7 (keys lie under the agent group's prefix), P9 in part.
//
// # Keys
//
//	<agent group>/checkpoints/<incarnation, 3 digits>-<number, 20 digits>   the greatest is the newest
//	<agent group>/topics/<topic id>
//
// # Format, version 1
//
// All numbers are big-endian. CRC-32C is Castagnoli's.
//
//	object = head, pages, end, trailer
//
// Head, 8 bytes:
//
//	offset  width  unit     field
//	     0      6  -        magic: 89 53 48 43 4B 50 ("\x89SHCKP")
//	     6      2  version  format version: 1
//
// Each page is a streamhouse.controlplane.v1.CheckpointPage; the first has the head of the checkpoint:
//
//	offset  width  unit     field
//	     0      4  bytes    length, 1 to 67,108,864
//	     4      n  -        protobuf
//
// End: a length of 0. Trailer, 24 bytes:
//
//	offset  width  unit     field
//	     0      8  bytes    length of all before the trailer
//	     8      4  count    pages
//	    12      4  CRC-32C  of all before the trailer
//	    16      2  version  format version, as in the head
//	    18      6  -        magic: 53 48 43 45 4E 44 ("SHCEND")
//
// Read: key.go, format.go, load.go.
package checkpoint
