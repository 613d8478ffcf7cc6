// Package postgres keeps the catalog in PostgreSQL: the one implementation of package store that runs in production. Each method is one
// transaction: it locks, reads what decides in later statements, asks a pure function (packages lease, commit, placement, judge), and
// writes with guarded statements whose row counts are the verdict.
//
// Locks are taken in one order everywhere: object keys, the agent group's row (placement only, never commits), topics, sessions
// (FOR KEY SHARE), partitions (FOR NO KEY UPDATE), producers, segments; each kind sorted.
//
// Not here: SQL text (sqlc's queries, package db), decisions, Connect codes.
// Promises: P1, P2, P3, P5, P7, P10.
// Read: config.go, store.go, transact.go, place.go; session.go, judge.go; acquire.go, release.go; commit.go (commit_whole.go where all goes
// well, over roundtrip.go); lookup.go, placement.go; the rest.
package postgres
