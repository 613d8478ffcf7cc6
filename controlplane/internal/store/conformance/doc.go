// Package conformance holds the catalog in PostgreSQL against its promises: random stories on it and on the reference must be answered
// alike (agree_test.go), many sessions at once must leave one log that all answers agree with (race_test.go), and after each step the
// rows must keep the invariants that invariant.go spells out.
//
// Not here: the stories that people read (package scenario), which this package tells at random.
// Promises: P1, P2, P3, P5, P7, as tests.
// Read: invariant.go, generate_test.go, agree_test.go, race_test.go.
package conformance
