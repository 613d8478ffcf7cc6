package objectstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
)

// memoryUpload is an upload that was begun.
type memoryUpload struct {
	key   string
	parts map[int][]byte
}

// CreateUpload implements Multipart.
func (m *Memory) CreateUpload(ctx context.Context, key string) (uploadID string, err error) {
	if err := ctx.Err(); err != nil {
		return "", &OpError{Op: "create upload", Key: key, Err: unavailable(err)}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.uploads == nil {
		m.uploads = map[string]*memoryUpload{}
	}
	uploadID = rand.Text()
	m.uploads[uploadID] = &memoryUpload{key: key, parts: map[int][]byte{}}
	return uploadID, nil
}

// upload requires mu.
func (m *Memory) upload(ctx context.Context, op, key, uploadID string) (*memoryUpload, error) {
	if err := ctx.Err(); err != nil {
		return nil, &OpError{Op: op, Key: key, Err: unavailable(err)}
	}
	u := m.uploads[uploadID]
	if u == nil || u.key != key {
		return nil, &OpError{Op: op, Key: key, Attempts: 1, Err: ErrNotFound}
	}
	return u, nil
}

// UploadPart implements Multipart. It keeps a copy of body.
func (m *Memory) UploadPart(ctx context.Context, key, uploadID string, number int, body [][]byte, crc32c uint32) (UploadedPart, error) {
	if err := validPart(key, number); err != nil {
		return UploadedPart{}, err
	}
	if sum := ChecksumOf(body); sum != crc32c {
		return UploadedPart{}, refuse("upload part", key, "checksum %08x was announced, the body has %08x", crc32c, sum)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	u, err := m.upload(ctx, "upload part", key, uploadID)
	if err != nil {
		return UploadedPart{}, err
	}
	u.parts[number] = bytes.Join(body, nil)
	return u.describe(number), nil
}

func (u *memoryUpload) describe(number int) UploadedPart {
	b := u.parts[number]
	sum := Checksum(b)
	return UploadedPart{Number: number, SizeBytes: int64(len(b)), CRC32C: sum, HasCRC32C: true, ETag: fmt.Sprintf("%08x-%d", sum, len(b))}
}

// ListParts implements Multipart.
func (m *Memory) ListParts(ctx context.Context, key, uploadID string) ([]UploadedPart, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	u, err := m.upload(ctx, "list parts", key, uploadID)
	if err != nil {
		return nil, err
	}
	parts := []UploadedPart{}
	for number := 1; len(parts) < len(u.parts); number++ {
		if _, there := u.parts[number]; there {
			parts = append(parts, u.describe(number))
		}
	}
	return parts, nil
}

// CompleteUpload implements Multipart.
func (m *Memory) CompleteUpload(ctx context.Context, key, uploadID string, parts []UploadedPart, crc32c uint32) error {
	const op = "complete upload"
	m.mu.Lock()
	defer m.mu.Unlock()
	u, err := m.upload(ctx, op, key, uploadID)
	if err != nil {
		if old, there := m.objects[key]; there && ctx.Err() == nil && old.info.CRC32C == crc32c && old.info.SizeBytes == sizeOfParts(parts) {
			return nil
		}
		return err
	}
	body, err := u.assemble(parts)
	if err != nil {
		return err
	}
	if sum := ChecksumOf(body); sum != crc32c {
		return refuse(op, key, "checksum %08x was announced, the parts have %08x", crc32c, sum)
	}
	if err := m.put(op, key, body, crc32c); err != nil {
		return err
	}
	delete(m.uploads, uploadID)
	return nil
}

func (u *memoryUpload) assemble(parts []UploadedPart) (body [][]byte, err error) {
	if len(parts) == 0 {
		return nil, refuse("complete upload", u.key, "no parts")
	}
	for i, p := range parts {
		b, there := u.parts[p.Number]
		if !there || u.describe(p.Number).ETag != p.ETag || (i > 0 && p.Number <= parts[i-1].Number) {
			return nil, refuse("complete upload", u.key, "part %d is not there, is another one, or is out of order", p.Number)
		}
		if i < len(parts)-1 && len(b) < MinPartBytes {
			return nil, refuse("complete upload", u.key, "part %d has %d bytes: want at least %d", p.Number, len(b), MinPartBytes)
		}
		body = append(body, b)
	}
	return body, nil
}

// AbortUpload implements Multipart.
func (m *Memory) AbortUpload(ctx context.Context, key, uploadID string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, err := m.upload(ctx, "abort upload", key, uploadID)
	if err != nil && ctx.Err() != nil {
		return err
	}
	delete(m.uploads, uploadID)
	return nil
}
