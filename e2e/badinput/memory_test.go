package badinput_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	"github.com/streamhouse/streamhouse/e2e/wire"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

const (
	// volley is how often each kind of bad request is sent, by so many callers at once.
	volley, callers = 100, 4
	// growth in bytes is far below what the volley would leave behind if it stayed: 100 requests of 5 MiB, 200 batches of 40 MiB.
	growth = 256 << 20
)

// memoryStays fires oversize messages and bombs, and looks at the processes' resident memory.
func (s *suite) memoryStays(ctx context.Context, t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	before := resident(t, s.Agents[0].PID())
	controlBefore := resident(t, s.ControlPlanes[0].PID())
	e := entry(orders, 0)
	e.Payload = &dataplanev1.ProduceEntry_Batch{Batch: bomb(t)}
	single := entry(orders, 0)
	single.Payload = &dataplanev1.ProduceEntry_Batch{Batch: build(t, recordbatch.LZ4, make([]byte, 40<<20))}
	s.fire(t, func() error {
		c := wire.Dial(t, wire.ConnectProto, s.Agents[0].URL, s.ClientKey)
		for _, bad := range []*dataplanev1.ProduceEntry{e, single} {
			m := s.methods["Produce"]
			if r := wire.Refusal(wire.Call(ctx, c, m, one(bad), wire.Response(m))); r.GetReason() != refusalv1.Reason_REASON_BATCH_TOO_LARGE {
				return fmt.Errorf("a bomb: %v", r)
			}
		}
		return nil
	})
	large := make([]byte, 5<<20)
	s.fire(t, func() error {
		for url, key := range map[string]string{
			s.Agents[0].URL + wire.Procedure(s.methods["Produce"]): s.ClientKey, s.ControlPlanes[0].URL + wire.Procedure(s.methods["CreateTopic"]): s.AdminKey,
		} {
			a := wire.Post(ctx, t, url, key, "application/proto", bytes.NewReader(large))
			if a.Refusal.GetReason() != refusalv1.Reason_REASON_MESSAGE_TOO_LARGE {
				return fmt.Errorf("5 MiB to %s: %d %.200s", url, a.Status, a.Body)
			}
		}
		return nil
	})
	after, controlAfter := resident(t, s.Agents[0].PID()), resident(t, s.ControlPlanes[0].PID())
	t.Logf("the agent went from %d to %d MiB, the control plane from %d to %d", before>>20, after>>20, controlBefore>>20, controlAfter>>20)
	if after > before+growth || controlAfter > controlBefore+growth {
		t.Error("memory was not given back")
	}
}

// fire calls shot, volley times.
func (s *suite) fire(t *testing.T, shot func() error) {
	t.Helper()
	var firing sync.WaitGroup
	for range callers {
		firing.Go(func() {
			for range volley / callers {
				if err := shot(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	firing.Wait()
}

// resident is a process's resident memory in bytes.
func resident(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(status)); lines.Scan(); {
		if rest, found := strings.CutPrefix(lines.Text(), "VmRSS:"); found {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatalf("process %d tells no resident memory", pid)
	return 0
}
