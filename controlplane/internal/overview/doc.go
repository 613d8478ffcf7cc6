// Package overview tells people how the cluster is: agents by agent group and zone, who leads how much, bytes across zones, and sentences about
// what needs attention. Pure: what the store has counted in, the answer out.
// Not here: SQL, what is a good placement.
// Promises: none.
// Read: overview.go, traffic.go, warning.go.
package overview
