// Package store is the control plane's seam: one interface, a method a transaction. Everything that the control plane knows passes
// through it; what implements it (package postgres) decides nothing that protocol.md does not say, and nothing else reaches the database.
//
// Requests and answers are the messages of the API where they fit; the agent group that bounds a call comes from the caller's key and
// is an argument of its own (P7). A refusal is an error of type *Refused; every other error is a fault of StreamHouse itself.
//
// Not here: API keys' secrets (only hashes come in), Connect codes, watching (package watch polls Revisions), clocks (PostgreSQL's
// clock alone judges silence, P10).
//
// Promises: P1, P2, P3, P5, P7 are kept by the transactions behind this interface.
// Read: store.go, job.go, refused.go.
package store
