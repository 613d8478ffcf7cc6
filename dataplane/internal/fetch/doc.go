// Package fetch serves readers: Fetch, Consume and ListOffsets of the RecordService, on any agent of the
// topic's agent group.
//
// What is known to be committed is served at once from memory, cache or bucket, where the catalog was asked about the partition in the last
// two seconds: retention moves beginnings. "Nothing there", the end and
// "out of range" are said only after a lookup that started after the request arrived; who waits is woken by
// this agent's own commits, by notices of other agents' (package notice), and by one lookup an interval for all that wait.
//
//	resolve topic → locate (index, else catalog) → load segments → cut batches → answer
//	                          nothing there ↘ wait ↗
//
// What may not live here: sessions, leases, anything that writes.
//
// Promises: P1 (a committed offset is found on every agent), P4 (nothing at or above the high watermark; no
// wrong "nothing there"), P7 (only topics of the own agent group, only to its callers).
//
// Read: service.go, target.go, locate.go, read.go, cut.go, decode.go, ahead.go, fetch.go, offsets.go, consume.go,
// stream.go, peers.go, zone.go, leave.go, refuse.go.
package fetch
