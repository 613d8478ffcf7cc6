// Package fakecluster is a whole cluster in memory, reached in process: agents and a control plane that answer as
// proto/ says, and that tests kill, freeze, cut off and move partitions between. It is for tests and examples of
// package client alone; tests of promises across processes run real servers in e2e.
//
// What may not live here: time other than package time's (it runs on virtual time), the network, durability. One
// mutex guards the whole cluster; what waits, waits without it.
//
// Read: cluster.go (the state, and what tests do to it), transport.go (what a client sees of dead and silent
// agents), produce.go, sequence.go, fetch.go, metadata.go, admin.go.
package fakecluster
