// Package model holds the protocol of docs/protocol.md as a Promela model, and the tests that have Spin explore every interleaving of it
// within bounds. It also leaves out each rule in turn, to see that the model notices.
//
// What may not live here: anything that other packages import, or that tests the product's code. A rule that changes in docs/protocol.md
// changes here as well.
//
// Promises: P1, P2, P3, P5, P6 and P8, the single content of an (epoch, offset), P10 (sessions end at any moment, so no clock helps).
//
// Read: README.md, streamhouse.pml, model_test.go (sizes and mutations), spin_test.go (how Spin is run).
package model
