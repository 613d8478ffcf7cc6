// Package scenario runs protocol stories that a non-programmer can read: commands, a line "----", the expected answer; see
// testdata/README.md for the verbs. Each story runs on the reference in memory and on PostgreSQL, and both must answer as the file says.
// Package conformance next to the stores speaks the same verbs at random.
//
// Not here: what the right answer is (it stands in the files), processes, the network.
// Promises: none of its own; the files name those that they show.
// Read: script.go, world.go, command.go, name.go, catalog.go, postgres.go; then the verbs.
package scenario
