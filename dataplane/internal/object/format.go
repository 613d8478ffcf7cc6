package object

import (
	"errors"
	"fmt"
	"hash/crc32"
)

// Version is the format version that this package writes and reads.
const Version = 1

// MaxSegments bounds the segments of one object, and with it what a reader allocates for a footer (5 MiB).
const MaxSegments = 1 << 16

// Widths in bytes of the format's parts; doc.go has the tables.
const (
	headSize         = 8
	footerHeaderSize = 76
	segmentEntrySize = 80
	trailerSize      = 16

	minObjectSize = headSize + 1 + footerHeaderSize + segmentEntrySize + trailerSize
	maxFooterSize = footerHeaderSize + MaxSegments*segmentEntrySize
)

const (
	headMagic    = "\x89SHOBJ"
	trailerMagic = "SHFOOT"
)

// ErrCorrupt is what every reader's error wraps when the bytes are not an object, or no longer.
var ErrCorrupt = errors.New("object is corrupt")

// ErrInvalid is what an error wraps when the caller's input cannot be written: a segment, a name, a key.
var ErrInvalid = errors.New("invalid object input")

// VersionError says that an object has a format version that this program does not know: a newer one wrote it.
type VersionError struct {
	Version uint16
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("object has format version %d, this program knows version %d: upgrade it", e.Version, Version)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Checksum is the CRC-32C of b.
func Checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}
