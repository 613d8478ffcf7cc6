// Package cache holds the bytes of committed segments, and reads those that it lacks from the bucket.
//
// What is new (just committed here, or just loaded) lives in a ring that drops the oldest; what was used
// more than once there moves on to a cache by use. Both are bounded in bytes. Segments that are asked for
// together and lie close to each other in one object are read with one GET; nobody loads what somebody
// else is loading.
//
// What may not live here: the catalog (lookup), cutting batches (fetch).
//
// Promises: P1 in part (bytes from the bucket are held against the catalog's checksum before anyone sees
// them; damage is read once more, then an error).
//
// Read: cache.go, load.go, spans.go, ring.go.
package cache
