package bucket

import (
	"crypto/rand"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"
)

// Litter puts an object into the bucket that nobody has committed or ever will, as an agent leaves it that dies after an upload, and answers its key.
func (b *Bucket) Litter(t testing.TB) string {
	t.Helper()
	var id [16]byte
	_, _ = rand.Read(id[:])
	name := fmt.Sprintf("0-%x-%x-%x-%x-%x-1", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
	key := fmt.Sprintf("default/%02x/%s", byte(crc32.Checksum([]byte(name), crc32.MakeTable(crc32.Castagnoli))), name)
	path := filepath.Join(b.folder, key)
	err := os.MkdirAll(filepath.Dir(path), 0o750)
	if err == nil {
		err = os.WriteFile(path, id[:], 0o600)
	}
	if err != nil {
		t.Fatalf("litter: %v", err)
	}
	return key
}

// Has says whether an object is there.
func (b *Bucket) Has(key string) bool {
	_, err := os.Stat(filepath.Join(b.folder, key))
	return err == nil
}
