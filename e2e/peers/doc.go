// Package peers has a test for each thing that systems of this kind have been seen to get wrong: they check a cached lease and then write, they answer from
// memory that has grown old, they give a name's past to its next bearer. Each test plays one interleaving, told above it, on real processes. Tests alone live
// here; what breaks at random is package faults'.
//
// Promises: P1 to P6, P10.
// Read: rig_test.go, commit_test.go, producer_test.go, reader_test.go, topic_test.go.
package peers
