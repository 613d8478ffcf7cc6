// Package workspace holds the laws of the workspace as tests: who may import whom, a door plate on every package,
// documents whose commands exist, modules that work outside this checkout. They look at the whole checkout and
// start nothing but the go command and the command line's --help; how the system behaves is tested next door.
//
// Read: fence_test.go, plate_test.go, document_test.go, stranger_test.go; checkout_test.go is what they share.
package workspace
