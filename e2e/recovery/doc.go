// Package recovery loses the catalog of a whole cluster: all of it, so that it has to be made from the bucket alone, or its newest part. Nothing
// here is used by other packages.
// Promises: P9, and through it P1, P2 and P5.
// Read: recover_test.go.
package recovery
