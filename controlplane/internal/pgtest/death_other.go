//go:build !linux

package pgtest

import "syscall"

// deathSignal is known to Linux alone; elsewhere a killed test process leaves its server behind.
func deathSignal() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }
