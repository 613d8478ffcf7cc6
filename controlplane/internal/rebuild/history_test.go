package rebuild_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/controlplane/internal/rebuild"
)

// content is what a record says; no two records say the same.
type content int

// segment as a footer has it, and what it holds.
type segment struct {
	part        *part
	epoch       int32
	base        int64
	tenureFirst int64
	records     []content
}

func (s segment) end() int64 { return s.base + int64(len(s.records)) }

// object is one PUT, whatever became of it.
type object struct {
	id       int
	segments []segment
	inBucket bool
	decided  bool // committed or dead: its key has a row
	refs     int
	freed    bool
	freedIn  int // checkpoint that was begun after it was freed; 0: none
	late     bool
}

// part is a partition of the true catalog.
type part struct {
	topic    *topic
	number   int
	epoch    int32
	leader   *tenure
	log      []content
	logStart int64
	segments []placed // in order, without gaps up to the end of log
}

func (p *part) end() int64 { return int64(len(p.log)) }

type placed struct {
	segment
	object *object
}

type topic struct {
	id         rebuild.TopicID
	name       string
	created    time.Time
	deleted    bool
	purged     bool
	described  bool // its description is in the bucket
	parts      []*part
	everStored bool // a commit was acknowledged
}

// tenure of an agent over a partition. Whoever loses it learns of it by a refusal.
type tenure struct {
	part  *part
	epoch int32
	first int64
	next  int64
	ended bool
}

type agent struct {
	tenures []*tenure
	queue   []*object // in order, uploaded or not
}

// checkpoint as it is in the bucket.
type checkpoint struct {
	number int
	topics []rebuild.Topic
	marks  map[*part]row
}

type row struct {
	logStart, highWatermark int64
	epoch                   int32
}

// plan of a compaction.
type plan struct {
	output *object
	inputs [][]placed // of each of its segments
}

// world is a cluster that keeps the rules, its bucket, and the truth.
type world struct {
	*rand.Rand
	topics  []*topic
	agents  []*agent
	objects []*object
	plans   []plan

	writing    *checkpoint // begun, partly read
	unread     []*part
	newest     *checkpoint
	numbers    int
	nextRecord content

	kept *memory // a backup; nothing that it refers to is deleted
}

// memory is the catalog as it once was.
type memory struct {
	rows    map[*part]row
	decided map[*object]bool
}

func newWorld(seed uint64) *world {
	w := &world{Rand: rand.New(rand.NewPCG(seed, 1))}
	for range 1 + w.IntN(3) {
		w.agents = append(w.agents, &agent{})
	}
	w.createTopic()
	return w
}

func (w *world) createTopic() {
	t := &topic{name: fmt.Sprint("t", w.IntN(3)), created: time.Unix(int64(len(w.topics)), 0)}
	if slices.ContainsFunc(w.topics, func(o *topic) bool { return o.name == t.name && !o.deleted }) {
		return
	}
	binary.BigEndian.PutUint64(t.id[:], uint64(len(w.topics)+1))
	for i := range 1 + w.IntN(2) {
		t.parts = append(t.parts, &part{topic: t, number: i})
	}
	w.topics = append(w.topics, t)
}

func pick[T any](w *world, from []T) (one T, ok bool) {
	if len(from) == 0 {
		return one, false
	}
	return from[w.IntN(len(from))], true
}

// parts are those of topics that are not deleted.
func (w *world) parts() (parts []*part) {
	for _, t := range w.topics {
		if !t.deleted {
			parts = append(parts, t.parts...)
		}
	}
	return parts
}

func (w *world) run(steps int) {
	chances := []struct {
		weight int
		do     func()
	}{
		{40, w.write},
		{60, w.commit},
		{6, w.takeOver},
		{3, w.arrive},
		{2, w.retain},
		{5, w.retainReferences},
		{5, w.planCompaction},
		{5, w.commitCompaction},
		{6, w.checkpoint},
		{5, w.deleteFreed},
		{3, w.sweep},
		{1, w.createTopic},
		{1, w.deleteTopic},
		{2, w.purge},
		{2, w.widen},
	}
	total := 0
	for _, c := range chances {
		total += c.weight
	}
	for range steps {
		n := w.IntN(total)
		for _, c := range chances {
			if n -= c.weight; n < 0 {
				c.do()
				break
			}
		}
	}
}

func (w *world) takeOver() {
	p, ok := pick(w, w.parts())
	if !ok {
		return
	}
	a, _ := pick(w, w.agents)
	p.epoch++
	p.leader = &tenure{part: p, epoch: p.epoch, first: p.end(), next: p.end()}
	a.tenures = append(a.tenures, p.leader)
}

// write fills an object with what some tenures of an agent have, and starts its upload.
func (w *world) write() {
	a, _ := pick(w, w.agents)
	o := w.newObject()
	for _, t := range a.tenures {
		if t.ended || w.IntN(3) == 0 {
			continue
		}
		s := segment{part: t.part, epoch: t.epoch, base: t.next, tenureFirst: t.first}
		for range 1 + w.IntN(3) {
			w.nextRecord++
			s.records = append(s.records, w.nextRecord)
		}
		t.next = s.end()
		o.segments = append(o.segments, s)
	}
	if len(o.segments) == 0 {
		return
	}
	w.objects = append(w.objects, o)
	switch w.IntN(10) {
	case 0: // the agent died: nobody ever commits it, though it may arrive
		o.late = w.IntN(2) == 0
		return
	case 1, 2:
		o.late = true
	default:
		o.inBucket = true
	}
	a.queue = append(a.queue, o)
}

func (w *world) newObject() *object { return &object{id: len(w.objects) + 1} }

// arrive ends an upload that was slow, perhaps after its key has died.
func (w *world) arrive() {
	for _, o := range w.objects {
		if o.late && w.IntN(2) == 0 {
			o.late, o.inBucket = false, true
		}
	}
}

// commit is that of the first object in an agent's queue, if it has been uploaded.
func (w *world) commit() {
	a, _ := pick(w, w.agents)
	if len(a.queue) == 0 || (!a.queue[0].inBucket && !a.queue[0].decided) {
		return
	}
	o := a.queue[0]
	a.queue = a.queue[1:]
	if o.decided { // a tombstone: a definite failure of all of it
		for _, s := range o.segments {
			w.endTenure(a, s)
		}
		return
	}
	o.decided = true
	for _, s := range o.segments {
		t := w.tenureOf(a, s)
		p := s.part
		if t.ended || p.topic.deleted || p.leader != t || s.base != p.end() {
			t.ended = true
			continue
		}
		if !p.topic.described && !w.checkpointed(p.topic) {
			p.topic.described = true // put before the commit
		}
		p.topic.everStored = true
		p.log = append(p.log, s.records...)
		p.segments = append(p.segments, placed{s, o})
		o.refs++
	}
	o.freed = o.refs == 0
}

func (w *world) tenureOf(a *agent, s segment) *tenure {
	i := slices.IndexFunc(a.tenures, func(t *tenure) bool { return t.part == s.part && t.epoch == s.epoch })
	return a.tenures[i]
}

func (w *world) endTenure(a *agent, s segment) { w.tenureOf(a, s).ended = true }

func (w *world) checkpointed(t *topic) bool {
	return w.newest != nil && slices.ContainsFunc(w.newest.topics, func(c rebuild.Topic) bool { return c.ID == t.id })
}

// retain is its first step, retainReferences the second.
func (w *world) retain() {
	if p, ok := pick(w, w.parts()); ok {
		p.logStart += w.Int64N(p.end() - p.logStart + 1)
	}
}

func (w *world) retainReferences() {
	p, ok := pick(w, w.parts())
	for ok && len(p.segments) > 0 && p.segments[0].end() <= p.logStart && w.IntN(4) > 0 {
		w.unreference(p.segments[0].object)
		p.segments = p.segments[1:]
	}
}

func (w *world) unreference(o *object) {
	o.refs--
	o.freed = o.refs == 0
}

// planCompaction takes runs of some partitions, within one epoch each, and writes the output.
func (w *world) planCompaction() {
	made := plan{output: w.newObject()}
	for _, p := range w.parts() {
		if len(p.segments) < 2 || w.IntN(3) == 0 {
			continue
		}
		from := w.IntN(len(p.segments) - 1)
		to := from + 1
		for to < len(p.segments) && p.segments[to].epoch == p.segments[from].epoch && w.IntN(5) > 0 {
			to++
		}
		inputs := slices.Clone(p.segments[from:to])
		s := inputs[0].segment
		s.records = nil
		for _, in := range inputs {
			s.records = append(s.records, in.records...)
		}
		made.output.segments = append(made.output.segments, s)
		made.inputs = append(made.inputs, inputs)
	}
	if len(made.inputs) == 0 {
		return
	}
	made.output.inBucket = true
	w.objects = append(w.objects, made.output)
	w.plans = append(w.plans, made)
}

// commitCompaction replaces the runs that are as they were; or nobody ever does.
func (w *world) commitCompaction() {
	if len(w.plans) == 0 {
		return
	}
	i := w.IntN(len(w.plans))
	made := w.plans[i]
	w.plans = slices.Delete(w.plans, i, i+1)
	if made.output.decided || w.IntN(4) == 0 {
		return
	}
	made.output.decided = true
	for i, inputs := range made.inputs {
		p := inputs[0].part
		at := slices.IndexFunc(p.segments, func(s placed) bool { return s.base == inputs[0].base })
		if p.topic.deleted || at < 0 || at+len(inputs) > len(p.segments) || !slices.EqualFunc(p.segments[at:at+len(inputs)], inputs, same) {
			continue
		}
		for _, in := range inputs {
			w.unreference(in.object)
		}
		p.segments = slices.Replace(p.segments, at, at+len(inputs), placed{made.output.segments[i], made.output})
		made.output.refs++
	}
	made.output.freed = made.output.refs == 0
}

func same(a, b placed) bool { return a.object == b.object && a.base == b.base && a.end() == b.end() }

// checkpoint begins one, reads one more partition for it, or puts it into the bucket.
func (w *world) checkpoint() {
	if w.writing == nil {
		w.numbers++
		for _, o := range w.objects {
			if o.freed && o.freedIn == 0 {
				o.freedIn = w.numbers
			}
		}
		w.writing = &checkpoint{number: w.numbers, marks: map[*part]row{}}
		w.unread = nil
		for _, t := range w.topics {
			if t.purged {
				continue
			}
			w.writing.topics = append(w.writing.topics, rebuild.Topic{
				ID: t.id, Name: t.name, CreatedAt: t.created, Partitions: int32(len(t.parts)), Deleted: t.deleted,
			})
			w.unread = append(w.unread, t.parts...)
		}
	}
	for len(w.unread) > 0 && w.IntN(3) > 0 {
		p := w.unread[0]
		w.unread = w.unread[1:]
		w.writing.marks[p] = row{p.logStart, p.end(), p.epoch}
	}
	if len(w.unread) > 0 {
		return
	}
	w.newest, w.writing = w.writing, nil
	for _, t := range w.topics { // descriptions of topics whose deletion it has
		if i := slices.IndexFunc(w.newest.topics, func(c rebuild.Topic) bool { return c.ID == t.id }); t.deleted && (i < 0 || w.newest.topics[i].Deleted) {
			t.described = false
		}
	}
}

func (w *world) deleteFreed() {
	for _, o := range w.objects {
		if o.freed && o.freedIn > 0 && w.newest != nil && o.freedIn <= w.newest.number && w.kept == nil {
			o.inBucket = false
		}
	}
}

// sweep kills keys that nobody has committed.
func (w *world) sweep() {
	for _, o := range w.objects {
		if !o.decided && w.IntN(3) == 0 {
			o.decided, o.inBucket = true, false
		}
	}
}

func (w *world) deleteTopic() {
	if t, ok := pick(w, w.topics); ok && w.IntN(2) == 0 {
		t.deleted = true
	}
}

// purge removes what deleted topics refer to, and forgets those of which nothing is left and whose deletion is in a checkpoint.
func (w *world) purge() {
	for _, t := range w.topics {
		if !t.deleted {
			continue
		}
		left := 0
		for _, p := range t.parts {
			for len(p.segments) > 0 && w.IntN(4) > 0 {
				w.unreference(p.segments[0].object)
				p.segments = p.segments[1:]
			}
			left += len(p.segments)
		}
		if left == 0 && !t.described {
			t.purged = true
		}
	}
}

// widen adds a partition to a topic.
func (w *world) widen() {
	if t, ok := pick(w, w.topics); ok && !t.deleted && len(t.parts) < 4 {
		t.parts = append(t.parts, &part{topic: t, number: len(t.parts)})
	}
}

// bucket are the objects that are there, in any order; some that were under way come in at last.
func (w *world) bucket() (there []*object) {
	w.arrive()
	for _, o := range w.objects {
		if o.inBucket {
			there = append(there, o)
		}
	}
	w.Shuffle(len(there), func(i, j int) { there[i], there[j] = there[j], there[i] })
	return there
}

// candidates are a partition's in these objects; stored finds the segment of one.
func candidates(of *part, objects []*object) (found []rebuild.Segment, stored []segment) {
	for _, o := range objects {
		for _, s := range o.segments {
			if s.part != of {
				continue
			}
			found = append(found, rebuild.Segment{
				ID: int64(len(stored)), Epoch: s.epoch, BaseOffset: s.base, TenureFirst: s.tenureFirst, RecordCount: int32(len(s.records)), SizeBytes: int32(100 * len(s.records)),
			})
			stored = append(stored, s)
		}
	}
	return found, stored
}

// judge holds a partition's log against the truth. Above the truth there may be what the newest tenure, of those that are heard of, wrote last.
func judge(t *testing.T, where string, p *part, from int64, known rebuild.Known, log rebuild.Log, stored []segment) {
	t.Helper()
	if log.HighWatermark < p.end() || log.Lost != 0 {
		t.Fatalf("%s: the log ends at %d (%d said to be lost), %d were acknowledged", where, log.HighWatermark, log.Lost, p.end())
	}
	newest := int32(0)
	for _, s := range stored {
		newest = max(newest, s.epoch)
	}
	for _, m := range known.Marks {
		newest = max(newest, m.Epoch)
	}
	next := from
	for i, c := range log.Chain {
		s := stored[c.ID]
		if (c.BaseOffset != next && !(i == 0 && c.BaseOffset < from)) || c.BaseOffset != s.base || c.End() != s.end() {
			t.Fatalf("%s: segment %d..%d where %d was wanted", where, c.BaseOffset, c.End(), next)
		}
		for at := c.BaseOffset; at < min(c.End(), p.end()); at++ {
			if got := s.records[at-s.base]; at >= from && got != p.log[at] {
				t.Fatalf("%s: offset %d has record %d of epoch %d, %d was acknowledged", where, at, got, s.epoch, p.log[at])
			}
		}
		if c.End() > p.end() && c.Epoch < newest {
			t.Fatalf("%s: what is above %d is of epoch %d and was refused: epoch %d had begun", where, p.end(), c.Epoch, newest)
		}
		next = c.End()
	}
	if next != log.HighWatermark {
		t.Fatalf("%s: the chain ends at %d, not at %d", where, next, log.HighWatermark)
	}
}

const (
	histories = 4000
	longest   = 400
)

// TestP9_RandomHistories loses the catalog at any moment of thousands of histories, and has it rebuilt from the bucket alone.
func TestP9_RandomHistories(t *testing.T) {
	t.Parallel()
	acknowledged, dropped := int64(0), 0
	for seed := range uint64(histories) {
		w := newWorld(seed)
		w.run(w.IntN(longest))
		objects := w.bucket()
		topics := w.rebuiltTopics(objects)
		for _, truth := range w.topics {
			got, found := topics[truth.id]
			if truth.deleted || !truth.everStored {
				continue // it may come back, or not have been there
			}
			if !found || got.Partitions < int32(len(truth.parts)) && w.stored(truth.parts[got.Partitions:]) {
				t.Fatalf("seed %d: topic %s (%x) is %v", seed, truth.name, truth.id, got)
			}
			for _, p := range truth.parts[:got.Partitions] {
				found, stored := candidates(p, objects)
				dropped += len(found)
				known := rebuild.Known{}
				if w.newest != nil {
					if m, has := w.newest.marks[p]; has {
						known = rebuild.Known{LogStart: m.logStart, Marks: []rebuild.Mark{{HighWatermark: m.highWatermark, Epoch: m.epoch}}}
					}
				}
				log := rebuild.Follow(known, found)
				dropped -= len(log.Chain)
				judge(t, fmt.Sprintf("seed %d, topic %x, partition %d", seed, truth.id, p.number), p, known.LogStart, known, log, stored)
				acknowledged += p.end() - known.LogStart
			}
		}
	}
	if acknowledged < 5*histories || dropped < histories {
		t.Errorf("%d records, %d segments dropped: the histories are too tame", acknowledged, dropped)
	}
	t.Logf("%d histories: %d acknowledged records found, %d segments left out", histories, acknowledged, dropped)
}

func (w *world) stored(parts []*part) bool {
	return slices.ContainsFunc(parts, func(p *part) bool { return p.end() > 0 })
}

func (w *world) rebuiltTopics(objects []*object) map[rebuild.TopicID]rebuild.Topic {
	var checkpointed, described []rebuild.Topic
	if w.newest != nil {
		checkpointed = w.newest.topics
	}
	for _, t := range w.topics {
		if t.described {
			described = append(described, rebuild.Topic{ID: t.id, Name: t.name, CreatedAt: t.created, Partitions: 1})
		}
	}
	seen := map[rebuild.TopicID]int32{}
	for _, o := range objects {
		for _, s := range o.segments {
			seen[s.part.topic.id] = max(seen[s.part.topic.id], int32(s.part.number)+1)
		}
	}
	byID := map[rebuild.TopicID]rebuild.Topic{}
	names := map[string]bool{}
	for _, t := range rebuild.Topics(checkpointed, described, func(id rebuild.TopicID) int32 { return seen[id] }) {
		if names[t.Name] {
			panic("two topics are called " + t.Name)
		}
		names[t.Name] = true
		byID[t.ID] = t
	}
	return byID
}

// TestP9_RandomBackups restores a backup of some moment, and rolls it forward from the bucket.
func TestP9_RandomBackups(t *testing.T) {
	t.Parallel()
	lost, rolled := int64(0), int64(0)
	for seed := range uint64(histories) {
		w := newWorld(seed + histories)
		w.run(w.IntN(longest / 2))
		w.backup()
		w.run(w.IntN(longest / 2))
		var unknown []*object
		for _, o := range w.bucket() {
			if !w.kept.decided[o] {
				unknown = append(unknown, o)
			}
		}
		for _, p := range w.parts() {
			found, stored := candidates(p, unknown)
			was := w.kept.rows[p] // a partition made since was empty then
			known := rebuild.Known{LogStart: was.highWatermark, Exact: true, Marks: []rebuild.Mark{{HighWatermark: was.highWatermark, Epoch: was.epoch}}}
			if w.newest != nil {
				if m, has := w.newest.marks[p]; has {
					known.Marks = append(known.Marks, rebuild.Mark{HighWatermark: m.highWatermark, Epoch: m.epoch})
				}
			}
			log := rebuild.Follow(known, found)
			judge(t, fmt.Sprintf("seed %d, topic %x, partition %d", seed+histories, p.topic.id, p.number), p, was.highWatermark, known, log, stored)
			lost += p.end() - was.highWatermark
			rolled += log.HighWatermark - p.end()
		}
	}
	if lost < histories {
		t.Errorf("only %d records were lost", lost)
	}
	t.Logf("%d backups: %d lost records found again, and %d that were never acknowledged", histories, lost, rolled)
}

func (w *world) backup() {
	w.kept = &memory{rows: map[*part]row{}, decided: map[*object]bool{}}
	for _, t := range w.topics {
		for _, p := range t.parts {
			w.kept.rows[p] = row{p.logStart, p.end(), p.epoch}
		}
	}
	for _, o := range w.objects {
		w.kept.decided[o] = o.decided
	}
}
