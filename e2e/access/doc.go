// Package access holds whole-system tests of who may do what, at the doors of real agents and a real control plane: every RPC of the data plane in every
// role, keys of other agent groups, unknown and revoked keys. The table of the control plane's own RPCs is tested beside it, in its package service.
// Nothing here but tests. Promises: P7. Read: access_test.go, group_test.go.
package access
