package memory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/keycompaction"
	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// upkeep is how far the work on an agent group's part of the bucket has come.
type upkeep struct {
	begun, finished int64 // numbers of checkpoints
	begunAt         int64 // revision of the agent group when the newest one began
	finishedAt      time.Time
	nextShard       int32
	shardDueAt      time.Time
	looked          bool // somebody has asked for work before
}

// job is work that somebody is at.
type job struct {
	group      *group
	kind       controlplanev1.JobKind
	subject    string
	id         uuid.UUID
	output     uuid.UUID
	owner      uuid.UUID      // session
	sequence   int            // in the order of claims
	compaction *compactionJob // of that kind alone
	// Of one that compacts by key.
	partition *partition
	pass      keycompaction.Pass
	runs      int32 // how often it was told
}

// groupOf is the agent group that a key lies under.
func groupOf(key string) store.AgentGroup {
	name, _, _ := strings.Cut(key, "/")
	return store.AgentGroup(name)
}

// unrefer takes a reference off an object; with the last one it begins to wait for its deletion.
func (s *Store) unrefer(key string) {
	o := s.objects[key]
	if o.references--; o.references == 0 {
		o.freeSince = time.Now()
	}
}

// deletable: nothing refers to it and no checkpoint needs it, or it is dead.
func (o *object) deletable(finished int64, grace time.Duration) bool {
	switch {
	case o.gone || o.references > 0:
		return false
	case o.outcome == nil:
		return time.Since(o.killedAt) > min(grace, time.Minute)
	default:
		return o.freedIn > 0 && o.freedIn <= finished && time.Since(o.freeSince) > grace
	}
}

// ClaimJob looks for the session's own first, then what was left, then new work.
func (s *Store) ClaimJob(_ context.Context, name store.AgentGroup, request *controlplanev1.ClaimJobRequest) (*controlplanev1.ClaimJobResponse, error) {
	id, err := parseSession(request.GetSessionId())
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refuseUnserved(); err != nil {
		return nil, err
	}
	n := s.known(name, id)
	if refusal := refuseEnded(n); refusal != nil {
		return nil, &store.Refused{Refusal: refusal}
	}
	response := &controlplanev1.ClaimJobResponse{}
	if n.leaving() {
		return response, nil
	}
	if !n.group.upkeep.looked {
		n.group.upkeep.looked, n.group.upkeep.shardDueAt = true, time.Now()
		response.RetryAfterMs = 100
		return response, nil
	}
	response.Job = s.findJob(n, request.GetKinds())
	return response, nil
}

func (s *Store) findJob(n *session, kinds []controlplanev1.JobKind) *controlplanev1.Job {
	mine := func(j *job) bool { return j.owner == n.id }
	left := func(j *job) bool {
		owner := s.sessions[j.owner]
		return owner == nil || !owner.lives() || owner.suspect
	}
	if j := s.pickJob(n.group, kinds, mine, func(*job) int { return 0 }); j != nil {
		return s.tell(j, false)
	}
	if j := s.pickJob(n.group, kinds, left, func(j *job) int { return j.sequence }); j != nil {
		j.id, j.owner = s.config.NewID(), n.id
		s.jobCount++
		j.sequence = s.jobCount
		return s.tell(j, true)
	}
	for _, kind := range kinds {
		subject, due := s.due(n.group, kind)
		if !due {
			continue
		}
		s.jobCount++
		j := &job{group: n.group, kind: kind, subject: subject, id: s.config.NewID(), owner: n.id, sequence: s.jobCount}
		if kind == controlplanev1.JobKind_JOB_KIND_KEY_COMPACT {
			j.partition, j.pass, _ = s.keyCompactDue(n.group)
		}
		j.output = j.id
		if kind == controlplanev1.JobKind_JOB_KIND_COMPACT {
			j.compaction = s.planCompaction(n.group)
		}
		s.jobs = append(s.jobs, j)
		if told := s.tell(j, false); told != nil {
			return told
		}
	}
	return nil
}

func (s *Store) pickJob(g *group, kinds []controlplanev1.JobKind, fits func(*job) bool, age func(*job) int) *job {
	var found []*job
	for _, j := range s.jobs {
		if j.group == g && slices.Contains(kinds, j.kind) && fits(j) {
			found = append(found, j)
		}
	}
	if len(found) == 0 {
		return nil
	}
	return slices.MinFunc(found, func(a, b *job) int { return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(age(a), age(b))) })
}

// due says whether there is new work of a kind, and begins it.
func (s *Store) due(g *group, kind controlplanev1.JobKind) (subject string, due bool) {
	u := &g.upkeep
	switch kind {
	case controlplanev1.JobKind_JOB_KIND_CHECKPOINT:
		if s.working(g, kind, "") || !s.checkpointDue(g) {
			return "", false
		}
		u.begun++
		u.begunAt = g.revision
		for key, o := range s.objects {
			if groupOf(key) == g.name && o.outcome != nil && o.references == 0 && o.freedIn == 0 {
				o.freedIn = u.begun
			}
		}
		return "", true
	case controlplanev1.JobKind_JOB_KIND_DELETE:
		return "", len(s.deletable(g)) > 0 && !s.working(g, kind, "")
	case controlplanev1.JobKind_JOB_KIND_SWEEP:
		// Adopted, and not rolled forward from a bucket: the objects of lost transactions look like orphans.
		if time.Now().Before(u.shardDueAt) || s.trust.incarnation > 0 {
			return "", false
		}
		subject = store.SweepShard(u.nextShard)
		u.nextShard = (u.nextShard + 1) % store.SweepShards
		u.shardDueAt = time.Now().Add(s.config.Jobs.SweepInterval / store.SweepShards)
		return subject, !s.working(g, kind, subject)
	case controlplanev1.JobKind_JOB_KIND_COMPACT:
		return s.compactionDue(g)
	case controlplanev1.JobKind_JOB_KIND_KEY_COMPACT:
		p, _, due := s.keyCompactDue(g)
		if !due {
			return "", false
		}
		return p.subject(), true
	default:
		return "", false
	}
}

func (s *Store) working(g *group, kind controlplanev1.JobKind, subject string) bool {
	return slices.ContainsFunc(s.jobs, func(j *job) bool { return j.group == g && j.kind == kind && j.subject == subject })
}

func (s *Store) checkpointDue(g *group) bool {
	age := time.Since(g.upkeep.finishedAt)
	if g.upkeep.finished == 0 || age > s.config.Jobs.CheckpointInterval {
		return true
	}
	if age <= s.config.Jobs.CheckpointPace() {
		return false
	}
	for _, t := range s.topics {
		if t.group == g && t.revision > t.recorded {
			return true
		}
	}
	for key, o := range s.objects {
		if groupOf(key) == g.name && o.outcome != nil && o.references == 0 && o.freedIn == 0 {
			return true
		}
	}
	return false
}

// deletable keys of an agent group, those that were referred to before first, the longest free ones first.
func (s *Store) deletable(g *group) (keys []string) {
	for key, o := range s.objects {
		if groupOf(key) == g.name && o.deletable(g.upkeep.finished, s.config.Jobs.DeletionGrace) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys[:min(len(keys), store.DeletePage)]
}

// tell puts a job into words; nil: nothing of it is left, and it ends.
func (s *Store) tell(j *job, takenOver bool) *controlplanev1.Job {
	told := &controlplanev1.Job{JobId: j.id.String(), OutputId: j.output.String(), Kind: j.kind, TakenOver: takenOver}
	switch j.kind {
	case controlplanev1.JobKind_JOB_KIND_CHECKPOINT:
		told.Work = &controlplanev1.Job_Checkpoint{Checkpoint: &controlplanev1.CheckpointWork{Number: j.group.upkeep.begun}}
	case controlplanev1.JobKind_JOB_KIND_DELETE:
		keys := s.deletable(j.group)
		if len(keys) == 0 {
			s.endJob(j)
			return nil
		}
		told.Work = &controlplanev1.Job_Delete{Delete: &controlplanev1.DeleteWork{Keys: keys}}
	case controlplanev1.JobKind_JOB_KIND_COMPACT:
		told.Work = &controlplanev1.Job_Compact{Compact: j.compaction.work(s.trust.incarnation)}
	case controlplanev1.JobKind_JOB_KIND_KEY_COMPACT:
		work := s.tellKeyCompact(j)
		if work == nil {
			s.endJob(j)
			return nil
		}
		told.Work = work
	default:
		told.Work = &controlplanev1.Job_Sweep{Sweep: &controlplanev1.SweepWork{
			Prefix: fmt.Sprintf("%s/%s/", j.group.name, j.subject), MinAgeMs: s.config.Jobs.SweepAge.Milliseconds(),
			CatalogId: s.id[:], Incarnation: s.trust.incarnation, NewestCheckpoint: j.group.upkeep.begun,
		}}
	}
	return told
}

func (s *Store) endJob(j *job) {
	s.jobs = slices.DeleteFunc(s.jobs, func(other *job) bool { return other == j })
}

// jobOf finds the job of a call, or refuses it.
func (s *Store) jobOf(name store.AgentGroup, text string) (*job, error) {
	id, err := uuid.Parse(text)
	if err != nil {
		return nil, invalid("job_id", "must be a UUID")
	}
	if err := s.refuseUnserved(); err != nil {
		return nil, err
	}
	for _, j := range s.jobs {
		if j.id == id && j.group.name == name {
			return j, nil
		}
	}
	return nil, store.Refuse(refusalv1.Reason_REASON_JOB_LOST, "the job is not the caller's")
}

// FinishJob ends it.
func (s *Store) FinishJob(_ context.Context, name store.AgentGroup, request *controlplanev1.FinishJobRequest) (*controlplanev1.FinishJobResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j, err := s.jobOf(name, request.GetJobId())
	if err != nil {
		return nil, err
	}
	s.haltIfForeign(j, request.GetForeign())
	if j.compaction != nil && request.GetGivenUp() { // it waits for whoever claims a job next
		j.owner = uuid.Nil
		return &controlplanev1.FinishJobResponse{}, nil
	}
	s.endJob(j)
	if j.compaction != nil {
		s.compacted(j.compaction)
	}
	if j.kind == controlplanev1.JobKind_JOB_KIND_CHECKPOINT && !request.GetGivenUp() {
		s.checkpointed(j.group)
	}
	return &controlplanev1.FinishJobResponse{}, nil
}

// haltIfForeign halts a catalog that the bucket knows to have lost transactions. found may be nil.
func (s *Store) haltIfForeign(j *job, found *controlplanev1.CheckpointHead) {
	if found == nil {
		return
	}
	own := &controlplanev1.CheckpointHead{
		AgentGroup: string(j.group.name), Incarnation: s.trust.incarnation, Number: j.group.upkeep.begun, CatalogId: s.id[:],
	}
	if j.kind == controlplanev1.JobKind_JOB_KIND_CHECKPOINT {
		own.CheckpointId = j.output[:]
	}
	if reason := store.Foreign(found, own); reason != "" {
		s.trust.halt(reason, found.GetIncarnation())
	}
}

// checkpointed: the newest checkpoint is in the bucket, with every topic as it was when it began.
func (s *Store) checkpointed(g *group) {
	g.upkeep.finished, g.upkeep.finishedAt = g.upkeep.begun, time.Now()
	for _, t := range s.byID(g) {
		switch {
		case t.revision > g.upkeep.begunAt || t.revision <= t.recorded:
		case t.recorded == 0: // agents hear that they need not describe it any more
			t.revision = s.stamp(g)
			t.recorded = t.revision
		default:
			t.recorded = t.revision
		}
	}
}

func (s *Store) byID(g *group) (topics []*topic) {
	for _, t := range s.topics {
		if t.group == g {
			topics = append(topics, t)
		}
	}
	slices.SortFunc(topics, func(a, b *topic) int { return slices.Compare(a.id[:], b.id[:]) })
	return topics
}

// ConfirmDeleted marks what is gone.
func (s *Store) ConfirmDeleted(_ context.Context, name store.AgentGroup, request *controlplanev1.ConfirmDeletedRequest) (
	*controlplanev1.ConfirmDeletedResponse, error,
) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j, err := s.jobOf(name, request.GetJobId())
	if err != nil {
		return nil, err
	}
	if err := below(name, request.GetKeys()); err != nil {
		return nil, err
	}
	for _, key := range request.GetKeys() {
		o := s.objects[key]
		if o != nil && o.references == 0 && (o.outcome == nil || (o.freedIn > 0 && o.freedIn <= j.group.upkeep.finished)) {
			o.gone = true
		}
	}
	return &controlplanev1.ConfirmDeletedResponse{}, nil
}

func below(name store.AgentGroup, keys []string) error {
	for i, key := range keys {
		if groupOf(key) != name {
			return invalid(fmt.Sprintf("keys[%d]", i), "is another agent group's")
		}
	}
	return nil
}

// SweepKeys kills what nobody who lives may commit, and tells what is dead.
func (s *Store) SweepKeys(_ context.Context, name store.AgentGroup, request *controlplanev1.SweepKeysRequest) (*controlplanev1.SweepKeysResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.jobOf(name, request.GetJobId()); err != nil {
		return nil, err
	}
	if err := below(name, request.GetKeys()); err != nil {
		return nil, err
	}
	response := &controlplanev1.SweepKeysResponse{}
	var topics []string
	for _, key := range request.GetKeys() {
		if text, described := strings.CutPrefix(key, string(name)+"/"+store.DescriptionShard+"/"); described {
			if id, err := uuid.Parse(text); err == nil && !s.needsDescription(s.topics[id]) {
				topics = append(topics, key)
			}
			continue
		}
		if _, _, shaped := writerOf(name, key); shaped && s.sweep(name, key) {
			response.Dead = append(response.Dead, key)
		}
	}
	slices.Sort(response.GetDead())
	response.Dead = append(response.GetDead(), topics...)
	return response, nil
}

func (s *Store) needsDescription(t *topic) bool {
	return t != nil && (!t.deleted || t.recorded < t.revision)
}

// sweep says whether the key is dead now.
func (s *Store) sweep(name store.AgentGroup, key string) bool {
	o := s.objects[key]
	if o != nil {
		return o.gone || o.outcome == nil
	}
	if s.mayStillCommit(name, key) {
		return false
	}
	s.objects[key] = &object{killedAt: time.Now()}
	return true
}

func (s *Store) mayStillCommit(name store.AgentGroup, key string) bool {
	writer, counter, _ := writerOf(name, key)
	if n := s.sessions[writer]; n != nil && n.lives() && counter >= n.settled {
		return true
	}
	return slices.ContainsFunc(s.jobs, func(j *job) bool { return j.output == writer })
}

// writerOf takes an object key apart.
func writerOf(name store.AgentGroup, key string) (writer uuid.UUID, counter int64, shaped bool) {
	parts := strings.Split(strings.TrimPrefix(key, string(name)+"/"), "/")
	if len(parts) != 2 || len(parts[0]) != 2 {
		return uuid.Nil, 0, false
	}
	first, last := strings.Index(parts[1], "-"), strings.LastIndex(parts[1], "-")
	if first < 0 || last <= first {
		return uuid.Nil, 0, false
	}
	writer, err1 := uuid.Parse(parts[1][first+1 : last])
	counter, err2 := strconv.ParseInt(parts[1][last+1:], 10, 64)
	return writer, counter, err1 == nil && err2 == nil
}

// ForgetObjects forgets all that is settled, in one page.
func (s *Store) ForgetObjects(context.Context, string) (forgotten store.ForgottenObjects, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuseUnserved() != nil {
		return forgotten, nil
	}
	for key, o := range s.objects {
		writer, counter, _ := writerOf(groupOf(key), key)
		n := s.sessions[writer]
		working := slices.ContainsFunc(s.jobs, func(j *job) bool { return j.output == writer })
		if o.gone && !working && (n == nil || counter < n.settled) {
			delete(s.objects, key)
			forgotten.Objects++
		}
	}
	return forgotten, nil
}

// ReadCheckpoint answers all of it in one page.
func (s *Store) ReadCheckpoint(_ context.Context, name store.AgentGroup, request *controlplanev1.ReadCheckpointRequest) (
	*controlplanev1.ReadCheckpointResponse, error,
) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j, err := s.jobOf(name, request.GetJobId())
	if err != nil {
		return nil, err
	}
	page := &controlplanev1.CheckpointPage{Head: &controlplanev1.CheckpointHead{
		AgentGroup: string(name), Incarnation: s.trust.incarnation, Number: j.group.upkeep.begun, NextProducerId: s.producerID,
		CatalogId: s.id[:], CheckpointId: j.output[:],
	}}
	for _, t := range s.byID(j.group) {
		page.Topics = append(page.Topics, &controlplanev1.CheckpointTopic{
			TopicId: t.id[:], Name: t.name, PartitionCount: t.partitionCount, Config: t.config(), Deleted: t.deleted, CreatedAtMs: t.createdAt.UnixMilli(),
		})
		if t.deleted {
			continue
		}
		for _, p := range t.partitions {
			page.Partitions = append(page.Partitions, &controlplanev1.CheckpointPartition{
				TopicId: t.id[:], Partition: p.number, LogStartOffset: p.logStart, HighWatermark: p.highWatermark, Epoch: p.epoch,
			})
		}
	}
	return &controlplanev1.ReadCheckpointResponse{Page: page}, nil
}
