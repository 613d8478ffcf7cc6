package store

import (
	"bytes"
	"cmp"
	"fmt"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

// Foreign says why a checkpoint that was found in the bucket shows that transactions were lost, in a sentence for people; empty: it does not. own is the
// newest that the catalog has begun. The bucket is evidence as agents are, also when none lives that was told anything: whatever the catalog does not
// know there may be acknowledged (P1).
func Foreign(found, own *controlplanev1.CheckpointHead) string {
	another := func(found, own []byte) bool { return len(found) > 0 && len(own) > 0 && !bytes.Equal(found, own) }
	newer := cmp.Or(cmp.Compare(found.GetIncarnation(), own.GetIncarnation()), cmp.Compare(found.GetNumber(), own.GetNumber()))
	switch {
	case newer > 0:
		return fmt.Sprintf("the bucket has checkpoint %d of agent group %s and incarnation %d, and this catalog has come to %d of incarnation %d only",
			found.GetNumber(), own.GetAgentGroup(), found.GetIncarnation(), own.GetNumber(), own.GetIncarnation())
	case found.GetIncarnation() < own.GetIncarnation(): // this incarnation began with what it says
		return ""
	case another(found.GetCatalogId(), own.GetCatalogId()), newer == 0 && another(found.GetCheckpointId(), own.GetCheckpointId()):
		return fmt.Sprintf("the bucket has checkpoint %d of agent group %s, which another catalog than this has written", found.GetNumber(), own.GetAgentGroup())
	default:
		return ""
	}
}
