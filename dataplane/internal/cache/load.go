package cache

import (
	"context"
	"errors"
	"hash/crc32"

	"github.com/streamhouse/streamhouse/dataplane/internal/lookup"
)

// Sharing says who else will want what is loaded.
type Sharing uint8

const (
	// Alone is a reader that catches up: nobody else wants just this.
	Alone Sharing = iota
	// Shared is new: readers on other agents of the zone will want it, too.
	Shared
	// Whole is new, and other segments of the object will be wanted, too.
	Whole
)

// Want is a segment to load.
type Want struct {
	lookup.Segment
	Sharing Sharing
	Ahead   bool // nobody has asked for it yet: that it is loaded is no use of it
	// Together: what lies between it and others of the object that are wanted together is read, too.
	Together bool
}

// Result is one segment's bytes, which nobody may change, or why they are not to be had: ErrMissing, ErrCorrupt, ErrBucket, or the error
// of the context.
type Result struct {
	Bytes []byte
	Err   error
}

// Lacking are those of the wants that are neither held nor being loaded, in their order.
func (c *Cache) Lacking(wants []Want) []Want {
	var lacking []Want
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range wants {
		if !c.near(w.ObjectKey, part{w.Position, w.SizeBytes}) {
			lacking = append(lacking, w)
		}
	}
	return lacking
}

// near tells whether a part is held or being loaded. Requires mu.
func (c *Cache) near(object string, p part) bool {
	if c.held.find(object, p) != nil {
		return true
	}
	for _, r := range [...]route{{object, p, false}, {object, p, true}, {object, wholePart, false}} {
		if c.flights[r] != nil {
			return true
		}
	}
	return false
}

// errAbandoned ends the flight of a load that was cancelled: somebody else shall try.
var errAbandoned = errors.New("load was cancelled")

// wish is what a load wants of one object: a part, or all of it.
type wish struct {
	object      string
	part        part // wholePart: all
	sum         *uint32
	sharing     Sharing
	objectBytes int64 // 0: unknown
	ahead       bool
	together    bool
	forPeer     bool // another agent asks: it is never asked in turn
}

// wholePart stands for all of an object, however large.
var wholePart = part{size: -1}

// route names a flight: what is loaded, and whether another agent is asked for it. The two are never joined: if two agents each thought
// the other to be the owner, each would wait for the other.
type route struct {
	object string
	part   part
	peer   bool
}

// flight is a part that is being loaded, by the load that made it.
type flight struct {
	wish  *wish
	owner string        // address of the agent that is asked; empty: none, the bucket is
	done  chan struct{} // closed after bytes and err are set
	bytes []byte
	err   error // errAbandoned: board anew
}

func (f *flight) route() route {
	return route{object: f.wish.object, part: f.wish.part, peer: f.owner != ""}
}

// Load returns the bytes of each segment, in order.
func (c *Cache) Load(ctx context.Context, wants []Want) []Result {
	wishes := make([]wish, len(wants))
	for i := range wants {
		w := &wants[i]
		wishes[i] = wish{
			object: w.ObjectKey, part: part{w.Position, w.SizeBytes}, sum: &w.CRC32C, sharing: w.Sharing, objectBytes: w.ObjectBytes,
			ahead: w.Ahead, together: w.Together,
		}
	}
	return c.load(ctx, wishes)
}

// Range returns a part of an object for another agent of the zone, which checks it. Errors as in Result.
func (c *Cache) Range(ctx context.Context, object string, position int64, size int32, whole bool) ([]byte, error) {
	w := wish{object: object, part: part{position, size}, sharing: Shared, forPeer: true}
	if whole {
		w.sharing = Whole
	}
	r := c.load(ctx, []wish{w})[0]
	return r.Bytes, r.Err
}

func (c *Cache) load(ctx context.Context, wishes []wish) []Result {
	results := make([]Result, len(wishes))
	todo := make([]int, 0, len(wishes))
	for i := range wishes {
		if results[i].Bytes = c.recall(&wishes[i]); results[i].Bytes == nil {
			todo = append(todo, i)
		}
	}
	if len(wishes) > 0 && wishes[0].part != wholePart {
		c.counts.hits.Add(int64(len(wishes) - len(todo)))
		c.counts.misses.Add(int64(len(todo)))
	}
	for len(todo) > 0 {
		flights, mine := c.board(wishes, todo)
		c.bring(ctx, mine)
		var again []int
		for i, f := range flights {
			at := todo[i]
			if f == nil {
				results[at].Bytes = c.recall(&wishes[at])
			}
			if (f == nil && results[at].Bytes == nil) || (f != nil && await(ctx, f, &results[at])) {
				again = append(again, at)
			}
		}
		todo = again
	}
	return results
}

// recall returns what is held of a wish, if its checksum is right; nil: nothing.
func (c *Cache) recall(w *wish) []byte {
	c.mu.Lock()
	b := c.held.find(w.object, w.part)
	if b == nil {
		c.mu.Unlock()
		return nil
	}
	good := b.known[w.part].good
	if !w.ahead {
		b.use(w.part)
	}
	used := b.where == inUsed
	c.mu.Unlock()
	if used {
		c.used.GetIfPresent(b) // counts as a use
	}
	bytes := b.read(w.part)
	if good || b.trusted || w.sum == nil {
		return bytes
	}
	return c.prove(b, w, bytes)
}

// prove checks a part of a blob for the first time. A blob that is not what the catalog says is forgotten.
func (c *Cache) prove(b *blob, w *wish, bytes []byte) []byte {
	right := crc32.Checksum(bytes, castagnoli) == *w.sum
	c.mu.Lock()
	defer c.mu.Unlock()
	if !right {
		c.held.forget(b)
		return nil
	}
	b.vouch(w.part)
	return bytes
}

// board finds or makes a flight for each of the wishes, nil for what has landed meanwhile; mine are those made here, which the caller must
// complete.
func (c *Cache) board(wishes []wish, todo []int) (flights, mine []*flight) {
	made := make([]*flight, len(todo))
	for i, at := range todo {
		made[i] = &flight{wish: &wishes[at], owner: c.owner(&wishes[at]), done: make(chan struct{})}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range made {
		if c.held.find(f.wish.object, f.wish.part) != nil {
			flights = append(flights, nil)
			continue
		}
		if other := c.flights[f.route()]; other != nil {
			flights = append(flights, other)
			continue
		}
		c.flights[f.route()] = f
		flights, mine = append(flights, f), append(mine, f)
	}
	return flights, mine
}

// owner is the address of the agent to ask; empty: none, the bucket is asked.
func (c *Cache) owner(w *wish) string {
	if c.config.Zone == nil || w.sharing == Alone || w.forPeer || w.part == wholePart {
		return ""
	}
	return c.config.Zone.Owner(w.object)
}

// await waits for a flight; true: it was abandoned, board anew.
func await(ctx context.Context, f *flight, result *Result) (again bool) {
	select {
	case <-f.done:
	case <-ctx.Done():
		result.Err = ctx.Err()
		return false
	}
	if errors.Is(f.err, errAbandoned) {
		result.Err = ctx.Err()
		return result.Err == nil
	}
	*result = Result{Bytes: f.bytes, Err: f.err}
	return false
}

// land completes a flight.
func (c *Cache) land(f *flight, b []byte, err error) {
	f.bytes, f.err = b, err
	c.mu.Lock()
	delete(c.flights, f.route())
	c.mu.Unlock()
	close(f.done)
}
