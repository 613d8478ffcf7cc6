package checkpoint

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"

	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

const (
	// maxBytes bounds what Load reads: some ten million partitions.
	maxBytes = 1 << 30
	// chunk is what one GET brings.
	chunk = 8 << 20
)

// Keys are those of an agent group's checkpoints; the last is the newest.
func Keys(ctx context.Context, store objectstore.Store, agentGroup string) (keys []string, err error) {
	for after, more := "", true; more; {
		page, err := store.List(ctx, Prefix(agentGroup), after, objectstore.MaxListLimit)
		if err != nil {
			return nil, fmt.Errorf("list checkpoints: %w", err)
		}
		for _, o := range page.Objects {
			if _, _, ok := ParseKey(agentGroup, o.Key); ok {
				keys = append(keys, o.Key)
			}
			after = o.Key
		}
		more = page.More && len(page.Objects) > 0
	}
	return keys, nil
}

// LoadHead reads the head of a checkpoint, and verifies no more than that it is one. Errors are as those of Load.
func LoadHead(ctx context.Context, store objectstore.Store, key string) (*controlplanev1.CheckpointHead, error) {
	begin := make([]byte, headSize+lengthSize)
	if err := store.GetRange(ctx, key, 0, begin); err != nil {
		return nil, fmt.Errorf("read head: %w", err)
	}
	length := binary.BigEndian.Uint32(begin[headSize:])
	if !bytes.Equal(begin[:len(headMagic)], headMagic) || binary.BigEndian.Uint16(begin[len(headMagic):]) != version || length < 1 || length > maxPageBytes {
		return nil, invalid("it does not begin as one")
	}
	page := make([]byte, lengthSize+length)
	if err := store.GetRange(ctx, key, headSize, page); err != nil {
		return nil, fmt.Errorf("read head: %w", err)
	}
	first, _, err := readPage(page)
	if err != nil {
		return nil, err
	}
	if first.GetHead() == nil {
		return nil, invalid("it does not begin with a head")
	}
	return first.GetHead(), nil
}

// Load reads and verifies a checkpoint or description. Errors wrap ErrInvalid, or are the store's.
func Load(ctx context.Context, store objectstore.Store, key string) ([]*controlplanev1.CheckpointPage, error) {
	info, err := store.Head(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("look for checkpoint: %w", err)
	}
	if info.SizeBytes > maxBytes {
		return nil, invalid("%d bytes are more than %d", info.SizeBytes, maxBytes)
	}
	whole := make([]byte, info.SizeBytes)
	for at := 0; at < len(whole); at += chunk {
		if err := store.GetRange(ctx, key, int64(at), whole[at:min(at+chunk, len(whole))]); err != nil {
			return nil, fmt.Errorf("read checkpoint: %w", err)
		}
	}
	return Read(whole)
}
