package cache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
)

// staller is a bucket of which some GETs take for ever.
type staller struct {
	bucket
	seen  atomic.Int64
	every int64 // each so manieth GET stalls
}

func (s *staller) GetRange(ctx context.Context, key string, position int64, dst []byte) error {
	if s.seen.Add(1)%s.every == 0 {
		dst[0] ^= 0xff // it had begun
		<-ctx.Done()
		return ctx.Err()
	}
	return s.bucket.GetRange(ctx, key, position, dst)
}

func TestSlowGetIsSentOnceMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &staller{bucket: bucket{delay: 8 * time.Millisecond}, every: 1 << 40}
		c := newCache(t, b, Config{})
		one := func(n int) time.Duration {
			segments := b.object(t, fmt.Sprint("o", n), 1, 1000)
			began := time.Now()
			load(t, c, segments)
			return time.Since(began)
		}
		for n := range 100 {
			one(n)
		}
		b.every = 25 // 4 %
		var took []time.Duration
		for n := range 200 {
			took = append(took, one(1000+n))
		}
		if longest := slices.Max(took); longest > 25*time.Millisecond {
			t.Errorf("a GET took %s, want 12 ms until the hedge and 8 ms for it", longest)
		}
		counts := c.Counts()
		if counts.Hedges < 7 || counts.HedgesWon != counts.Hedges || counts.Gets != 300+counts.Hedges {
			t.Errorf("counts %+v", counts)
		}
	})
}

// TestHedgesAreFew: where every GET is slow, more of them would make it worse.
func TestHedgesAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bucket{delay: 3 * time.Millisecond}
		c := newCache(t, b, Config{})
		for n := range 100 {
			load(t, c, b.object(t, fmt.Sprint("quick", n), 1, 1000))
		}
		before := c.Counts().Hedges
		b.delay = 200 * time.Millisecond
		for n := range 400 {
			load(t, c, b.object(t, fmt.Sprint("slow", n), 1, 1000))
		}
		if n := c.Counts().Hedges - before; n > 400/20+maxHedgeAllowance {
			t.Errorf("%d hedges of 400 GETs that are all slow", n)
		}
	})
}

// mates is a zone with one other agent, which owns everything.
type mates struct {
	serve func(object string, position int64, size int32) ([]byte, error)
	asked atomic.Int64
}

func (m *mates) Owner(string) string { return "http://other" }

func (m *mates) Read(_ context.Context, _, object string, position int64, size int32, _ bool) ([]byte, error) {
	m.asked.Add(1)
	return m.serve(object, position, size)
}

func shared(wants []Want) []Want {
	for i := range wants {
		wants[i].Sharing = Shared
	}
	return wants
}

// TestP1_AnotherAgentsBytesAreChecked: wrong, short or missing, what the owner says is never what a reader gets.
func TestP1_AnotherAgentsBytesAreChecked(t *testing.T) {
	b := &bucket{}
	segments := b.object(t, "o", 3, 1000)
	honest := func(object string, position int64, size int32) ([]byte, error) {
		dst := make([]byte, size)
		return dst, b.Memory.GetRange(t.Context(), object, position, dst)
	}
	for name, test := range map[string]struct {
		serve func(string, int64, int32) ([]byte, error)
		gets  int // of the bucket
	}{
		"good":    {honest, 0},
		"missing": {func(string, int64, int32) ([]byte, error) { return nil, errors.New("no such object") }, 1},
		"short":   {func(string, int64, int32) ([]byte, error) { return []byte("x"), nil }, 1},
		"damaged": {func(o string, p int64, n int32) ([]byte, error) { b, err := honest(o, p, n); b[n/2]++; return b, err }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			b.gets = nil
			zone := &mates{serve: test.serve}
			c := newCache(t, b, Config{Zone: zone})
			for range 2 {
				r := c.Load(t.Context(), shared(wants(segments[1:2])))[0]
				if r.Err != nil || objectstore.Checksum(r.Bytes) != segments[1].CRC32C {
					t.Fatalf("wrong bytes, %v", r.Err)
				}
			}
			if len(b.gets) > test.gets*2 || len(b.gets) < test.gets || zone.asked.Load() == 0 {
				t.Errorf("GETs %v, want %d", b.gets, test.gets)
			}
		})
	}
}

// TestLargePartsAreAskedForInPieces: one message between agents has a bound.
func TestLargePartsAreAskedForInPieces(t *testing.T) {
	b := &bucket{}
	segments := b.object(t, "o", 1, 7<<20)
	zone := &mates{serve: func(object string, position int64, size int32) ([]byte, error) {
		if size > MaxRangeBytes {
			return nil, errors.New("too much")
		}
		dst := make([]byte, size)
		return dst, b.Memory.GetRange(t.Context(), object, position, dst)
	}}
	c := newCache(t, b, Config{Zone: zone})
	r := c.Load(t.Context(), shared(wants(segments)))[0]
	if r.Err != nil || objectstore.Checksum(r.Bytes) != segments[0].CRC32C || zone.asked.Load() != 3 || len(b.gets) != 0 {
		t.Errorf("%v after %d questions and GETs %v", r.Err, zone.asked.Load(), b.gets)
	}
}

// TestWholeObjectCostsOneGet: readers of different parts at the same time, with and without the object's size.
func TestWholeObjectCostsOneGet(t *testing.T) {
	for _, objectBytes := range []int64{0, 4000} {
		synctest.Test(t, func(t *testing.T) {
			b := &bucket{delay: 5 * time.Millisecond}
			c := newCache(t, b, Config{})
			all := wants(b.object(t, "o", 4, 1000))
			done := make(chan error, len(all))
			for i := range all {
				all[i].Sharing, all[i].ObjectBytes = Whole, objectBytes
				go func() { done <- c.Load(t.Context(), all[i:i+1])[0].Err }()
			}
			for range all {
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
			if part, err := c.Range(t.Context(), "o", 100, 200, false); err != nil || len(part) != 200 {
				t.Errorf("%d bytes, %v", len(part), err)
			}
			if len(b.gets) != 1 {
				t.Errorf("GETs %v", b.gets)
			}
		})
	}
}

// TestObjectTooLargeIsReadInParts: and that it is too large is found out once.
func TestObjectTooLargeIsReadInParts(t *testing.T) {
	b := &bucket{}
	c := newCache(t, b, Config{RecentBytes: 64 << 20})
	all := wants(b.object(t, "o", 13, 1<<20))
	for i := range all {
		all[i].Sharing = Whole
		if r := c.Load(t.Context(), all[i:i+1])[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	if len(b.gets) != 1+len(all) {
		t.Errorf("%d GETs %v, want one that finds out and %d", len(b.gets), b.gets, len(all))
	}
}
