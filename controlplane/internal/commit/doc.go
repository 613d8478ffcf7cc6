// Package commit decides what becomes of the entries of uploaded objects, given the rows of the catalog that the caller has locked.
// Pure: whoever keeps the rows (PostgreSQL, or a model of it) reads them before and writes the plan afterwards, all under the same locks.
//
// Not here: SQL, retries, repeats and tombstones (object keys are looked at before anything is decided).
// Promises: P2 (base offset = high watermark), P3 (session and epoch = the row's), P5 (sequences follow), P7 (agent groups).
// Read: request.go (what a well-formed request is), decide.go, whole.go (the same where all goes well), outcome.go (what is stored for repeats).
package commit
