package job

import (
	"context"
	"errors"
	"testing"

	"go.opentelemetry.io/otel/metric/noop"

	"github.com/streamhouse/streamhouse/dataplane/internal/checkpoint"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

var (
	ours, theirs       = []byte("our catalog's id"), []byte("another one's id")
	thisOne, otherOne  = []byte("this checkpoint "), []byte("other checkpoint")
	errUnexpectedCalls = errors.New("nobody was to be asked")
)

func head(incarnation int32, number int64, catalog, id []byte) *controlplanev1.CheckpointHead {
	return &controlplanev1.CheckpointHead{AgentGroup: "g", Incarnation: incarnation, Number: number, CatalogId: catalog, CheckpointId: id}
}

func put(t *testing.T, store objectstore.Store, h *controlplanev1.CheckpointHead) {
	t.Helper()
	w := checkpoint.NewWriter()
	if err := w.Add(&controlplanev1.CheckpointPage{Head: h}); err != nil {
		t.Fatal(err)
	}
	body := w.Seal()
	if err := store.Put(t.Context(), checkpoint.Key("g", h.GetIncarnation(), h.GetNumber()), [][]byte{body}, objectstore.Checksum(body)); err != nil {
		t.Fatal(err)
	}
}

func TestP1_ABucketOfAnotherCatalogIsRecognised(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		found   *controlplanev1.CheckpointHead // in the bucket; nil: nothing
		catalog *controlplanev1.CheckpointHead
		foreign bool
	}{
		"empty bucket":            {nil, head(0, 1, ours, thisOne), false},
		"the one before":          {head(0, 4, ours, otherOne), head(0, 5, ours, thisOne), false},
		"this one, put before":    {head(0, 5, ours, thisOne), head(0, 5, ours, thisOne), false},
		"another of its number":   {head(0, 5, ours, otherOne), head(0, 5, ours, thisOne), true},
		"a newer one":             {head(0, 6, ours, otherOne), head(0, 5, ours, thisOne), true},
		"a newer incarnation":     {head(1, 1, ours, otherOne), head(0, 5, ours, thisOne), true},
		"an older incarnation":    {head(0, 9, theirs, otherOne), head(1, 5, ours, thisOne), false},
		"another catalog":         {head(0, 4, theirs, otherOne), head(0, 5, ours, thisOne), true},
		"of an older release":     {head(0, 4, nil, nil), head(0, 5, ours, thisOne), false},
		"a sweep beside ours":     {head(0, 5, ours, otherOne), head(0, 5, ours, nil), false},
		"a sweep of what is lost": {head(0, 6, ours, otherOne), head(0, 5, ours, nil), true},
	} {
		store := &objectstore.Memory{}
		if c.found != nil {
			put(t, store, c.found)
		}
		err := refuseForeign(t.Context(), store, "g", c.catalog)
		if _, foreign := errors.AsType[*foreignError](err); foreign != c.foreign || err != nil != c.foreign {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// catalogOf answers what a checkpoint is made of, and nothing else.
type catalogOf struct {
	Control

	head *controlplanev1.CheckpointHead
}

func (c catalogOf) ReadCheckpoint(context.Context, *controlplanev1.ReadCheckpointRequest) (*controlplanev1.ReadCheckpointResponse, error) {
	return &controlplanev1.ReadCheckpointResponse{Page: &controlplanev1.CheckpointPage{Head: c.head}}, nil
}

func (catalogOf) SweepKeys(context.Context, *controlplanev1.SweepKeysRequest) (*controlplanev1.SweepKeysResponse, error) {
	return nil, errUnexpectedCalls
}

// Nothing is written, named or deleted there, and the runner is told whose checkpoint was found.
func TestP1_NothingIsDoneToABucketOfAnotherCatalog(t *testing.T) {
	t.Parallel()
	store := &objectstore.Memory{}
	put(t, store, head(0, 6, theirs, otherOne))
	control := catalogOf{head: head(0, 1, ours, thisOne)}
	_, err := Checkpointer{AgentGroup: "g", Control: control, Store: store}.Checkpoint(t.Context(), &controlplanev1.Job{
		Work: &controlplanev1.Job_Checkpoint{Checkpoint: &controlplanev1.CheckpointWork{Number: 1}},
	})
	if foreign, met := errors.AsType[*foreignError](err); !met || foreign.found.GetNumber() != 6 {
		t.Errorf("checkpoint: %v", err)
	}
	deleter, err := NewDeleter("g", control, store, nil, noop.Meter{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = deleter.Sweep(t.Context(), &controlplanev1.Job{Work: &controlplanev1.Job_Sweep{Sweep: &controlplanev1.SweepWork{
		Prefix: "g/checkpoints/", CatalogId: ours, NewestCheckpoint: 1,
	}}})
	if _, met := errors.AsType[*foreignError](err); !met {
		t.Errorf("sweep: %v", err)
	}
	if keys, err := checkpoint.Keys(t.Context(), store, "g"); err != nil || len(keys) != 1 {
		t.Errorf("%v, %v", keys, err)
	}
}

// What the runner tells the control plane, which halts.
func TestRunner_TellsOfAForeignCheckpoint(t *testing.T) {
	t.Parallel()
	d := &desk{}
	r := runner(t, d, "s", nil)
	found := head(0, 6, theirs, otherOne)
	r.giveUp(t.Context(), &controlplanev1.Job{JobId: "j"}, &foreignError{key: "k", found: found})
	if d.foreign != found || !d.ended["j"] {
		t.Errorf("told of %v", d.foreign)
	}
}
