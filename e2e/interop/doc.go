// Package interop holds tests that let other people's Kafka code read what we write, and the other
// way round: franz-go's decoder is the reference for what the bucket holds. It lies here and not in
// client, so that the SDK does not depend on franz-go.
//
// What may not live here: anything that other packages import.
//
// Promises: P1 and P2 as a stranger sees them: the records that went in come out, at their offsets.
//
// Read: recordbatch_test.go.
package interop
