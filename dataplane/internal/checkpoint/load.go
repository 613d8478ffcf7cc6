package checkpoint

import (
	"context"
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
