package objectstore_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore/s3test"
)

func TestMultipartConformance(t *testing.T) {
	t.Parallel()
	t.Run("s3", func(t *testing.T) {
		t.Parallel()
		conformMultipart(t, newS3(t, s3test.Start(t)))
	})
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		conformMultipart(t, &objectstore.Memory{})
	})
}

func conformMultipart(t *testing.T, store objectstore.Store) {
	for name, test := range map[string]func(*testing.T, objectstore.Store, string){
		"in parts":                        conformParts,
		"parts by another, in any order":  conformResume,
		"a part that was sent again":      conformPartAgain,
		"P8 a key has one content":        conformCompleteOnce,
		"wrong checksums":                 conformPartChecksums,
		"aborted and unknown uploads":     conformAborted,
		"nothing is seen before its end":  conformUnseen,
		"P8 of two uploads one completes": conformTwoUploads,
	} {
		t.Run(name, func(t *testing.T) { test(t, store, fmt.Sprintf("%x/k", rand.Uint64())) })
	}
}

// upload is one on its way.
type upload struct {
	t     *testing.T
	store objectstore.Store
	key   string
	id    string
}

func begin(t *testing.T, store objectstore.Store, key string) upload {
	t.Helper()
	id, err := store.CreateUpload(t.Context(), key)
	if err != nil || id == "" {
		t.Fatalf("upload %q, %v", id, err)
	}
	return upload{t, store, key, id}
}

func (u upload) part(number int, body []byte) objectstore.UploadedPart {
	u.t.Helper()
	half := len(body) / 2
	part, err := u.store.UploadPart(u.t.Context(), u.key, u.id, number, [][]byte{body[:half], body[half:]}, objectstore.Checksum(body))
	if err != nil {
		u.t.Fatal(err)
	}
	if part.Number != number || part.SizeBytes != int64(len(body)) || part.ETag == "" {
		u.t.Fatalf("part %d: %+v", number, part)
	}
	return part
}

func (u upload) complete(whole []byte, parts ...objectstore.UploadedPart) error {
	return u.store.CompleteUpload(u.t.Context(), u.key, u.id, parts, objectstore.Checksum(whole))
}

func (u upload) holds(whole []byte) {
	u.t.Helper()
	info, err := u.store.Head(u.t.Context(), u.key)
	if err != nil || info.SizeBytes != int64(len(whole)) || !info.HasCRC32C || info.CRC32C != objectstore.Checksum(whole) {
		u.t.Fatalf("%+v, %v: want %d bytes with checksum %08x", info, err, len(whole), objectstore.Checksum(whole))
	}
	got := make([]byte, len(whole))
	if err := u.store.GetRange(u.t.Context(), u.key, 0, got); err != nil || !bytes.Equal(got, whole) {
		u.t.Fatalf("other bytes than were uploaded, %v", err)
	}
}

func noise(size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(rand.Int())}).Read(b)
	return b
}

const partBytes = objectstore.MinPartBytes

func conformParts(t *testing.T, store objectstore.Store, key string) {
	whole := noise(2*partBytes + 1234)
	u := begin(t, store, key)
	one, two, three := u.part(1, whole[:partBytes]), u.part(2, whole[partBytes:2*partBytes]), u.part(3, whole[2*partBytes:])
	if err := u.complete(whole, one, two, three); err != nil {
		t.Fatal(err)
	}
	u.holds(whole)
}

func conformResume(t *testing.T, store objectstore.Store, key string) {
	whole := noise(2*partBytes + 1)
	u := begin(t, store, key)
	u.part(3, whole[2*partBytes:])
	u.part(1, whole[:partBytes])
	parts, err := store.ListParts(t.Context(), key, u.id)
	if err != nil || len(parts) != 2 || parts[0].Number != 1 || parts[1].Number != 3 {
		t.Fatalf("%+v, %v", parts, err)
	}
	if p := parts[0]; p.SizeBytes != partBytes || !p.HasCRC32C || p.CRC32C != objectstore.Checksum(whole[:partBytes]) {
		t.Fatalf("%+v", p)
	}
	if err := u.complete(whole, parts[0], u.part(2, whole[partBytes:2*partBytes]), parts[1]); err != nil {
		t.Fatal(err)
	}
	u.holds(whole)
}

func conformPartAgain(t *testing.T, store objectstore.Store, key string) {
	u := begin(t, store, key)
	u.part(1, noise(77))
	whole := noise(99)
	u.part(1, whole)
	parts, err := store.ListParts(t.Context(), key, u.id)
	if err != nil || len(parts) != 1 || parts[0].SizeBytes != 99 {
		t.Fatalf("%+v, %v", parts, err)
	}
	if err := u.complete(whole, parts...); err != nil {
		t.Fatal(err)
	}
	u.holds(whole)
}

// A repeat is success, also when the upload is no more; other bytes do not get under a key that is taken.
func conformCompleteOnce(t *testing.T, store objectstore.Store, key string) {
	whole := noise(1000)
	u := begin(t, store, key)
	part := u.part(1, whole)
	for range 2 {
		if err := u.complete(whole, part); err != nil {
			t.Fatal(err)
		}
	}
	other := noise(1001)
	late := begin(t, store, key)
	wantError(t, late.complete(other, late.part(1, other)), objectstore.ErrConflict)
	u.holds(whole)
}

func conformTwoUploads(t *testing.T, store objectstore.Store, key string) {
	whole := noise(500)
	first, second := begin(t, store, key), begin(t, store, key)
	a, b := first.part(1, whole), second.part(1, whole)
	if err := first.complete(whole, a); err != nil {
		t.Fatal(err)
	}
	if err := second.complete(whole, b); err != nil { // the same bytes
		t.Fatal(err)
	}
	first.holds(whole)
}

func conformPartChecksums(t *testing.T, store objectstore.Store, key string) {
	u := begin(t, store, key)
	body := noise(100)
	_, err := store.UploadPart(t.Context(), key, u.id, 1, [][]byte{body}, objectstore.Checksum(body)^1)
	wantError(t, err, objectstore.ErrRefused)
	_, err = store.UploadPart(t.Context(), key, u.id, 0, [][]byte{body}, objectstore.Checksum(body))
	wantError(t, err, objectstore.ErrRefused)
	part := u.part(1, body)
	wantError(t, store.CompleteUpload(t.Context(), key, u.id, []objectstore.UploadedPart{part}, objectstore.Checksum(body)^1), objectstore.ErrRefused)
	_, err = store.Head(t.Context(), key)
	wantError(t, err, objectstore.ErrNotFound)
}

func conformAborted(t *testing.T, store objectstore.Store, key string) {
	u := begin(t, store, key)
	body := noise(10)
	part := u.part(1, body)
	for range 2 {
		if err := store.AbortUpload(t.Context(), key, u.id); err != nil {
			t.Fatal(err)
		}
	}
	_, err := store.ListParts(t.Context(), key, u.id)
	wantError(t, err, objectstore.ErrNotFound)
	_, err = store.UploadPart(t.Context(), key, u.id, 1, [][]byte{body}, objectstore.Checksum(body))
	wantError(t, err, objectstore.ErrNotFound)
	wantError(t, u.complete(body, part), objectstore.ErrNotFound)
}

func conformUnseen(t *testing.T, store objectstore.Store, key string) {
	u := begin(t, store, key)
	u.part(1, noise(10))
	page, err := store.List(t.Context(), key, "", 10)
	if err != nil || len(page.Objects) != 0 {
		t.Fatalf("%+v, %v", page, err)
	}
	_, err = store.Head(t.Context(), key)
	wantError(t, err, objectstore.ErrNotFound)
	if err := store.AbortUpload(t.Context(), key, u.id); err != nil {
		t.Fatal(err)
	}
}
