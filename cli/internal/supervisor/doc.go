// Package supervisor is `streamhouse dev`: it starts PostgreSQL, an S3 server, control planes and agents, each a process of its own, waits
// until each is ready, reports those that die, starts agents on demand, and stops everything in order: agents, control planes, S3,
// PostgreSQL. All state lives in a data dir, so that a later run finds topics, records, addresses and keys again.
//
//	starting ──ready──► running ──dies──► exited ──agent start──► starting
//	    └──────fails: everything stops        └──Restart──► restarting ──► starting
//
// Nothing here knows PostgreSQL's or the services' protocols beyond their health. Nothing it starts listens beyond loopback.
// Read: config.go, part.go, parts.go, supervisor.go, up.go, watch.go, down.go, orders.go.
package supervisor
