// Package lookup is what an agent knows of committed segments, and how it asks the catalog for more.
//
// Coalescer asks: many requests share one lookup that has not started yet; one that runs is never
// joined, since it may have read the catalog before the request arrived. Index remembers answers and
// this agent's own commits. Watch looks up, once an interval, all partitions that somebody waits for, and those that were read from memory:
// their beginnings move.
//
// What may not live here: bytes of segments (cache), requests of clients (fetch), routing.
//
// Promises: P4 (what rests on an answer of Coalescer.Ask was read after Ask was called; an error is
// never turned into "nothing there"), P1 (the index only knows what is committed).
//
// Read: query.go, coalescer.go, index.go, segments.go, within.go, confirm.go, subscription.go, awaited.go, watch.go.
package lookup
