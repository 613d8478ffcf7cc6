package flush

import (
	"bytes"
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	"github.com/streamhouse/streamhouse/dataplane/internal/ingest"
	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

// shelf is a bucket that remembers how many records each batch of each object has.
type shelf struct {
	bucket

	batches [][]int32
}

func (s *shelf) Put(ctx context.Context, key string, body [][]byte, crc32c uint32) error {
	data := bytes.Join(body, nil)
	footer, err := object.Parse(data)
	if err != nil {
		return err
	}
	var counts []int32
	for _, g := range footer.Segments {
		for batch := range recordbatch.Split(data[g.BytePosition : g.BytePosition+int64(g.SizeBytes)]) {
			info, err := recordbatch.Verify(batch, recordbatch.Limits{}, new(recordbatch.Scratch))
			if err != nil {
				return err
			}
			counts = append(counts, info.RecordCount)
		}
	}
	s.mu.Lock()
	s.batches = append(s.batches, counts)
	s.mu.Unlock()
	return s.bucket.Put(ctx, key, body, crc32c)
}

// A lone plain record of an idle agent is uploaded in the moment in which it comes. Under load the budget has PUTs wait, and what comes
// meanwhile makes one batch for each; nobody waits longer than without plain records.
func TestPlainRecordsAreJoinedWhileTheyWaitAnyway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &shelf{bucket: bucket{takes: 20 * time.Millisecond}}
		ledger := ingest.New(ingest.Config{AgentGroup: "g", MaxObjectBytes: maxObject, MaxBufferedBytes: 1 << 30})
		ledger.Grant(numbered(0), &controlplanev1.Grant{Epoch: 1, ProducersComplete: true})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		flusher := New(ledger, newUploads(t, store, usual), slog.New(slog.DiscardHandler))
		go func() { done <- flusher.Run(ctx) }()
		go settle(ctx, ledger)
		time.Sleep(time.Minute) // nobody waits for this tenure
		append1 := func() *ingest.Pending {
			b := batch(t)
			b.Plain = true
			return ledger.Append(numbered(0), b).Pending
		}
		began := time.Now()
		<-append1().Done()
		if took := time.Since(began); took != store.takes {
			t.Errorf("a lone record took %v, a PUT takes %v", took, store.takes)
		}
		const calls = 1000
		began = time.Now()
		for range calls {
			append1()
			time.Sleep(2 * time.Millisecond)
		}
		last := append1()
		<-last.Done()
		took := time.Since(began)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		records, batches := 0, 0
		for _, counts := range store.batches {
			batches += len(counts)
			for _, n := range counts {
				records += int(n)
			}
		}
		t.Logf("%d calls in %v: %d objects, %d batches", calls+1, took, len(store.batches), batches)
		if records != calls+2 || batches != len(store.batches) || len(store.batches) > usual.PutBurst+int(usual.PutsPerSecond*took.Seconds())+1 {
			t.Errorf("%d records in %d batches of %d objects", records, batches, len(store.batches))
		}
		if late := took - calls*2*time.Millisecond; late > 250*time.Millisecond+store.takes {
			t.Errorf("the last record took %v", late)
		}
	})
}
