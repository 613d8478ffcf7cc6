package recordbatch

import (
	"strings"
	"unsafe"
)

// fresh returns memory of its own that nobody has cleared: a megabyte that is about to be overwritten would be written twice. What is not
// overwritten must not be shown to anybody.
//
// A strings.Builder is the one way to such memory. It keeps no pointers, and the string, which would not be one any more, is seen by nobody.
func fresh(n int) []byte {
	if n == 0 {
		return nil
	}
	var b strings.Builder
	b.Grow(n)
	b.WriteByte(0)                                        // an empty string need not point to the memory
	return unsafe.Slice(unsafe.StringData(b.String()), n) //nolint:gosec // the memory is n bytes long, and this is its only user
}
