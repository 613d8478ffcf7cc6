package objectstore

import (
	"context"
	"hash/crc32"
	"time"
)

// MaxListLimit is the greatest number of keys in a Page.
const MaxListLimit = 1000

// Store is a bucket. Its methods may be called concurrently; their errors are *OpError.
type Store interface {
	// Put writes body under key, if there is nothing yet; crc32c (Castagnoli) is body's and is checked by
	// the store. If the key is taken by the same bytes it succeeds, if by others it fails with ErrConflict.
	// body comes in pieces, which are not copied together; it must not change before Put returns.
	Put(ctx context.Context, key string, body [][]byte, crc32c uint32) error
	// GetRange fills dst from the object's bytes at position on. ErrNotFound; ErrOutOfRange if it is shorter.
	GetRange(ctx context.Context, key string, position int64, dst []byte) error
	// GetTail reads the object's last len(dst) bytes, or all of a smaller one, into dst[:n].
	// size is the object's. ErrNotFound.
	GetTail(ctx context.Context, key string, dst []byte) (n int, size int64, err error)
	// Head describes an object. ErrNotFound.
	Head(ctx context.Context, key string) (Info, error)
	// Delete removes objects; one that is not there is no error. After an error some may be gone.
	Delete(ctx context.Context, keys []string) error
	// List returns keys with the prefix, greater than after ("": from the first), in rising byte order,
	// at most limit (1 to MaxListLimit).
	List(ctx context.Context, prefix, after string, limit int) (Page, error)

	Multipart
}

// Bounds of the parts of an upload: every part but the last has at least MinPartBytes, and there are at most MaxParts.
const (
	MinPartBytes = 5 << 20
	MaxParts     = 10_000
)

// Multipart writes an object in parts, in any order, by anyone who knows the upload's id, over any time. What was uploaded is no object, and
// is in no list, until it is completed; an upload that nobody completes or aborts is left to the bucket's lifecycle rule.
type Multipart interface {
	// CreateUpload begins an upload.
	CreateUpload(ctx context.Context, key string) (uploadID string, err error)
	// UploadPart writes part number (1 to MaxParts); a part of this number that is there is replaced. body and crc32c are as those of Put.
	// ErrNotFound: no such upload, it was completed or aborted.
	UploadPart(ctx context.Context, key, uploadID string, number int, body [][]byte, crc32c uint32) (UploadedPart, error)
	// ListParts answers the parts that are there, by number. ErrNotFound as for UploadPart.
	ListParts(ctx context.Context, key, uploadID string) ([]UploadedPart, error)
	// CompleteUpload makes the object of these parts, which are in order, if there is nothing yet under its key; crc32c is the whole object's and
	// is checked by the store. If the key is taken by the same bytes it succeeds, if by others it fails with ErrConflict. ErrNotFound: no
	// such upload, and nothing under the key.
	CompleteUpload(ctx context.Context, key, uploadID string, parts []UploadedPart, crc32c uint32) error
	// AbortUpload throws the parts away; an upload that is not there is no error.
	AbortUpload(ctx context.Context, key, uploadID string) error
}

// UploadedPart is a part of an upload that the store has.
type UploadedPart struct {
	Number    int
	SizeBytes int64
	// CRC32C is the part's; valid if HasCRC32C.
	CRC32C    uint32
	HasCRC32C bool
	// ETag is the store's name for its content.
	ETag string
}

// Info describes an object.
type Info struct {
	Key       string
	SizeBytes int64
	// CRC32C is the whole object's; valid if HasCRC32C. Lists do not have it.
	CRC32C    uint32
	HasCRC32C bool
	// ModifiedAt is by the store's clock: for humans and for "when to look", never for a decision (P10).
	ModifiedAt time.Time
}

// Page is a part of a listing.
type Page struct {
	Objects []Info
	// More says that keys follow: go on after the last one.
	More bool
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Checksum is the CRC-32C of b.
func Checksum(b []byte) uint32 { return update(0, b) }

func update(sum uint32, b []byte) uint32 { return crc32.Update(sum, castagnoli, b) }
