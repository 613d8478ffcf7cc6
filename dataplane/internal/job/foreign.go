package job

import (
	"bytes"
	"cmp"
	"context"
	"fmt"

	"github.com/streamhouse/streamhouse/dataplane/internal/checkpoint"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

// foreignError says that the newest checkpoint in the bucket is not the catalog's, or newer than any of it. What the catalog does not know there may
// be the log that it has lost.
type foreignError struct {
	key   string
	found *controlplanev1.CheckpointHead
}

func (e *foreignError) Error() string {
	return fmt.Sprintf("%s is not a checkpoint of this catalog, which is a new one or went back in time: nothing is written or deleted, and the catalog halts",
		e.key)
}

// refuseForeign compares the newest checkpoint in the bucket with what the catalog says of itself: the number of the newest that it has begun and,
// where that one is this job's, its id. A checkpoint of an older incarnation is what this one began with. The control plane judges by the same rule
// (store.Foreign) whether to halt.
func refuseForeign(ctx context.Context, store objectstore.Store, agentGroup string, catalog *controlplanev1.CheckpointHead) error {
	keys, err := checkpoint.Keys(ctx, store, agentGroup)
	if err != nil || len(keys) == 0 {
		return err
	}
	newest := keys[len(keys)-1]
	incarnation, number, _ := checkpoint.ParseKey(agentGroup, newest)
	if incarnation < catalog.GetIncarnation() {
		return nil
	}
	found, err := checkpoint.LoadHead(ctx, store, newest)
	if err != nil {
		return fmt.Errorf("look whose checkpoint %s is: %w", newest, err)
	}
	newer := cmp.Or(cmp.Compare(incarnation, catalog.GetIncarnation()), cmp.Compare(number, catalog.GetNumber()))
	another := func(found, known []byte) bool { return len(found) > 0 && len(known) > 0 && !bytes.Equal(found, known) }
	if newer > 0 || another(found.GetCatalogId(), catalog.GetCatalogId()) || newer == 0 && another(found.GetCheckpointId(), catalog.GetCheckpointId()) {
		return &foreignError{key: newest, found: found}
	}
	return nil
}
