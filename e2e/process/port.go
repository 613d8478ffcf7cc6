package process

import (
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
)

// Each test process walks through the range from a place of its own.
var (
	nextPort atomic.Int64
	seed     = int64(os.Getpid()) * 37
)

// FreePort returns a TCP port of the loopback interface that was free a moment ago, in the range below those that the kernel gives to outgoing
// connections, so that nobody takes it by chance while its server is down.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := 20000 + int(nextPort.Add(1)+seed)%12000
		if l, err := net.Listen("tcp", address(port)); err == nil { //nolint:noctx // returns at once
			_ = l.Close()
			return port
		}
	}
	t.Fatal("no free port found")
	return 0
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
