package memory

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/keycompaction"
	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// cleaned is how far a partition is compacted by key.
type cleaned struct {
	end, bytes, tombstones int64
	horizon                int64
	horizonAt, finishedAt  time.Time // zero: there was no pass
}

// age lets time pass.
func (c *cleaned) age(d time.Duration) {
	if !c.finishedAt.IsZero() {
		c.horizonAt, c.finishedAt = c.horizonAt.Add(-d), c.finishedAt.Add(-d)
	}
}

// compactsByKey tells whether the partition's topic says so.
func (p *partition) compactsByKey() bool {
	return !p.topic.deleted && p.topic.kept.policy != controlplanev1.CleanupPolicy_CLEANUP_POLICY_DELETE
}

// keyCompactDue finds the first partition that nobody is at and that is due. Every claim looks at all.
func (s *Store) keyCompactDue(g *group) (*partition, keycompaction.Pass, bool) {
	for _, t := range s.byID(g) {
		for _, p := range t.partitions {
			if pass, due := keycompaction.Due(s.dirt(p)); due && p.compactsByKey() && !s.working(g, controlplanev1.JobKind_JOB_KIND_KEY_COMPACT, p.subject()) {
				return p, pass, true
			}
		}
	}
	return nil, keycompaction.Pass{}, false
}

func (p *partition) subject() string { return fmt.Sprintf("%s/%d", p.topic.id, p.number) }

// dirt looks at a partition: dirty is what lies between the clean end and the first segment that is young.
func (s *Store) dirt(p *partition) keycompaction.State {
	jobs, c := s.config.Jobs, p.cleaned
	state := keycompaction.State{
		CleanEnd: max(c.end, p.logStart), CleanBytes: c.bytes, DirtyEnd: -1, Tombstones: c.tombstones, HorizonOffset: c.horizon,
		HorizonPassed: s.horizonPassed(p),
		Rested:        c.finishedAt.IsZero() || time.Since(c.finishedAt) >= jobs.KeyCompactionInterval,
	}
	young := max(time.Duration(p.topic.kept.lagMs)*time.Millisecond, jobs.KeyCompactionMinAge)
	for _, g := range p.segments {
		if g.end() <= state.CleanEnd {
			continue
		}
		if time.Since(g.committedAt) < young {
			break
		}
		state.DirtyEnd = g.end()
		count := int64(g.entry.GetRecordCount())
		state.DirtyBytes += int64(g.entry.GetSizeBytes()) * min(g.end()-state.CleanEnd, count) / count
	}
	return state
}

func (s *Store) horizonPassed(p *partition) bool {
	kept := time.Duration(p.topic.kept.tombstonesMs) * time.Millisecond
	return !p.cleaned.finishedAt.IsZero() && time.Since(p.cleaned.horizonAt) >= kept && !s.waiting(p.topic.group, p.cleaned.horizonAt)
}

// waiting tells whether objects that were freed by then are still in the bucket.
func (s *Store) waiting(g *group, then time.Time) bool {
	for key, o := range s.objects {
		if groupOf(key) == g.name && o.outcome != nil && o.references == 0 && !o.gone && !o.freeSince.After(then) {
			return true
		}
	}
	return false
}

// tellKeyCompact is nil where nothing of the job is left.
func (s *Store) tellKeyCompact(j *job) *controlplanev1.Job_KeyCompact {
	p := j.partition
	if !p.compactsByKey() || p.logStart > j.pass.End {
		return nil
	}
	j.runs++
	work := &controlplanev1.KeyCompactWork{
		TopicId: p.topic.id[:], Partition: p.number, CleanEnd: max(j.pass.CleanEnd, p.logStart), End: j.pass.End,
		DropTombstonesBelow: j.pass.DropTombstonesBelow, Incarnation: s.trust.incarnation, Run: j.runs,
	}
	for _, known := range p.producers {
		for _, b := range known.batches {
			if b.GetBaseOffset() < j.pass.End {
				work.ProducerBatches = append(work.ProducerBatches, b.GetBaseOffset())
			}
		}
	}
	slices.Sort(work.GetProducerBatches())
	return &controlplanev1.Job_KeyCompact{KeyCompact: work}
}

// keyCompaction is the job of a call, of this kind.
func (s *Store) keyCompaction(name store.AgentGroup, text string) (*job, error) {
	j, err := s.jobOf(name, text)
	if err == nil && j.kind != controlplanev1.JobKind_JOB_KIND_KEY_COMPACT {
		err = invalid("job_id", "is another kind of job's")
	}
	return j, err
}

// CommitKeyCompaction exchanges segment by segment.
func (s *Store) CommitKeyCompaction(_ context.Context, name store.AgentGroup, request *controlplanev1.CommitKeyCompactionRequest) (
	*controlplanev1.CommitKeyCompactionResponse, error,
) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if field := misplaced(request.GetSegments()); field != "" {
		return nil, invalid(field, "does not follow")
	}
	j, err := s.keyCompaction(name, request.GetJobId())
	if err != nil {
		return nil, err
	}
	key := request.GetObjectKey()
	if groupOf(key) != name || !strings.Contains(key, "-"+j.output.String()+"-") {
		return nil, invalid("object_key", "is not the job's")
	}
	if o := s.objects[key]; o != nil {
		if o.keyCompacted == nil {
			return nil, store.Refuse(refusalv1.Reason_REASON_OBJECT_TOMBSTONED, "the key is dead")
		}
		return o.keyCompacted, nil
	}
	o := &object{outcome: &controlplanev1.ObjectOutcome{}, keyCompacted: &controlplanev1.CommitKeyCompactionResponse{}, freeSince: time.Now()}
	s.objects[key] = o
	for _, made := range request.GetSegments() {
		if j.partition.compactsByKey() && s.exchange(j.partition, key, made) {
			o.references++
			o.keyCompacted.Accepted++
		} else {
			o.keyCompacted.LeftOut++
		}
	}
	return o.keyCompacted, nil
}

// misplaced names the first entry that does not stand where it should; empty: none.
func misplaced(segments []*controlplanev1.KeyCompactedSegment) string {
	end := int64(0)
	for i, s := range segments {
		first := s.GetInputs()[0]
		if first.GetBaseOffset() < end {
			return fmt.Sprintf("segments[%d]", i)
		}
		end = first.GetBaseOffset()
		for k, in := range s.GetInputs() {
			if in.GetBaseOffset() != end || in.GetEpoch() != first.GetEpoch() {
				return fmt.Sprintf("segments[%d].inputs[%d]", i, k)
			}
			end += int64(in.GetRecordCount())
		}
	}
	return ""
}

// exchange puts one segment in the place of what it was made of. False: that is not there any more.
func (s *Store) exchange(p *partition, key string, made *controlplanev1.KeyCompactedSegment) bool {
	inputs := made.GetInputs()
	at := slices.IndexFunc(p.segments, func(g segment) bool { return g.entry.GetBaseOffset() == inputs[0].GetBaseOffset() })
	if at < 0 || at+len(inputs) > len(p.segments) {
		return false
	}
	old := slices.Clone(p.segments[at : at+len(inputs)])
	newest, count := old[0].committedAt, int32(0)
	for i, in := range inputs {
		e := old[i].entry
		if e.GetBaseOffset() != in.GetBaseOffset() || e.GetRecordCount() != in.GetRecordCount() || e.GetEpoch() != in.GetEpoch() ||
			e.GetSizeBytes() != in.GetSizeBytes() || e.GetCrc32C() != in.GetCrc32C() {
			return false
		}
		count += in.GetRecordCount()
		if old[i].committedAt.After(newest) {
			newest = old[i].committedAt
		}
	}
	p.segments = slices.Replace(p.segments, at, at+len(inputs), segment{key: key, committedAt: newest, entry: &controlplanev1.SegmentCommit{
		TopicId: p.topic.id[:], Partition: p.number, Epoch: inputs[0].GetEpoch(), BaseOffset: inputs[0].GetBaseOffset(), RecordCount: count,
		BytePosition: made.GetBytePosition(), SizeBytes: made.GetSizeBytes(), Crc32C: made.GetCrc32C(), MaxTimestampMs: made.GetMaxTimestampMs(),
	}})
	for _, g := range old {
		s.unrefer(g.key)
	}
	return true
}

// FinishKeyCompaction moves the clean end.
func (s *Store) FinishKeyCompaction(_ context.Context, name store.AgentGroup, request *controlplanev1.FinishKeyCompactionRequest) (
	*controlplanev1.FinishKeyCompactionResponse, error,
) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j, err := s.keyCompaction(name, request.GetJobId())
	if err != nil {
		return nil, err
	}
	end := request.GetCleanEnd()
	if end < j.pass.CleanEnd || end > j.pass.End {
		return nil, invalid("clean_end", "is not within the job's")
	}
	before := j.partition.cleaned
	now := cleaned{end: end, bytes: request.GetCleanBytes(), tombstones: request.GetTombstones(), horizon: end, horizonAt: time.Now(), finishedAt: time.Now()}
	if j.pass.DropTombstonesBelow == 0 && !before.finishedAt.IsZero() {
		now.horizon, now.horizonAt = min(before.horizon, end), before.horizonAt
	}
	j.partition.cleaned = now
	return &controlplanev1.FinishKeyCompactionResponse{}, nil
}
