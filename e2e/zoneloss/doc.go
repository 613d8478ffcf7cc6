// Package zoneloss rehearses the loss of a zone: three network namespaces of this machine are the zones, with agents, a control plane, producers and
// readers in each; one is cut off without a word, and comes back. PostgreSQL and the bucket are in a fourth, the region: that the database's own
// standby takes over is PostgreSQL's business, and not rehearsed.
// The namespaces, and every address in them, are made by the test and removed by it. It needs Linux and the right to make them.
//
// Promises: P1, P2, P4, P5 across the loss of a zone.
// Read: namespaces_linux_test.go, zoneloss_linux_test.go.
package zoneloss
