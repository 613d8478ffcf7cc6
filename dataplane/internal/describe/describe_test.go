package describe

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/streamhouse/streamhouse/dataplane/internal/checkpoint"
	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
	"github.com/streamhouse/streamhouse/dataplane/internal/route"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var topic = object.UUID{1}

// topics knows one topic, unless it is deleted.
type topics struct{ deleted bool }

func (t topics) Describe(_ context.Context, id object.UUID) (route.Description, error) {
	return route.Description{Needless: t.deleted, Topic: &controlplanev1.CheckpointTopic{TopicId: id[:], Name: "orders", PartitionCount: 1}}, nil
}

// bucket counts its PUTs, which take a second, and fails the first ones.
type bucket struct {
	objectstore.Memory

	mu          sync.Mutex
	puts, fails int
}

func (b *bucket) Put(ctx context.Context, key string, body [][]byte, crc32c uint32) error {
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return ctx.Err()
	}
	b.mu.Lock()
	b.puts++
	failing := b.puts <= b.fails
	b.mu.Unlock()
	if failing {
		return objectstore.ErrUnavailable
	}
	return b.Memory.Put(ctx, key, body, crc32c)
}

func tell(t *testing.T, f func(t *testing.T, b *bucket, d *Describer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bucket{}
		f(t, b, New("g", topics{}, b, slog.New(slog.DiscardHandler)))
	})
}

func (d *Describer) missing(incarnation int32) []object.UUID {
	return d.Missing(incarnation, slices.Values([]object.UUID{topic}))
}

func TestP9_APutThatFailsIsRepeated(t *testing.T) {
	tell(t, func(t *testing.T, b *bucket, d *Describer) {
		b.fails = 3
		if err := d.Describe(t.Context(), 0, d.missing(0)); err != nil || b.puts != 4 {
			t.Fatalf("%v after %d PUTs, want success at the fourth", err, b.puts)
		}
		if left := d.missing(0); left != nil {
			t.Errorf("%v are still missing", left)
		}
	})
}

// What an older incarnation took for granted may have been lost: it is asked anew, and what lies there, with other content, is as good.
func TestP9_ANewIncarnationAsksAnew(t *testing.T) {
	tell(t, func(t *testing.T, b *bucket, d *Describer) {
		for incarnation := range int32(2) {
			if len(d.missing(incarnation)) != 1 {
				t.Fatalf("incarnation %d asks for nothing", incarnation)
			}
			if err := d.Describe(t.Context(), incarnation, d.missing(incarnation)); err != nil {
				t.Fatal(err)
			}
		}
		pages, err := checkpoint.Load(t.Context(), b, checkpoint.DescriptionKey("g", topic))
		if err != nil || pages[0].GetHead().GetIncarnation() != 0 || b.puts != 2 {
			t.Errorf("%v, %v after %d PUTs", pages, err, b.puts)
		}
	})
}

// Whoever waits for another's attempt goes on when that one's context ends.
func TestP9_WhoWaitsGoesOnWhereAnotherGaveUp(t *testing.T) {
	tell(t, func(t *testing.T, b *bucket, d *Describer) {
		first, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- d.Describe(first, 0, []object.UUID{topic}) }()
		synctest.Wait()
		second := make(chan error, 1)
		go func() { second <- d.Describe(t.Context(), 0, []object.UUID{topic}) }()
		synctest.Wait()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the first ended with %v", err)
		}
		if err := <-second; err != nil || b.puts != 1 {
			t.Errorf("the second: %v after %d PUTs", err, b.puts)
		}
	})
}

func TestADeletedTopicIsNotDescribed(t *testing.T) {
	b := &bucket{}
	d := New("g", topics{deleted: true}, b, slog.New(slog.DiscardHandler))
	if err := d.Describe(t.Context(), 0, d.missing(0)); err != nil || b.puts != 0 || d.missing(0) != nil {
		t.Errorf("%v after %d PUTs", err, b.puts)
	}
}
