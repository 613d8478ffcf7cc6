package memory

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/checksum"

	"github.com/streamhouse/streamhouse/controlplane/internal/compaction"
	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// compacted is what compaction knows of an object.
type compacted struct {
	level       int
	first, last compaction.Place
}

// compactionJob is what a job of compaction has, and how far it has come.
type compactionJob struct {
	level   int
	inputs  []compaction.Candidate
	target  int64
	outputs int64
	output  *controlplanev1.CompactionOutput
}

func (j *compactionJob) work(incarnation int32) *controlplanev1.CompactWork {
	work := &controlplanev1.CompactWork{TargetBytes: j.target, Incarnation: incarnation, Outputs: j.outputs, Output: j.output}
	for _, c := range j.inputs {
		work.ObjectKeys, work.ObjectBytes = append(work.ObjectKeys, c.Key), append(work.ObjectBytes, c.SizeBytes)
	}
	return work
}

// compactionDue says whether anything is worth compacting.
func (s *Store) compactionDue(g *group) (subject string, due bool) {
	if s.config.Jobs.CompactionOff {
		return "", false
	}
	j := s.planCompaction(g)
	if j == nil {
		return "", false
	}
	return j.inputs[0].Key, true
}

// planCompaction asks the one planner; nil: there is nothing to do.
func (s *Store) planCompaction(g *group) *compactionJob {
	taken := map[string]bool{}
	for _, j := range s.jobs {
		if j.compaction != nil {
			for _, c := range j.compaction.inputs {
				taken[c.Key] = true
			}
		}
	}
	for level := range compaction.Levels {
		plan := compaction.Choose(level, s.candidates(g, level, taken), s.config.Jobs.CompactionConfig())
		for _, c := range plan.Leave {
			s.objects[c.Key].compacted.level = compaction.Settled
		}
		if len(plan.Inputs) > 0 {
			return &compactionJob{level: level, inputs: plan.Inputs, target: s.config.Jobs.CompactionTargetBytes}
		}
	}
	return nil
}

func (s *Store) candidates(g *group, level int, taken map[string]bool) (all []compaction.Candidate) {
	for key, o := range s.objects {
		if groupOf(key) != g.name || o.outcome == nil || o.references == 0 || o.compacted.level != level || taken[key] ||
			time.Since(o.committed) <= s.config.Jobs.CompactionMinAge {
			continue
		}
		all = append(all, compaction.Candidate{
			Key: key, SizeBytes: o.sizeBytes, References: int32(o.references), Age: time.Since(o.committed), First: o.compacted.first, Last: o.compacted.last,
		})
	}
	slices.SortFunc(all, func(a, b compaction.Candidate) int {
		return cmp.Or(s.objects[a.Key].committed.Compare(s.objects[b.Key].committed), cmp.Compare(a.Key, b.Key))
	})
	return all[:min(len(all), compaction.Page)]
}

// compacted: what is still referred to is not tried at its level again.
func (s *Store) compacted(j *compactionJob) {
	for _, c := range j.inputs {
		if o := s.objects[c.Key]; o != nil && o.references > 0 && o.compacted.level == j.level {
			o.compacted.level++
		}
	}
}

func (s *Store) compactionOf(name store.AgentGroup, jobID string) (*job, error) {
	j, err := s.jobOf(name, jobID)
	if err == nil && j.compaction == nil {
		err = invalid("job_id", "is not one of compaction")
	}
	return j, err
}

// AnnounceOutput remembers what is about to be written.
func (s *Store) AnnounceOutput(_ context.Context, name store.AgentGroup, request *controlplanev1.AnnounceOutputRequest) (
	*controlplanev1.AnnounceOutputResponse, error,
) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j, err := s.compactionOf(name, request.GetJobId())
	if err != nil {
		return nil, err
	}
	key := request.GetOutput().GetObjectKey()
	if groupOf(key) != name || !strings.Contains(key, "-"+j.output.String()+"-") {
		return nil, invalid("output.object_key", "is not one of the job's")
	}
	if j.compaction.output.GetObjectKey() != key {
		j.compaction.outputs++
	}
	j.compaction.output = request.GetOutput()
	return &controlplanev1.AnnounceOutputResponse{}, nil
}

// CommitCompaction replaces each run of which all is there and nothing else.
func (s *Store) CommitCompaction(_ context.Context, name store.AgentGroup, request *controlplanev1.CommitCompactionRequest) (
	*controlplanev1.CommitCompactionResponse, error,
) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j, err := s.compactionOf(name, request.GetJobId())
	if err != nil {
		return nil, err
	}
	key := request.GetObjectKey()
	if j.compaction.output.GetObjectKey() != key {
		return nil, invalid("object_key", "was not announced last")
	}
	if err := compactedInOrder(request.GetSegments()); err != nil {
		return nil, err
	}
	response := &controlplanev1.CommitCompactionResponse{}
	o := s.objects[key]
	switch {
	case o != nil && o.outcome == nil:
		return nil, store.Refuse(refusalv1.Reason_REASON_OBJECT_TOMBSTONED, "the output is dead")
	case o != nil:
		response.Accepted = s.refersTo(key, request.GetSegments())
		return response, nil
	}
	segments := request.GetSegments()
	o = &object{
		outcome: &controlplanev1.ObjectOutcome{}, freeSince: time.Now(), sizeBytes: j.compaction.output.GetSizeBytes(),
		compacted: compacted{level: j.compaction.level + 1, first: placeOf(segments[0]), last: placeOf(segments[len(segments)-1])},
	}
	s.objects[key] = o
	for _, segment := range segments {
		replaced, accepted := s.replace(name, key, o, segment)
		if !accepted {
			response.LeftOut++
			continue
		}
		response.Accepted++
		response.Replaced += replaced
	}
	return response, nil
}

func placeOf(s *controlplanev1.CompactedSegment) compaction.Place {
	return compaction.PlaceOf(uuid.UUID(s.GetTopicId()), s.GetPartition())
}

func compactedInOrder(segments []*controlplanev1.CompactedSegment) error {
	for i, s := range segments {
		if len(s.GetTopicId()) != len(uuid.UUID{}) {
			return invalid(fmt.Sprintf("segments[%d].topic_id", i), "must be 16 bytes")
		}
		if i == 0 {
			continue
		}
		before := segments[i-1]
		order := cmp.Or(bytes.Compare(before.GetTopicId(), s.GetTopicId()), cmp.Compare(before.GetPartition(), s.GetPartition()))
		if order > 0 || (order == 0 && s.GetBaseOffset() < before.GetBaseOffset()+int64(before.GetRecordCount())) {
			return invalid(fmt.Sprintf("segments[%d]", i), "is out of order")
		}
	}
	return nil
}

// refersTo counts the segments that are in the catalog already.
func (s *Store) refersTo(key string, segments []*controlplanev1.CompactedSegment) (n int32) {
	for _, c := range segments {
		if _, p := s.find(c.GetTopicId(), c.GetPartition()); p != nil && slices.ContainsFunc(p.segments, func(g segment) bool {
			return g.key == key && g.entry.GetBaseOffset() == c.GetBaseOffset()
		}) {
			n++
		}
	}
	return n
}

func (s *Store) replace(name store.AgentGroup, key string, o *object, with *controlplanev1.CompactedSegment) (replaced int32, accepted bool) {
	t, p := s.find(with.GetTopicId(), with.GetPartition())
	if p == nil || t.group.name != name {
		return 0, false
	}
	end := with.GetBaseOffset() + int64(with.GetRecordCount())
	inside := func(g segment) bool {
		return g.entry.GetBaseOffset() >= with.GetBaseOffset() && g.entry.GetBaseOffset() < end
	}
	first := slices.IndexFunc(p.segments, inside)
	if first < 0 {
		return 0, false
	}
	next, size, sum, newest := with.GetBaseOffset(), int64(0), uint32(0), int64(0)
	last := first
	for ; last < len(p.segments) && inside(p.segments[last]); last++ {
		g := p.segments[last].entry
		if g.GetBaseOffset() != next || g.GetEpoch() != with.GetEpoch() || p.segments[last].end() <= p.logStart {
			return 0, false
		}
		if last == first || g.GetMaxTimestampMs() > newest {
			newest = g.GetMaxTimestampMs()
		}
		next, size = p.segments[last].end(), size+int64(g.GetSizeBytes())
		sum = checksum.Combine(sum, g.GetCrc32C(), int64(g.GetSizeBytes()))
	}
	if next != end || size != int64(with.GetSizeBytes()) || sum != with.GetCrc32C() || newest != with.GetMaxTimestampMs() {
		return 0, false
	}
	for _, g := range p.segments[first:last] {
		s.unrefer(g.key)
		if from := s.objects[g.key].committed; from.After(o.committed) {
			o.committed = from
		}
	}
	o.references++
	made := segment{key: key, committedAt: o.committed, entry: &controlplanev1.SegmentCommit{
		TopicId: with.GetTopicId(), Partition: with.GetPartition(), Epoch: with.GetEpoch(), BaseOffset: with.GetBaseOffset(), RecordCount: with.GetRecordCount(),
		BytePosition: with.GetBytePosition(), SizeBytes: with.GetSizeBytes(), Crc32C: with.GetCrc32C(), MaxTimestampMs: with.GetMaxTimestampMs(),
	}}
	p.segments = slices.Replace(p.segments, first, last, made)
	return int32(last - first), true
}
