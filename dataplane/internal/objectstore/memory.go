package objectstore

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Memory is a bucket in memory, with a real one's answers; it waits for nothing, so it suits virtual time.
// Its zero value is empty and ready.
type Memory struct {
	mu      sync.Mutex // guards all below; the bodies never change
	objects map[string]memoryObject
	uploads map[string]*memoryUpload // by upload id
}

type memoryObject struct {
	body []byte
	info Info
}

var _ Store = (*Memory)(nil)

// Put implements Store. It keeps a copy of body.
func (m *Memory) Put(ctx context.Context, key string, body [][]byte, crc32c uint32) error {
	if err := ctx.Err(); err != nil {
		return &OpError{Op: "put", Key: key, Err: unavailable(err)}
	}
	if sum := ChecksumOf(body); sum != crc32c {
		return refuse("put", key, "checksum %08x was announced, the body has %08x", crc32c, sum)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.put("put", key, body, crc32c)
}

// put requires mu.
func (m *Memory) put(op, key string, body [][]byte, crc32c uint32) error {
	if old, taken := m.objects[key]; taken {
		if equal(body, old.body) {
			return nil
		}
		return &OpError{Op: op, Key: key, Attempts: 1, Err: fmt.Errorf("%w: they are %d bytes, ours %d", ErrConflict, len(old.body), sizeOf(body))}
	}
	if m.objects == nil {
		m.objects = map[string]memoryObject{}
	}
	info := Info{Key: key, SizeBytes: sizeOf(body), CRC32C: crc32c, HasCRC32C: true, ModifiedAt: time.Now()}
	m.objects[key] = memoryObject{body: bytes.Join(body, nil), info: info}
	return nil
}

func (m *Memory) find(ctx context.Context, op, key string) (memoryObject, error) {
	if err := ctx.Err(); err != nil {
		return memoryObject{}, &OpError{Op: op, Key: key, Err: unavailable(err)}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.objects[key]
	if !ok {
		return memoryObject{}, &OpError{Op: op, Key: key, Attempts: 1, Err: ErrNotFound}
	}
	return o, nil
}

// GetRange implements Store.
func (m *Memory) GetRange(ctx context.Context, key string, position int64, dst []byte) error {
	if len(dst) == 0 || position < 0 {
		return refuse("get", key, "range of %d bytes at %d", len(dst), position)
	}
	o, err := m.find(ctx, "get", key)
	if err != nil {
		return err
	}
	if position > int64(len(o.body))-int64(len(dst)) {
		return &OpError{Op: "get", Key: key, Attempts: 1, Err: ErrOutOfRange}
	}
	copy(dst, o.body[position:])
	return nil
}

// GetTail implements Store.
func (m *Memory) GetTail(ctx context.Context, key string, dst []byte) (n int, size int64, err error) {
	if len(dst) == 0 {
		return 0, 0, refuse("get", key, "tail of no bytes")
	}
	o, err := m.find(ctx, "get", key)
	if err != nil {
		return 0, 0, err
	}
	return copy(dst, o.body[max(0, len(o.body)-len(dst)):]), int64(len(o.body)), nil
}

// Head implements Store.
func (m *Memory) Head(ctx context.Context, key string) (Info, error) {
	o, err := m.find(ctx, "head", key)
	return o.info, err
}

// Delete implements Store.
func (m *Memory) Delete(ctx context.Context, keys []string) error {
	if err := ctx.Err(); err != nil && len(keys) > 0 {
		return &OpError{Op: "delete", Key: keys[0], Err: unavailable(err)}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, key := range keys {
		delete(m.objects, key)
	}
	return nil
}

// List implements Store.
func (m *Memory) List(ctx context.Context, prefix, after string, limit int) (Page, error) {
	if limit < 1 || limit > MaxListLimit {
		return Page{}, refuse("list", prefix, "limit %d: want 1 to %d", limit, MaxListLimit)
	}
	if err := ctx.Err(); err != nil {
		return Page{}, &OpError{Op: "list", Key: prefix, Err: unavailable(err)}
	}
	found := m.matching(prefix, after)
	n := min(limit, len(found))
	return Page{Objects: found[:n], More: n < len(found)}, nil
}

func (m *Memory) matching(prefix, after string) []Info {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := []Info{}
	for key, o := range m.objects {
		if strings.HasPrefix(key, prefix) && key > after {
			info := o.info
			info.CRC32C, info.HasCRC32C = 0, false
			found = append(found, info)
		}
	}
	slices.SortFunc(found, func(a, b Info) int { return strings.Compare(a.Key, b.Key) })
	return found
}
