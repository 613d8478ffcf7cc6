// Package judge ends sessions that have gone silent, suspects them before, and finds new homes for their partitions. Every replica of
// the control plane runs one judge; they need not know of each other, for each statement carries its own reason.
//
// Not here: the clock that judges (PostgreSQL's, P10); what the end of a session means for its leases (package lease).
// Promises: P10. No promise rests on a judge being right: commits are fenced, so a session ended too early costs a move, never a record.
// Read: pulse.go, judge.go.
package judge
