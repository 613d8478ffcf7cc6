// Package notice lets agents of an agent group hear of each other's commits, so that who waits for records on one agent wakes within
// milliseconds of a commit on another.
//
// Board is the leader's half: it knows what this agent has just committed, and who wants to hear of which partition. What is not sent yet
// is kept once a partition, so a slow listener gets fewer and newer notices. Listener is the other half: it keeps one stream to each agent
// that leads partitions which somebody waits for here, and teaches what it hears to the index.
//
//	commit ─► Board ══ one stream a pair of agents ══► Listener ─► index ─► readers wake
//	                                                      │ the stream breaks, or the leader changes
//	                                                      └─► a lookup at once
//
// What may not live here: deciding whether there is nothing to read. A notice is a hint that makes things faster; whoever hears none
// asks the catalog (package lookup).
//
// Promises: P4 (what a notice names has been committed), P7 (nothing is said to, or heard from, another agent group).
//
// Read: board.go, serve.go, listener.go, ear.go, wire.go.
package notice
