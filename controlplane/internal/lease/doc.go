// Package lease decides who gets a partition: acquire and release, given the rows of the catalog that the caller has locked.
// Pure: no I/O, no clock; whether a session has ended is a fact that it is told.
//
// Not here: SQL; which agent a partition is assigned to (package placement).
// Promises: P3 (each tenure has an epoch above all before it), P7 (agent groups), P10 (no clock).
//
//	           Acquire by an entitled session                 Release, or Acquire of another
//	no leader ─────────────────────────────▶ leads, epoch e ─────────────────────────────────▶ leads, epoch e+1, or no leader
//	                                          └─ Acquire again: the same epoch, unless the session says that it ended it
//
// Read: epoch.go, session.go, acquire.go, release.go.
package lease
