// Package keycompact does the jobs that compact topics by key: of each key only the newest record stays, at its offset. The control plane
// chooses the partition and how far to go; what comes of it replaces segments in the catalog as long as these are what was read.
//
// A pass has two halves, in bounded memory. The first reads the dirty part, from where the last pass ended, and notes where each key's newest
// record is; when there is no room for more keys, the pass ends there, and the next one goes on. The second reads the partition from its
// start up to that end and writes what is left. A pass that is cut short has removed only what later records had replaced, and the next one
// begins anew: the clean part grows when a pass is whole.
//
//	clean, one record a key │ dirty                 │ young
//	log start ──────────────┴───────────── end ─────┴────── high watermark
//	          rewritten ◄── keys noted here
//
// What may not live here: what is due (the control plane), the format of batches (package recordbatch).
//
// Promises: P1 as far as a topic that is compacted has it (the newest record of a key stays; a tombstone stays for as long as the topic says
// after nothing older of its key is left), P2 (offsets stay as they are), P5 and P9 (where producers stand can still be read from what is left).
//
// Read: newest.go, clean.go, job.go, write.go, measure.go.
package keycompact
