// Package faults breaks a running cluster in every way that the protocol claims to survive (an agent killed, paused, cut off; the bucket, the database, a
// control plane gone; answers lost, requests doubled), and has the history checker judge each run. Tests alone live here.
//
// Promises: P1 to P6. One trial a fault, or $STREAMHOUSE_TRIALS; a table of all trials is printed at the end.
// Read: faults_test.go, table_test.go.
package faults
