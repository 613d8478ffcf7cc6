package flush

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/metric/noop"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	"github.com/streamhouse/streamhouse/dataplane/internal/ingest"
	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

// load is what a producer sends: every interval one request of so many bytes, spread over the next of the partitions.
type load struct {
	partitions, entries, entryBytes int
	every                           time.Duration
}

const maxObject = 1 << 20

// uploads runs a load for a while and lists when each PUT began, and how large it was.
func uploads(t *testing.T, config Config, l load, lasts time.Duration) (puts []time.Time, segments, bytes int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		store := &bucket{takes: 20 * time.Millisecond}
		ledger := ingest.New(ingest.Config{AgentGroup: "g", MaxObjectBytes: maxObject, MaxBufferedBytes: 1 << 30})
		for p := range l.partitions {
			ledger.Grant(numbered(p), &controlplanev1.Grant{Epoch: 1, ProducersComplete: true})
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		flusher := New(ledger, newUploads(t, store, config), slog.New(slog.DiscardHandler))
		go func() { done <- flusher.Run(ctx) }()
		go settle(ctx, ledger)
		time.Sleep(time.Minute) // nobody waits for these tenures
		template := batchOf(t, l.entryBytes)
		began := time.Now()
		for n := 0; time.Since(began) < lasts; time.Sleep(l.every) {
			var ps []partition.ID
			var bs []*ingest.Batch
			for range l.entries {
				ps, bs = append(ps, numbered(n%l.partitions)), append(bs, copyOf(template))
				n++
			}
			for _, d := range ledger.AppendAll(ps, bs) {
				if d.Verdict != ingest.Accepted {
					t.Fatalf("verdict %d", d.Verdict)
				}
			}
		}
		time.Sleep(10 * time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if held := ledger.BufferedBytes(); held != 0 {
			t.Errorf("%d bytes were never committed", held)
		}
		puts, segments, bytes = store.puts, store.segments, store.bytes
	})
	return puts, segments, bytes
}

func newUploads(t *testing.T, store Store, config Config) *Uploads {
	t.Helper()
	u, err := NewUploads(store, nil, config, noop.Meter{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func numbered(p int) partition.ID {
	return partition.ID{Topic: object.UUID{1}, Number: int32(p)}
}

// settle answers every commit as a catalog does.
func settle(ctx context.Context, ledger *ingest.Ledger) {
	for {
		select {
		case <-ledger.Commit:
		case <-ctx.Done():
			return
		}
		for c := ledger.NextCommit(); c != nil; c = ledger.NextCommit() {
			res := &controlplanev1.CommitResponse{}
			for _, o := range c.Request.GetObjects() {
				out := &controlplanev1.ObjectOutcome{Key: o.GetKey()}
				for range o.GetSegments() {
					out.Segments = append(out.Segments, &controlplanev1.SegmentOutcome{Result: controlplanev1.SegmentResult_SEGMENT_RESULT_COMMITTED})
				}
				res.Objects = append(res.Objects, out)
			}
			if _, err := ledger.Answered(c, res); err != nil {
				panic(err)
			}
		}
	}
}

func batchOf(t *testing.T, size int) *ingest.Batch {
	t.Helper()
	b := recordbatch.NewBuilder(recordbatch.None, recordbatch.Limits{})
	if err := b.Append(5, nil, make([]byte, max(0, size-recordbatch.HeaderBytes-10)), nil); err != nil {
		t.Fatal(err)
	}
	bytes, err := b.AppendBatch(nil, recordbatch.NoProducer())
	if err != nil {
		t.Fatal(err)
	}
	header, err := recordbatch.ParseHeader(bytes)
	if err != nil {
		t.Fatal(err)
	}
	return &ingest.Batch{Bytes: bytes, Header: header, MinTimestampMs: 5, ExpectedOffset: ingest.Anywhere}
}

func copyOf(b *ingest.Batch) *ingest.Batch {
	c := *b
	c.Bytes = slices.Clone(b.Bytes)
	return &c
}

var usual = Config{Linger: 250 * time.Millisecond, MaxUploads: 6, PutsPerSecond: 4, PutBurst: 8}

// The same bytes need no more PUTs when they are spread over more partitions, from a trickle to several full objects a second.
func TestPutsDoNotGrowWithPartitions(t *testing.T) {
	t.Parallel()
	const lasts = 8 * time.Second
	for name, l := range map[string]load{
		"a trickle":  {entries: 1, entryBytes: 200, every: 400 * time.Millisecond},
		"a little":   {entries: 20, entryBytes: 200, every: 10 * time.Millisecond},
		"objects":    {entries: 100, entryBytes: 1000, every: 20 * time.Millisecond},
		"many a sec": {entries: 64, entryBytes: 10_000, every: 40 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var one int
			for _, partitions := range []int{1, 100, 5000} {
				l.partitions = partitions
				puts, _, bytes := uploads(t, usual, l, lasts)
				budget := usual.PutBurst + int(usual.PutsPerSecond*(lasts+time.Second).Seconds()) + bytes/maxObject
				if partitions == 1 {
					one = len(puts)
				}
				t.Logf("%d partitions: %d PUTs", partitions, len(puts))
				if len(puts) > budget {
					t.Errorf("%d partitions: %d PUTs, budget and bytes allow %d", partitions, len(puts), budget)
				}
				if len(puts) > one {
					t.Errorf("%d partitions: %d PUTs, one partition needs %d", partitions, len(puts), one)
				}
			}
		})
	}
}

// Under load the rows of the catalog carry at least 8 KiB, or what came within the linger.
func TestSegmentsOfManyPartitionsGrow(t *testing.T) {
	t.Parallel()
	generous := usual
	generous.PutsPerSecond, generous.PutBurst = 1000, 1000
	l := load{partitions: 500, entries: 500, entryBytes: 500, every: 50 * time.Millisecond}
	puts, segments, bytes := uploads(t, generous, l, 10*time.Second)
	perSecond := float64(segments) / 10
	t.Logf("%d PUTs, %d segments, %d bytes each", len(puts), segments, bytes/segments)
	if most := 500 / generous.Linger.Seconds() * 1.2; perSecond > most {
		t.Errorf("%.0f segments a second of %d bytes, want at most %.0f", perSecond, bytes/segments, most)
	}
}

// With the budget out of the way a record waits for nothing, whatever is on its way already.
func TestNothingWaitsWhileTheBudgetLasts(t *testing.T) {
	t.Parallel()
	generous := usual
	generous.PutsPerSecond, generous.PutBurst = 1000, 1000
	puts, segments, _ := uploads(t, generous, load{partitions: 1, entries: 1, entryBytes: 100, every: 10 * time.Millisecond}, time.Second)
	if len(puts) != 100 || segments != 100 {
		t.Errorf("%d PUTs of %d segments, want one for each of 100 records", len(puts), segments)
	}
}

// An agent that was idle has saved up a burst; afterwards PUTs are as far apart as the budget says, and never further.
func TestBudgetIsSavedUpAndKept(t *testing.T) {
	t.Parallel()
	puts, _, _ := uploads(t, usual, load{partitions: 1, entries: 1, entryBytes: 100, every: 10 * time.Millisecond}, 10*time.Second)
	if took := puts[usual.PutBurst-1].Sub(puts[0]); took > 100*time.Millisecond {
		t.Errorf("a burst took %v", took)
	}
	for i := usual.PutBurst + 1; i < len(puts); i++ {
		if gap := puts[i].Sub(puts[i-1]); gap < 249*time.Millisecond || gap > 261*time.Millisecond {
			t.Errorf("PUT %d came %v after the one before", i, gap)
		}
	}
}
