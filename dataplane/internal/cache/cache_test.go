package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/streamhouse/streamhouse/dataplane/internal/lookup"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bucket is one in memory that counts, waits and damages.
type bucket struct {
	objectstore.Memory
	delay time.Duration

	mu      sync.Mutex
	gets    []string
	bytes   int
	damage  int // so many GETs get a wrong byte
	failure error
}

func (b *bucket) GetTail(ctx context.Context, key string, dst []byte) (n int, size int64, err error) {
	b.mu.Lock()
	b.gets = append(b.gets, key+" all")
	b.mu.Unlock()
	return b.Memory.GetTail(ctx, key, dst)
}

func (b *bucket) GetRange(ctx context.Context, key string, position int64, dst []byte) error {
	b.mu.Lock()
	b.gets = append(b.gets, fmt.Sprintf("%s %d+%d", key, position, len(dst)))
	b.bytes += len(dst)
	damaged, failure := b.damage > 0, b.failure
	b.damage--
	b.mu.Unlock()
	select {
	case <-time.After(b.delay):
	case <-ctx.Done():
		return ctx.Err()
	}
	if failure != nil {
		return failure
	}
	err := b.Memory.GetRange(ctx, key, position, dst)
	if damaged && err == nil {
		dst[len(dst)/2] ^= 0x10
	}
	return err
}

// object puts random bytes and returns equal segments of them.
func (b *bucket) object(t *testing.T, key string, segments, size int) []lookup.Segment {
	t.Helper()
	body := make([]byte, segments*size)
	random := rand.NewChaCha8([32]byte([]byte(fmt.Sprintf("%32s", key))[:32]))
	_, _ = random.Read(body)
	if err := b.Put(t.Context(), key, [][]byte{body}, objectstore.Checksum(body)); err != nil {
		t.Fatal(err)
	}
	all := make([]lookup.Segment, segments)
	for i := range all {
		part := body[i*size : (i+1)*size]
		all[i] = lookup.Segment{ObjectKey: key, Position: int64(i * size), SizeBytes: int32(size), CRC32C: objectstore.Checksum(part), BaseOffset: int64(i), RecordCount: 1}
	}
	return all
}

func newCache(t *testing.T, b Bucket, config Config) *Cache {
	t.Helper()
	c, err := New(b, config, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// wants wants segments as one who catches up.
func wants(segments []lookup.Segment) []Want {
	all := make([]Want, len(segments))
	for i, s := range segments {
		all[i] = Want{Segment: s}
	}
	return all
}

// load expects the segments' bytes.
func load(t *testing.T, c *Cache, segments []lookup.Segment) {
	t.Helper()
	for i, r := range c.Load(t.Context(), wants(segments)) {
		if r.Err != nil || objectstore.Checksum(r.Bytes) != segments[i].CRC32C {
			t.Fatalf("segment %d: %d wrong bytes, %v", i, len(r.Bytes), r.Err)
		}
	}
}

func TestNeighboursCostOneGet(t *testing.T) {
	b := &bucket{}
	c := newCache(t, b, Config{})
	segments := b.object(t, "o", 100, 1000)
	load(t, c, segments)
	load(t, c, segments)
	load(t, c, segments[40:50])
	if len(b.gets) != 1 || b.bytes != 100_000 {
		t.Errorf("GETs %v, want one of all", b.gets)
	}
}

func TestSegmentsThatAreWantedTogetherCostOneGet(t *testing.T) {
	const size = maxGapBytes + 1
	for _, together := range []bool{false, true} {
		b := &bucket{}
		c := newCache(t, b, Config{})
		segments := b.object(t, "o", 3, size)
		wants := []Want{{Segment: segments[2], Together: together}, {Segment: segments[0], Together: together}}
		for i, r := range c.Load(t.Context(), wants) {
			if r.Err != nil || objectstore.Checksum(r.Bytes) != wants[i].CRC32C {
				t.Fatalf("segment %d: %d wrong bytes, %v", i, len(r.Bytes), r.Err)
			}
		}
		load(t, c, segments[1:2]) // what lay in between is there, too
		if want := map[bool]int{false: 3, true: 1}[together]; len(b.gets) != want {
			t.Errorf("together %v: GETs %v, want %d", together, b.gets, want)
		}
	}
}

func TestLackingIsWhatIsNeitherHeldNorOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bucket{delay: time.Second}
		c := newCache(t, b, Config{})
		var wants []Want
		for _, s := range b.object(t, "o", 3, 1000) {
			wants = append(wants, Want{Segment: s})
		}
		load(t, c, []lookup.Segment{wants[0].Segment})
		var loading sync.WaitGroup
		loading.Go(func() { load(t, c, []lookup.Segment{wants[1].Segment}) })
		synctest.Wait() // for the bucket
		if lacking := c.Lacking(wants); len(lacking) != 1 || lacking[0] != wants[2] {
			t.Errorf("lacking %v, want the third", lacking)
		}
		loading.Wait()
		load(t, c, []lookup.Segment{wants[2].Segment})
		if lacking := c.Lacking(wants); len(lacking) != 0 {
			t.Errorf("lacking %v although all were loaded", lacking)
		}
	})
}

// One reader of an object that was read at once is no reason to keep it, two are.
func TestWhatIsReadOnceOnlyDoesNotStay(t *testing.T) {
	for _, readers := range []int{1, 2} {
		b := &bucket{}
		c := newCache(t, b, Config{MaxBytes: 4 << 20, RecentBytes: 1 << 20})
		segments := b.object(t, "o", 8, 64<<10)
		var wants []Want
		for _, s := range segments {
			wants = append(wants, Want{Segment: s, Ahead: true})
		}
		c.Load(t.Context(), wants) // for those who come
		for range readers {
			for i := range segments {
				load(t, c, segments[i:i+1])
			}
		}
		load(t, c, b.object(t, "other", 16, 64<<10)) // fills the ring
		load(t, c, segments)
		if want := readers + (2-readers)*2; len(b.gets) != want {
			t.Errorf("%d readers: GETs %v, want %d", readers, b.gets, want)
		}
	}
}

func TestSpansCoverAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		maxGap, maxSize := rapid.Int64Range(0, 20).Draw(t, "gap"), rapid.Int64Range(1, 100).Draw(t, "size")
		var flights []*flight
		for range rapid.IntRange(0, 30).Draw(t, "flights") {
			flights = append(flights, &flight{owner: rapid.SampledFrom([]string{"", "x"}).Draw(t, "owner"), wish: &wish{
				object: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "object"),
				part: part{
					position: rapid.Int64Range(0, 300).Draw(t, "position"),
					size:     rapid.Int32Range(1, 120).Draw(t, "size"),
				},
			}})
		}
		seen := map[*flight]bool{}
		all := spans(flights, maxGap, maxSize)
		for i, s := range all {
			if len(s.flights) > 1 && s.size > maxSize {
				t.Fatalf("a span of %d bytes for %d flights", s.size, len(s.flights))
			}
			used := int64(0)
			for _, f := range s.flights {
				if seen[f] || f.wish.object != s.object || f.owner != s.owner || f.wish.part.position < s.position || f.wish.part.end() > s.end() {
					t.Fatalf("%+v does not lie in its span %+v alone", f.wish, s)
				}
				seen[f] = true
				used += int64(f.wish.part.size)
			}
			if waste := s.size - used; waste > int64(len(s.flights)-1)*maxGap {
				t.Fatalf("%d bytes are wasted between %d flights", waste, len(s.flights))
			}
			if i > 0 && all[i-1].object == s.object && all[i-1].owner == s.owner && s.flights[0].wish.part.position-all[i-1].end() <= maxGap &&
				max(all[i-1].end(), s.flights[0].wish.part.end())-all[i-1].position <= maxSize {
				t.Fatalf("%+v could have been joined to %+v", s, all[i-1])
			}
		}
		if len(seen) != len(flights) {
			t.Fatalf("%d of %d flights are covered", len(seen), len(flights))
		}
	})
}

func TestManyLoadsShareAGet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bucket{delay: 500 * time.Millisecond}
		c := newCache(t, b, Config{})
		segments := b.object(t, "o", 4, 1000)
		var loading sync.WaitGroup
		for i := range 100 {
			loading.Go(func() { load(t, c, segments[i%4:]) })
		}
		loading.Wait()
		if b.bytes != 4000 {
			t.Errorf("GETs %v, want each byte once", b.gets)
		}
		if len(c.flights) != 0 {
			t.Errorf("%d flights are left behind", len(c.flights))
		}
	})
}

func TestLoadThatIsCancelledIsTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bucket{delay: 500 * time.Millisecond}
		c := newCache(t, b, Config{})
		segments := b.object(t, "o", 1, 1000)
		hasty, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
		defer cancel()
		var loading sync.WaitGroup
		loading.Go(func() {
			if r := c.Load(hasty, wants(segments))[0]; r.Err == nil {
				t.Error("the cancelled load has bytes")
			}
		})
		synctest.Wait()
		for range 10 {
			loading.Go(func() { load(t, c, segments) })
		}
		loading.Wait()
		if len(b.gets) != 2 {
			t.Errorf("GETs %v, want one more after the cancelled one", b.gets)
		}
	})
}

func TestP1_DamageIsReadOnceMore(t *testing.T) {
	b := &bucket{damage: 1}
	c := newCache(t, b, Config{})
	load(t, c, b.object(t, "o", 3, 1000))
	if len(b.gets) != 2 {
		t.Errorf("GETs %v, want the damaged segment once more", b.gets)
	}
}

func TestP1_DamageIsNeverServed(t *testing.T) {
	b := &bucket{}
	c := newCache(t, b, Config{})
	segments := b.object(t, "o", 3, 1000)
	segments[1].CRC32C++
	for range 2 { // nor is it remembered
		results := c.Load(t.Context(), wants(segments))
		if !errors.Is(results[1].Err, ErrCorrupt) || results[1].Bytes != nil {
			t.Errorf("damaged segment: %d bytes, error %v", len(results[1].Bytes), results[1].Err)
		}
		if results[0].Err != nil || results[2].Err != nil {
			t.Errorf("its neighbours: %v, %v", results[0].Err, results[2].Err)
		}
	}
}

func TestFailures(t *testing.T) {
	b := &bucket{}
	c := newCache(t, b, Config{})
	good := b.object(t, "o", 1, 1000)[0]
	short := good
	short.SizeBytes++
	missing := good
	missing.ObjectKey = "none"
	results := c.Load(t.Context(), wants([]lookup.Segment{missing, good, short}))
	if !errors.Is(results[0].Err, ErrMissing) || results[1].Err != nil || !errors.Is(results[2].Err, ErrMissing) {
		t.Errorf("errors %v", results)
	}
	b.failure = objectstore.ErrUnavailable
	other := b.object(t, "p", 1, 1000)
	if r := c.Load(t.Context(), wants(other))[0]; !errors.Is(r.Err, ErrBucket) {
		t.Errorf("error %v, want ErrBucket", r.Err)
	}
	b.failure = nil
	load(t, c, other) // a failure is not remembered
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if r := c.Load(cancelled, wants(b.object(t, "q", 1, 1000)))[0]; !errors.Is(r.Err, context.Canceled) {
		t.Errorf("error %v, want the context's", r.Err)
	}
}

func TestSlowBucketEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bucket{delay: time.Hour}
		c := newCache(t, b, Config{LoadTimeout: 3 * time.Second})
		began := time.Now()
		if r := c.Load(t.Context(), wants(b.object(t, "o", 1, 1000)))[0]; !errors.Is(r.Err, ErrBucket) || time.Since(began) != 3*time.Second {
			t.Errorf("error %v after %s, want ErrBucket after 3s", r.Err, time.Since(began))
		}
	})
}

func TestCommittedIsServedFromMemory(t *testing.T) {
	b := &bucket{}
	c := newCache(t, b, Config{})
	batches := [][]byte{[]byte("one"), []byte("two"), []byte("three")}
	all := bytes.Join(batches, nil)
	c.Committed(partition.Committed{ObjectKey: "o", BytePosition: 8, SizeBytes: int32(len(all)), Batches: batches})
	segment := lookup.Segment{ObjectKey: "o", Position: 8, SizeBytes: int32(len(all)), CRC32C: objectstore.Checksum(all)}
	load(t, c, []lookup.Segment{segment})
	c.Committed(partition.Committed{ObjectKey: "o", BytePosition: 100, SizeBytes: 3}) // without its bytes: nothing to remember
	if len(b.gets) != 0 || c.Bytes() != int64(len(all)) {
		t.Errorf("GETs %v, %d bytes held", b.gets, c.Bytes())
	}
}

func TestMemoryIsBounded(t *testing.T) {
	b := &bucket{}
	c := newCache(t, b, Config{MaxBytes: 1 << 20, RecentBytes: 1 << 20})
	for i := range 40 {
		segments := b.object(t, fmt.Sprint(i), 4, 64<<10)
		for range 3 { // used more than once: moves on when the ring turns
			load(t, c, segments)
		}
		if held := c.Bytes(); held > 2<<20+64<<10 {
			t.Fatalf("%d bytes held after %d objects, want at most 2 MiB", held, i+1)
		}
	}
	if held := c.Bytes(); held < 1<<20+256<<10 {
		t.Errorf("only %d bytes held: what was used twice did not move on", held)
	}
	load(t, c, b.object(t, "huge", 1, 2<<20)) // larger than the ring
	if held := c.Bytes(); held > 2<<20+64<<10 {
		t.Errorf("%d bytes held after a huge segment", held)
	}
}

func TestConfigBounds(t *testing.T) {
	for _, config := range []Config{{MaxBytes: 1}, {RecentBytes: 1}, {LoadBytes: 1}, {LoadTimeout: 1}} {
		if _, err := New(nil, config, nil); err == nil {
			t.Errorf("%+v is accepted", config)
		}
	}
}

func BenchmarkLoadHit(b *testing.B) {
	body := make([]byte, 1<<20)
	c, err := New(&objectstore.Memory{}, Config{}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	c.Committed(partition.Committed{ObjectKey: "o", SizeBytes: 1 << 20, Batches: [][]byte{body}})
	segments := []lookup.Segment{{ObjectKey: "o", SizeBytes: 1 << 20}}
	b.ReportAllocs()
	for b.Loop() {
		if r := c.Load(b.Context(), wants(segments)); r[0].Err != nil {
			b.Fatal(r[0].Err)
		}
	}
}
