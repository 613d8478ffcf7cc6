// Package objectstore is the bucket behind one small interface, with S3 and memory as implementations.
// Nothing here knows what is in an object, which keys are good, or who may read what; it logs nothing.
//
// Promises: P6 (an error says whether a write may have arrived), P8 in part (a key is written once, by
// If-None-Match, and stands for one byte string: a repeated Put of the same bytes succeeds, of others is
// ErrConflict).
//
// Limits: what Put writes in one piece may have up to 5 GiB; every call ends after a bounded number of
// attempts or with its context, whichever is first.
//
// S3 Express directory buckets ("…--x-s3") work by the SDK's sessions and by List's own order; that was tried against a server that lists
// as they do, not against AWS.
//
// Read: store.go, errors.go, config.go, s3.go, s3_put.go, s3_multipart.go, body.go, send.go, s3_list.go, retry.go, classify.go, selftest.go, memory.go,
// memory_multipart.go;
// s3test starts a real server for tests.
package objectstore
