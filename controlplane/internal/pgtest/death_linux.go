package pgtest

import "syscall"

// deathSignal has the kernel stop the server (a fast shutdown) when the thread that started it ends.
func deathSignal() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGINT} }
