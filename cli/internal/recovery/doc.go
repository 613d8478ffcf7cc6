// Package recovery brings together what the bucket has and what the catalog says: it asks agents (which alone see the bucket) and tells the control
// plane (which alone sees the catalog). It recovers a catalog, rolls a halted one forward, and checks one against the bucket.
// Nothing here knows what a log is: the control plane makes it. Every step but the last may be repeated, and whoever starts again goes on
// where the work was left.
//
// Memory is bounded: some messages in flight, and of a check a bit for each object of the catalog.
// Read: reach.go, bring.go, recover.go, check.go, seen.go.
package recovery
