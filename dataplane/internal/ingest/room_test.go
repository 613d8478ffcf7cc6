package ingest

import (
	"fmt"
	"testing"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// flood appends to a partition until it is told to come back, and returns how many bytes were taken.
func flood(t *testing.T, l *Ledger, p int) int {
	t.Helper()
	before := l.BufferedBytes()
	for i := range 10_000 {
		d := l.Append(id(p), encode(t, fmt.Sprint("value ", i), recordbatch.NoProducer()))
		if d.Verdict == Overloaded {
			return l.BufferedBytes() - before
		}
		if d.Verdict != Accepted {
			t.Fatalf("verdict %d", d.Verdict)
		}
	}
	t.Fatal("never told to come back")
	return 0
}

func TestNoPartitionTakesAllMemory(t *testing.T) {
	t.Parallel()
	const most = 1 << 20
	l := New(Config{AgentGroup: "g", MaxObjectBytes: 8 << 20, MaxBufferedBytes: most})
	for p := range 10 {
		l.Grant(id(p), &controlplanev1.Grant{Epoch: 1, ProducersComplete: true})
	}
	taken := 0
	for p := range 9 {
		free := most - taken
		got := flood(t, l, p)
		taken += got
		if got > free/2+1000 || got < free/2-1000 {
			t.Errorf("partition %d took %d bytes of %d that were free, want half", p, got, free)
		}
	}
	if d := l.Append(id(9), encode(t, "small", recordbatch.NoProducer())); d.Verdict != Accepted {
		t.Errorf("a partition without anything in flight: verdict %d", d.Verdict)
	}
	if l.BufferedBytes() > most {
		t.Errorf("%d bytes are held of %d", l.BufferedBytes(), most)
	}
	l.EndAll([]Ended{{Tenure: Tenure{id(0), 1}, Reason: refusalv1.Reason_REASON_NOT_LEADER}})
	l.Grant(id(0), &controlplanev1.Grant{Epoch: 2, ProducersComplete: true})
	if got := flood(t, l, 0); got < most/5 {
		t.Errorf("after its batches were settled a partition took %d bytes", got)
	}
	l.Abandon(refusalv1.Reason_REASON_NOT_LEADER)
	if l.BufferedBytes() != 0 {
		t.Errorf("%d bytes are held by nobody", l.BufferedBytes())
	}
}
