// Package bench measures what a commit costs: our Store.Commit beside the least that PostgreSQL could do for it, a bare set-based transaction on
// throw-away tables of the same shape. Both take turns in one scratch database on the server given, so that ratios are of one run on one machine.
// The scratch database is dropped at the end; the server's other databases are left alone, but what they do meanwhile is counted, too.
//
// It is run as `streamhouse-controlplane bench-commit --database-url URL [--entries N] [--producers 0|1] [--committers N] [--duration D] -o json`,
// and prints one JSON object (Report):
//
//	entries               partitions in a commit, one segment each
//	producers             idempotent producers an entry, 0 or 1
//	committers            sessions that commit at the same time, each to partitions of its own
//	seconds               time measured, of each of the two
//	raw, store            the bare transaction, and ours (Measure):
//	  commits             how many were measured
//	  p50_ms, p99_ms      of one commit, in milliseconds
//	  entries_per_second
//	  wal_bytes_per_entry WAL of the whole server, in bytes
//	  postgres_cpu_us_per_entry  CPU of all its processes, in microseconds; null where they are not this machine's
//	  client_cpu_us_per_entry    CPU of this process, in microseconds
//	store_to_raw          the same numbers of store divided by those of raw: p50, p99, wal, postgres_cpu (null: unknown)
//
// Not here: the network and the RPC between an agent and a control plane; objects.
// Read: config.go, run.go, scratch.go, store.go, raw.go, cost.go, report.go.
package bench
