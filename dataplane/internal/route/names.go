package route

import (
	"context"
	"sync"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

const (
	// maxNames bounds the names of one call to the control plane.
	maxNames = 1000
	// maxNameCalls bounds the calls for names in flight: with few of them, many askers share one.
	maxNameCalls = 2
)

// asking is the call for names that has not started yet. Whoever asks joins it; a call that is under way may not be joined, for it may have read the
// catalog before the asker's request arrived.
type asking struct {
	slots chan struct{} // one for each call in flight

	mu   sync.Mutex // guards next, and the names of the round in it
	next *round
}

// round is one call for many askers. Who makes it, calls; found, err and left are read after done is closed.
type round struct {
	names map[string]struct{}
	done  chan struct{}
	found map[string]Topic
	err   error
	left  bool // whoever made the call has hung up, and err says nothing to the others
}

// ResolveNames finds topics by name, with a call to the control plane that starts after this one did; many askers share a call. Names of no topic are
// left out. While the control plane is out of reach, what the table knows is the answer if it knows every name. Errors: CATALOG_UNAVAILABLE; or the
// context's.
func (t *Table) ResolveNames(ctx context.Context, names ...string) (map[string]Topic, error) {
	wanted := make([]string, 0, len(names))
	for _, name := range names {
		if canBeName(name) { // the catalog need not be asked for others, and could not hold some of them
			wanted = append(wanted, name)
		}
	}
	if len(wanted) == 0 {
		return map[string]Topic{}, nil
	}
	found, err := t.askNames(ctx, wanted)
	if err == nil {
		return found, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if known := t.byName(wanted); len(known) == len(wanted) {
		return known, nil
	}
	return nil, refusal.CatalogUnavailable(catalogRetry, err)
}

// askNames joins the next call, or makes it.
func (t *Table) askNames(ctx context.Context, names []string) (map[string]Topic, error) {
	for {
		r, caller := t.asking.join(names)
		if caller {
			t.callFor(ctx, r)
		}
		select {
		case <-r.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if caller || !r.left || ctx.Err() != nil {
			return r.found, r.err
		}
	}
}

// join adds names to the next round; caller says whether the round is new, and the asker's to call.
func (a *asking) join(names []string) (r *round, caller bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.next == nil || len(a.next.names)+len(names) > maxNames {
		a.next, caller = &round{names: map[string]struct{}{}, done: make(chan struct{})}, true
	}
	for _, name := range names {
		a.next.names[name] = struct{}{}
	}
	return a.next, caller
}

// start closes the round to further askers and returns its names.
func (a *asking) start(r *round) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.next == r {
		a.next = nil
	}
	names := make([]string, 0, len(r.names))
	for name := range r.names {
		names = append(names, name)
	}
	return names
}

// callFor makes the call of a round, once there is a slot for it.
func (t *Table) callFor(ctx context.Context, r *round) {
	defer close(r.done)
	select {
	case t.asking.slots <- struct{}{}:
		defer func() { <-t.asking.slots }()
	case <-ctx.Done():
		t.asking.start(r)
		r.err, r.left = ctx.Err(), true
		return
	}
	names := t.asking.start(r)
	res, err := t.catalog.ResolveTopics(ctx, &controlplanev1.ResolveTopicsRequest{
		Names: names, TopicsOnly: len(t.byName(names)) == len(names),
	})
	if err != nil {
		r.err, r.left = err, ctx.Err() != nil
		return
	}
	t.Apply(&controlplanev1.Placement{Topics: res.GetTopics(), Partitions: res.GetPartitions()})
	r.found = make(map[string]Topic, len(res.GetTopics()))
	for _, topic := range res.GetTopics() {
		if found := topicOf(topic); !t.Deleted(found.ID) { // the table may have heard of it since
			r.found[found.Name] = found
		}
	}
}

// byName returns what the table knows of names.
func (t *Table) byName(names []string) map[string]Topic {
	t.mu.RLock()
	defer t.mu.RUnlock()
	known := make(map[string]Topic, len(names))
	for _, name := range names {
		if id, ok := t.names[name]; ok {
			known[name] = t.topics[id].Topic
		}
	}
	return known
}
