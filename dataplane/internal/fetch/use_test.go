package fetch

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/streamhouse/streamhouse/dataplane/internal/cache"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
)

// TestASegmentInSeveralAnswersIsReadOnce: one reader who gets it piece by piece does not make it look as if somebody came back to it, a second
// reader does. What only passes by leaves the cache with what is new.
func TestASegmentInSeveralAnswersIsReadOnce(t *testing.T) {
	for readers, kept := range map[int]bool{1: false, 2: true} {
		t.Run(fmt.Sprint(readers), func(t *testing.T) {
			withAgent(t, 2, Config{Cache: cache.Config{MaxBytes: 4 << 20, RecentBytes: 1 << 20}}, &objectstore.Memory{}, func(t *testing.T, r *rig) {
				noise := func(n int) []byte {
					b := make([]byte, n)
					for i := range b {
						b[i] = byte(rand.Uint32())
					}
					return b
				}
				r.write([][]rec{{{value: noise(50 << 10)}}, {{value: noise(50 << 10)}}, {{value: noise(50 << 10)}}}, 0)
				for range 3 {
					r.write([][]rec{{{value: noise(500 << 10)}}}, 1)
				}
				pass := func(p int32, end int64) {
					for offset := int64(0); offset < end; {
						req := request(p, offset)
						req.MaxBytes = 60 << 10 // one batch
						offset = r.fetch(req).GetNextOffset()
					}
				}
				for range readers {
					pass(0, 3)
				}
				pass(1, 3) // pushes out of the ring what nobody came back to
				before := r.bucket.gets.Load()
				r.fetch(request(0, 0))
				if still := r.bucket.gets.Load() == before; still != kept {
					t.Errorf("still held: %v, want %v", still, kept)
				}
			})
		})
	}
}
