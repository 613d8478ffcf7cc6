package cache

import (
	"bytes"
	"container/list"
	"sync"
)

// item is a segment's bytes; those of a commit come in parts, which are joined by the first reader.
type item struct {
	key  key
	uses int // guarded by Cache.mu

	join  sync.Once
	parts [][]byte
	bytes []byte
}

func (i *item) read() []byte {
	i.join.Do(func() {
		i.bytes = i.parts[0]
		if len(i.parts) > 1 {
			i.bytes = bytes.Join(i.parts, nil)
		}
		i.parts = nil
	})
	return i.bytes
}

// ring keeps what came last, up to so many bytes. Not for concurrent use.
type ring struct {
	maxBytes int64
	size     int64
	items    map[key]*list.Element // of *item
	order    list.List             // oldest in front
}

func newRing(maxBytes int64) *ring {
	return &ring{maxBytes: maxBytes, items: make(map[key]*list.Element)}
}

func (r *ring) get(k key) *item {
	if el := r.items[k]; el != nil {
		return el.Value.(*item) //nolint:forcetypeassert // only items are put in
	}
	return nil
}

// put adds an item and returns those that fell out. What is larger than the whole ring falls through.
func (r *ring) put(i *item) (dropped []*item) {
	if r.items[i.key] != nil {
		return nil
	}
	r.items[i.key] = r.order.PushBack(i)
	r.size += int64(i.key.size)
	for r.size > r.maxBytes {
		oldest := r.order.Remove(r.order.Front()).(*item) //nolint:forcetypeassert // only items are put in
		delete(r.items, oldest.key)
		r.size -= int64(oldest.key.size)
		dropped = append(dropped, oldest)
	}
	return dropped
}
