package recordbatch

import (
	"syscall"
	"testing"
)

// TestTheEncoderStaysWithinItsSource puts the source right before, and right after, memory that must not be read.
func TestTheEncoderStaysWithinItsSource(t *testing.T) {
	t.Parallel()
	page := syscall.Getpagesize()
	fenced, err := syscall.Mmap(-1, 0, 4*page, syscall.PROT_NONE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(fenced) })
	inside := fenced[page : 3*page]
	if err := syscall.Mprotect(inside, syscall.PROT_READ|syscall.PROT_WRITE); err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= len(inside); n += 1 + n/50 {
		for _, content := range [][]byte{sample(n), make([]byte, n), noise(n)} {
			checkBlock(t, inside[:copy(inside, content)])
			end := inside[len(inside)-n:]
			copy(end, content)
			checkBlock(t, end)
		}
	}
}
