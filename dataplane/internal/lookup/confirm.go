package lookup

import (
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
)

// Segments are immutable, so what is remembered of them stays right, but for two things. The first: retention, or an operator, moves the beginning of a
// partition. The index therefore knows when the catalog was last asked about a partition. Who reads from memory has it asked once an
// interval, together with those that somebody waits for; where nobody has read for longer, the next reader asks first.
//
// The second: a topic that is compacted by key gets segments with fewer records in the place of others. Nobody says so to every agent; what was
// replaced may be read for a while, but not for as long as somebody reads it. So what is remembered of such a partition ages.

// confirmedFor is how long after it was asked the catalog's word on where a partition begins is good: two rounds of a watch.
const confirmedFor = 2 * slowInterval

// rememberedFor is how long segments of a topic that is compacted by key are read from memory without a word from the catalog. One lookup a
// partition in this time costs little beside the one a second that watches its beginning.
const rememberedFor = 10 * time.Second

// Aged says that others may have come in the place of what is known of the partition's segments, if its topic is compacted by key.
func (x *Index) Aged(p partition.ID) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	el := x.known[p]
	if el == nil {
		return false
	}
	e := el.Value.(*entry) //nolint:forcetypeassert // only entries are put in
	return len(e.segments) > 0 && time.Since(e.since) > rememberedFor
}

// Renew remembers of the partition's segments only those that the catalog has just answered.
func (x *Index) Renew(p partition.ID, answered []Segment) {
	x.mu.Lock()
	defer x.mu.Unlock()
	e := x.use(p)
	if e == nil {
		return
	}
	x.entries -= len(e.segments)
	e.segments = segments(nil).insert(answered, maxPartitionSegments).after(e.state.LogStart)
	e.since = time.Now()
	x.entries += len(e.segments)
}

// Doubtful says that the catalog has not been asked about the partition for a while: what is known of it may have been deleted.
func (x *Index) Doubtful(p partition.ID) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	el := x.known[p]
	return el == nil || time.Since(el.Value.(*entry).confirmed) > confirmedFor //nolint:forcetypeassert // only entries are put in
}

// confirm notes that the catalog has answered a lookup that was sent then. Answers may arrive in another order.
func (x *Index) confirm(p partition.ID, sent time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if el := x.known[p]; el != nil {
		if e := el.Value.(*entry); sent.After(e.confirmed) { //nolint:forcetypeassert // only entries are put in
			e.confirmed = sent
		}
	}
}

// takeRead asks about the state of partitions that were read from memory since it was last taken, and that nobody waits for.
func (x *Index) takeRead() []Query {
	x.mu.Lock()
	defer x.mu.Unlock()
	queries := make([]Query, 0, len(x.read))
	for p := range x.read {
		if len(x.waiting[p]) == 0 {
			queries = append(queries, Query{Partition: p})
		}
	}
	clear(x.read)
	return queries
}
