// Package suspicion asks after agents whose watch broke: where the agent's address refuses a connection, the process is gone, and its
// session becomes suspect at once, long before its silence would tell.
//
//	watch breaks -> ask at the session's address -> refused:  suspect, and its partitions go elsewhere
//	                                             -> answered: nothing; it lives
//	                                             -> else:     asked again a few times, then nothing; silence will tell (package judge)
//
// Nothing here ends a session or moves a partition, and nothing reads a clock. A stopped process keeps its connections and accepts new
// ones, so that only a refused connection is a verdict. A replica that stops has broken the watches itself, and asks nobody.
//
// Promises: P10. No promise rests on a suspicion being right: commits are fenced, and the next heartbeat clears it.
// Read: suspicion.go, knock.go.
package suspicion
