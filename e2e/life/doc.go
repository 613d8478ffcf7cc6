// Package life proves that data lives as long as it should and no longer, on a whole system whose time is accelerated: checkpoints, deletion, sweeping,
// compaction, retention and the removal of topics go on together, under producers and consumers, while processes die between every two steps of theirs,
// answers are lost, and jobs are taken over from agents that go on with them. Afterwards every record above the log starts is there, in the bucket
// lies what is referred to and nothing else, and the catalog keeps nothing that it does not need.
//
// Promises: P1, P2, P8, P9.
//
// Here are tests only; package bucket compares, package workload produces and reads.
// Read: rig_test.go, keyed_test.go, crash_test.go, losses_test.go, life_test.go.
package life
