// Package retention removes what topics keep no longer: now and again it passes over all partitions, in small pages with rests between
// them, raises log starts and removes what lies below. Every replica of the control plane runs one; two that meet at a page do it once, and
// what one has done the other does not find.
//
// Not here: what may go (package store says it, its statements carry the reason); objects, which are deleted when nothing refers to them.
// Promises: P1 (never beyond the high watermark, never by a producer's clock), P8 (what goes is counted down; a pass that was cut short is
// finished by the next).
// Read: retention.go, metrics.go.
package retention
