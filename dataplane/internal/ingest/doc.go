// Package ingest is the pure core of the write path: the ledger of one session. It decides which batches are appended, at which offsets,
// in which object they go, what a commit names, and what becomes of every batch in the end. It waits for nobody and does no I/O; flush uploads
// its objects, commit sends its commits, lease opens and ends its tenures.
//
// A batch's way: Append (open object) -> Seal (an object with a key) -> Build -> Uploaded -> NextCommit (sent) -> Answered (settled).
//
// Plain records of calls that follow each other in a segment make one batch together (joint.go): each call has its offsets at once, and the
// batch is compressed when it is ripe or its object is uploaded.
//
// A tenure's life:
//
//	        Grant            Close               End
//	(none) -------> leading -------> closing ----------> ended
//	                   |                                   ^
//	                   +---- a failed entry, End, Abandon -+
//
// When a tenure ends, its batches that no commit has named fail at once, surely not written; those that a commit has named get that
// commit's outcome. Nothing is appended to it any more.
//
// Promises: P2 (offsets are dense; one epoch and offset has one content for ever), P3 (only the epoch that was granted is committed),
// P5 (sequences), P6 (surely not, or possibly), P1 in part (settled as stored only by the catalog's answer).
//
// Read: batch.go, sequence.go, tenure.go, object.go, joint.go, ledger.go, append.go, settle.go.
package ingest
