// Package lostcatalog takes PostgreSQL away from a whole cluster and gives it back: as it was (restarts and crashes, which must halt nothing), and
// as it was earlier (a restored backup, which must halt the catalog until an operator adopts it). Nothing here is used by other packages.
// Promises: P1, P2 across failures of PostgreSQL (section 8 of the protocol).
// Read: halt_test.go, restart_test.go.
package lostcatalog
