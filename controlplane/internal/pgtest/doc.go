// Package pgtest gives tests a real PostgreSQL: one server for each test process, one database for each test, made from a template that
// was migrated once. No server survives the process, however it ends; the files of one that was killed are removed by the next.
//
//	func TestMain(m *testing.M) { pgtest.Main(m) }
//
//	func TestX(t *testing.T) {
//		s := pgtest.Open(t, postgres.Config{})
//
// PostgreSQL's programs are looked for in $STREAMHOUSE_POSTGRES_BIN, in $PATH, below /usr/lib/postgresql (newest first) and where
// Homebrew puts them. PostgreSQL refuses to run as root: then it runs as user postgres, or nobody.
//
// For tests alone: fsync is off.
// Read: pgtest.go, server.go.
package pgtest
