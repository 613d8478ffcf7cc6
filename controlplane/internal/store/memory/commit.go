package memory

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// object is a key whose fate is decided.
type object struct {
	// outcome is what every repeat is answered with; nil: a tombstone.
	outcome *controlplanev1.ObjectOutcome
	// references of segments; when the last went, and the checkpoint that began after that (0: none yet).
	references int
	sizeBytes  int64
	committed  time.Time // the newest commit of what is in it
	compacted  compacted
	freeSince  time.Time
	freedIn    int64
	killedAt   time.Time // of a tombstone
	gone       bool      // the bucket has it no more
	// keyCompacted is what a repeat of its commit is answered with, of an object that compaction by key has written.
	keyCompacted *controlplanev1.CommitKeyCompactionResponse
}

// segment is a run of records in an object.
type segment struct {
	key         string
	entry       *controlplanev1.SegmentCommit
	committedAt time.Time
}

func (g segment) end() int64 { return g.entry.GetBaseOffset() + int64(g.entry.GetRecordCount()) }

// Commit is section 4 of the protocol, in its order.
func (s *Store) Commit(_ context.Context, name store.AgentGroup, request *controlplanev1.CommitRequest) (*controlplanev1.CommitResponse, error) {
	id, err := parseSession(request.GetSessionId())
	if err != nil {
		return nil, err
	}
	if err := wellFormed(name, id, request.GetObjects()); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refuseUnserved(); err != nil {
		return nil, err
	}
	writer := s.sessions[id]
	if writer != nil && writer.group.name != name && s.anyNew(request.GetObjects()) {
		return nil, store.Refuse(refusalv1.Reason_REASON_WRONG_AGENT_GROUP, "the session belongs to another agent group")
	}
	response := &controlplanev1.CommitResponse{}
	for _, o := range request.GetObjects() {
		response.Objects = append(response.Objects, s.commitObject(name, writer, o))
	}
	return response, nil
}

func (s *Store) anyNew(objects []*controlplanev1.ObjectCommit) bool {
	return slices.ContainsFunc(objects, func(o *controlplanev1.ObjectCommit) bool { return s.objects[o.GetKey()] == nil })
}

func (s *Store) commitObject(name store.AgentGroup, writer *session, o *controlplanev1.ObjectCommit) *controlplanev1.ObjectOutcome {
	// First the key: a repeat is answered with what happened the first time, a tombstone kills.
	if before := s.objects[o.GetKey()]; before != nil {
		if before.outcome == nil {
			return refuseObject(o, refusalv1.Reason_REASON_OBJECT_TOMBSTONED, refusalv1.Written_WRITTEN_SURELY_NOT)
		}
		return proto.CloneOf(before.outcome)
	}
	// The session must exist, ended or not; without it, possibly, for the rows of its keys may be gone too. Nothing is kept then.
	if writer == nil {
		return refuseObject(o, refusalv1.Reason_REASON_SESSION_EXPIRED, refusalv1.Written_WRITTEN_POSSIBLY)
	}
	// What the session has settled, and is not known any more, is refused for good. Nothing is kept either.
	if _, counter, _ := writerOf(name, o.GetKey()); counter < writer.settled {
		return refuseObject(o, refusalv1.Reason_REASON_OBJECT_TOMBSTONED, refusalv1.Written_WRITTEN_SURELY_NOT)
	}
	// Then every entry by itself. What came of it, failures included, is kept.
	outcome := &controlplanev1.ObjectOutcome{Key: o.GetKey()}
	for _, entry := range o.GetSegments() {
		outcome.Segments = append(outcome.Segments, s.commitSegment(name, writer, o.GetKey(), entry))
	}
	kept := &object{outcome: proto.CloneOf(outcome), freeSince: time.Now(), sizeBytes: o.GetSizeBytes(), committed: time.Now()}
	for _, segment := range outcome.GetSegments() {
		if segment.GetResult() == controlplanev1.SegmentResult_SEGMENT_RESULT_COMMITTED {
			kept.references++
		}
	}
	s.objects[o.GetKey()] = kept
	return outcome
}

func refuseObject(o *controlplanev1.ObjectCommit, reason refusalv1.Reason, written refusalv1.Written) *controlplanev1.ObjectOutcome {
	return &controlplanev1.ObjectOutcome{Key: o.GetKey(), Refusal: &refusalv1.Refusal{Reason: reason, Written: written, Message: "the object cannot be committed"}}
}

func (s *Store) commitSegment(name store.AgentGroup, writer *session, key string, entry *controlplanev1.SegmentCommit) *controlplanev1.SegmentOutcome {
	t, p := s.find(entry.GetTopicId(), entry.GetPartition())
	if p == nil {
		return &controlplanev1.SegmentOutcome{Result: controlplanev1.SegmentResult_SEGMENT_RESULT_UNKNOWN_TOPIC, HighWatermark: -1}
	}
	if t.group.name != name { // P7
		return &controlplanev1.SegmentOutcome{Result: controlplanev1.SegmentResult_SEGMENT_RESULT_WRONG_AGENT_GROUP, HighWatermark: -1}
	}
	result, producers := p.judge(writer, entry)
	if result == controlplanev1.SegmentResult_SEGMENT_RESULT_COMMITTED {
		p.segments = append(p.segments, segment{key: key, entry: entry, committedAt: time.Now()})
		p.highWatermark += int64(entry.GetRecordCount())
		p.producers = producers
	}
	return &controlplanev1.SegmentOutcome{Result: result, HighWatermark: p.highWatermark, CurrentEpoch: p.epoch}
}

// judge decides about an entry; with COMMITTED comes what is known of producers afterwards.
func (p *partition) judge(writer *session, entry *controlplanev1.SegmentCommit) (controlplanev1.SegmentResult, map[int64]producer) {
	// P3: session and epoch must equal the row's. Whether the session has ended, or is silent, is not asked.
	if p.leader != writer || p.epoch != entry.GetEpoch() {
		return controlplanev1.SegmentResult_SEGMENT_RESULT_FENCED, nil
	}
	// P2: the base offset must equal the high watermark.
	if entry.GetBaseOffset() != p.highWatermark {
		return controlplanev1.SegmentResult_SEGMENT_RESULT_OFFSET_MISMATCH, nil
	}
	// P5: every producer's sequence must follow the stored one.
	producers := map[int64]producer{}
	maps.Copy(producers, p.producers)
	for _, b := range entry.GetProducerBatches() {
		next, result := producers[b.GetProducerId()].follow(b)
		if result != controlplanev1.SegmentResult_SEGMENT_RESULT_COMMITTED {
			return result, nil
		}
		producers[b.GetProducerId()] = next
	}
	return controlplanev1.SegmentResult_SEGMENT_RESULT_COMMITTED, producers
}

// Tombstone kills keys that were never committed.
func (s *Store) Tombstone(_ context.Context, keys []string) (dead []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refuseUnserved(); err != nil {
		return nil, err
	}
	for _, k := range keys {
		if s.objects[k] == nil {
			s.objects[k] = &object{killedAt: time.Now()}
		}
		if s.objects[k].outcome == nil {
			dead = append(dead, k)
		}
	}
	slices.Sort(dead)
	return slices.Compact(dead), nil
}

// wellFormed: keys lie under the agent group's prefix, name the session and are named once; segments come in order and lie in their
// object, producer batches likewise in their segment.
func wellFormed(name store.AgentGroup, id uuid.UUID, objects []*controlplanev1.ObjectCommit) error {
	shape := regexp.MustCompile(`^` + string(name) + `/[0-9a-f]{2}/(\d|\d\d|[01]\d\d|2[0-4]\d|25[0-5])-` + id.String() + `-\d{1,20}$`)
	seen := map[string]bool{}
	for i, o := range objects {
		field := fmt.Sprintf("objects[%d]", i)
		if !shape.MatchString(o.GetKey()) || seen[o.GetKey()] {
			return malformed(field + ".key")
		}
		seen[o.GetKey()] = true
		for j, entry := range o.GetSegments() {
			at := fmt.Sprintf("%s.segments[%d]", field, j)
			if j > 0 && !inOrder(o.GetSegments()[j-1], entry) {
				return malformed(at)
			}
			if err := fits(at, o, entry); err != nil {
				return err
			}
		}
	}
	return nil
}

func inOrder(a, b *controlplanev1.SegmentCommit) bool {
	return cmp.Or(bytes.Compare(a.GetTopicId(), b.GetTopicId()), cmp.Compare(a.GetPartition(), b.GetPartition())) < 0
}

func fits(at string, o *controlplanev1.ObjectCommit, entry *controlplanev1.SegmentCommit) error {
	if entry.GetBaseOffset() > math.MaxInt64-int64(entry.GetRecordCount()) {
		return malformed(at + ".base_offset")
	}
	if entry.GetBytePosition() > o.GetSizeBytes()-int64(entry.GetSizeBytes()) {
		return malformed(at + ".byte_position")
	}
	next, end := entry.GetBaseOffset(), entry.GetBaseOffset()+int64(entry.GetRecordCount())
	for i, b := range entry.GetProducerBatches() {
		if b.GetBaseOffset() < next || b.GetBaseOffset()+int64(b.GetRecordCount()) > end {
			return malformed(fmt.Sprintf("%s.producer_batches[%d].base_offset", at, i))
		}
		next = b.GetBaseOffset() + int64(b.GetRecordCount())
	}
	return nil
}

func malformed(field string) error {
	refused := store.Refuse(refusalv1.Reason_REASON_INVALID, "%s is malformed", field)
	refused.Refusal.Field, refused.Refusal.Written = field, refusalv1.Written_WRITTEN_SURELY_NOT
	return refused
}
