//go:build !linux

package process

import "syscall"

// Elsewhere there is no parent-death signal: Kill in the test's cleanup is all.
func lockThread() {}

func attributes(Spec) (*syscall.SysProcAttr, error) { return &syscall.SysProcAttr{Setpgid: true}, nil }

func giveAway(string) error { return nil }
