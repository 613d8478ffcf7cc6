package ingest

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

// P5: the catalog may have forgotten a producer that was silent for long, so a leader asks again before it goes on from its own memory.
func TestP5_LeaderAsksAgainAboutAProducerThatWasSilent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{AgentGroup: "g", MaxObjectBytes: 1 << 20, MaxBufferedBytes: 1 << 20})
		l.Grant(id(0), &controlplanev1.Grant{Epoch: 1, ProducersComplete: true, Producers: []*controlplanev1.ProducerState{{
			ProducerId: 7, Batches: []*controlplanev1.ProducerBatch{{ProducerId: 7, RecordCount: 1}},
		}}})
		next := encode(t, "next", recordbatch.Producer{ID: 7, BaseSequence: 1})
		time.Sleep(trusted + time.Second)
		if d := l.Append(id(0), next); d.Verdict != UnknownProducer {
			t.Fatalf("after a long silence: %v", d.Verdict)
		}
		l.Learn(id(0), 1, 7, nil) // forgotten by the catalog
		if d := l.Append(id(0), next); d.Verdict != Doubtful {
			t.Fatalf("of a forgotten producer: %v", d.Verdict)
		}
		first := l.Append(id(0), encode(t, "first", recordbatch.Producer{ID: 8}))
		if first.Verdict != UnknownProducer { // the tenure no longer claims to know everybody
			t.Fatalf("of another producer: %v", first.Verdict)
		}
		l.Learn(id(0), 1, 8, nil)
		if d := l.Append(id(0), encode(t, "first", recordbatch.Producer{ID: 8})); d.Verdict != Accepted {
			t.Fatalf("of a new producer: %v", d.Verdict)
		}
		time.Sleep(2 * trusted)
		if d := l.Append(id(0), encode(t, "first", recordbatch.Producer{ID: 8})); d.Verdict != InFlight {
			t.Errorf("of a batch in flight: %v", d.Verdict)
		}
	})
}
