package flush

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	"github.com/streamhouse/streamhouse/dataplane/internal/ingest"
	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bucket takes a time for each object.
type bucket struct {
	mu              sync.Mutex
	takes           time.Duration
	puts            []time.Time // when each began
	segments, bytes int
}

func (b *bucket) Put(ctx context.Context, _ string, body [][]byte, _ uint32) error {
	footer, err := object.Parse(bytes.Join(body, nil))
	if err != nil {
		return err
	}
	b.mu.Lock()
	b.puts = append(b.puts, time.Now())
	b.segments += len(footer.Segments)
	b.bytes += len(bytes.Join(body, nil))
	b.mu.Unlock()
	select {
	case <-time.After(b.takes):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func batch(t *testing.T) *ingest.Batch {
	t.Helper()
	b := recordbatch.NewBuilder(recordbatch.None, recordbatch.Limits{})
	if err := b.Append(5, nil, []byte("first"), nil); err != nil {
		t.Fatal(err)
	}
	bytes, err := b.AppendBatch(nil, recordbatch.Producer{ID: -1, Epoch: -1, BaseSequence: -1})
	if err != nil {
		t.Fatal(err)
	}
	header, err := recordbatch.ParseHeader(bytes)
	if err != nil {
		t.Fatal(err)
	}
	return &ingest.Batch{Bytes: bytes, Header: header, MinTimestampMs: 5, ExpectedOffset: ingest.Anywhere}
}

// A takeover brings a first batch for each partition, and none of them lingers. They fill the objects that can be uploaded: an object for
// each would be a queue in which the last one waits for all.
func TestFirstBatchesOfManyTenuresShareObjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const tenures, uploads = 300, 2
		store := &bucket{takes: 20 * time.Millisecond}
		ledger := ingest.New(ingest.Config{AgentGroup: "g", MaxObjectBytes: 8 << 20, MaxBufferedBytes: 64 << 20})
		var granted []ingest.Granted
		for p := range tenures {
			granted = append(granted, ingest.Granted{
				Partition: partition.ID{Topic: object.UUID{1}, Number: int32(p)}, Grant: &controlplanev1.Grant{Epoch: 1, ProducersComplete: true},
			})
		}
		ledger.GrantAll(granted)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		config := Config{Linger: time.Minute, MaxUploads: uploads, PutsPerSecond: 0.001, PutBurst: 1}
		flusher := New(ledger, newUploads(t, store, config), slog.New(slog.DiscardHandler))
		go func() { done <- flusher.Run(ctx) }()
		for _, g := range granted {
			if d := ledger.Append(g.Partition, batch(t)); d.Pending == nil {
				t.Fatalf("not accepted: %+v", d)
			}
			time.Sleep(time.Millisecond)
		}
		appended := time.Now()
		time.Sleep(time.Minute / 2)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if most := tenures/20*uploads + uploads + 1; len(store.puts) > most {
			t.Errorf("%d objects, more than the %d that could be uploaded meanwhile", len(store.puts), most)
		}
		if late := store.puts[len(store.puts)-1].Sub(appended); late > store.takes {
			t.Errorf("the last object began %v after the last batch", late)
		}
	})
}
