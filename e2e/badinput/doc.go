// Package badinput holds whole-system tests of input that is wrong: against real agents and a real control plane, in every protocol. Each gets the
// right Connect code and a typed refusal that names reason, field and fate; nothing is stored, nothing is leaked, the processes live on and their
// memory stays bounded. Nothing here but tests; keys and roles belong to package access.
// Promises: P6. Read: badinput_test.go, produce_test.go, read_test.go, control_test.go, raw_test.go, memory_test.go.
package badinput
