package ingest

import (
	"testing"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

// At a takeover of n partitions n requests wait: a wake-up for each grant would be n² of them.
func TestGrantAllWakesOnce(t *testing.T) {
	t.Parallel()
	w := newWorld()
	var all []Granted
	for p := range 100 {
		all = append(all, Granted{Partition: id(p), Grant: &controlplanev1.Grant{Epoch: 3, ProducersComplete: true}})
	}
	all = append(all, Granted{Partition: id(0), Grant: &controlplanev1.Grant{Epoch: 2}}) // late
	changed := w.ledger.Changed()
	began := w.ledger.GrantAll(all)
	select {
	case <-changed:
	default:
		t.Fatal("nobody was woken")
	}
	for i := range 100 {
		if _, leads := w.ledger.Leads(id(i)); !leads || !began[i] {
			t.Fatalf("partition %d: began %v", i, began[i])
		}
	}
	if began[100] {
		t.Fatal("a late grant began a tenure")
	}
	changed = w.ledger.Changed()
	w.ledger.GrantAll(all)
	select {
	case <-changed:
		t.Fatal("woken for nothing")
	default:
	}
}
