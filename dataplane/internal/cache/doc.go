// Package cache holds the bytes of committed segments, and brings those that it lacks: from the bucket, or from the agent that reads an
// object for the whole zone.
//
// It keeps blobs, each a range of one object: what was committed here, a range that was read for some segments, or all of an object.
// What is new lives in a ring that drops the oldest; what was used more than once there moves on to a cache by use. Both are bounded in
// bytes. Segments that are asked for at once and lie close to each other in one object are read with one GET, also with a wide gap between them where
// who asks says so (Together); nobody loads what somebody else is loading; a GET that takes longer than most is sent once more.
//
//	                 ┌ Alone ─────────────────────────────► ranged GET
//	Load ─► blobs ─► flight ┤ Shared, Whole ─► the owner ─┬─ another agent ─► its Range ─┐
//	                 └                                    └─ this one ───────────────────┴─► ranged GET, or one GET of all
//
// What may not live here: the catalog (lookup), cutting batches (fetch), who is in the zone (fetch).
//
// Promises: P1 in part (bytes that were not committed here are held against the catalog's checksum before a reader sees them; damage is
// read once more, straight from the bucket, then an error).
//
// Read: cache.go, blob.go, load.go, bring.go, get.go, hedge.go, spans.go.
package cache
