package postgres

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/google/uuid"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

// claim is one run of ClaimJob's transaction. It holds the lock of the agent group's upkeep.
type claim struct {
	*db.Queries
	config     store.JobConfig
	agentGroup store.AgentGroup
	session    uuid.UUID
	upkeep     db.Upkeep
}

// jobKind is one kind of work.
type jobKind struct {
	// due looks for new work and writes down that it has begun; the subject must have no job yet. No subject: there is none.
	due func(ctx context.Context, c *claim) (subjects []string, detail []byte, err error)
	// tell puts the work of a job into words, also for those who take it over or ask again; false: nothing is left to do, and the job ends.
	tell func(ctx context.Context, c *claim, row db.Job, job *controlplanev1.Job) (bool, error)
	// done writes down what follows from a job that was done, under the locks of upkeep and job. nil: nothing does.
	done func(ctx context.Context, p *place, row db.Job) error
	// lasting: what is given up waits for whoever claims a job next, with what it remembers.
	lasting bool
}

// jobKinds are all that can be claimed.
func jobKinds() map[controlplanev1.JobKind]jobKind {
	return map[controlplanev1.JobKind]jobKind{
		controlplanev1.JobKind_JOB_KIND_CHECKPOINT:  {due: checkpointDue, tell: tellCheckpoint, done: checkpointDone},
		controlplanev1.JobKind_JOB_KIND_DELETE:      {due: deleteDue, tell: tellDelete},
		controlplanev1.JobKind_JOB_KIND_SWEEP:       {due: sweepDue, tell: tellSweep},
		controlplanev1.JobKind_JOB_KIND_COMPACT:     {due: compactDue, tell: tellCompact, done: compactDone, lasting: true},
		controlplanev1.JobKind_JOB_KIND_KEY_COMPACT: {due: keyCompactDue, tell: tellKeyCompact},
	}
}

// ClaimJob answers the session's own job, one that was left, or new work. One claim of an agent group at a time: who finds another at it is told
// to come back.
func (s *Store) ClaimJob(ctx context.Context, agentGroup store.AgentGroup, request *controlplanev1.ClaimJobRequest) (*controlplanev1.ClaimJobResponse, error) {
	session, err := parseSession(request.GetSessionId())
	if err != nil {
		return nil, err
	}
	var response *controlplanev1.ClaimJobResponse
	err = s.write(ctx, harmless, func(ctx context.Context, q *db.Queries) error {
		response = &controlplanev1.ClaimJobResponse{}
		if err := refuseUnverified(ctx, q); err != nil {
			return err
		}
		live, err := liveSession(ctx, q, agentGroup, session)
		if err != nil || live.Draining {
			return err
		}
		if blank, err := q.CatalogIsEmpty(ctx); err != nil || blank {
			// P8, P9: what lies in the bucket may be the log of a catalog that was lost, and is yet to be recovered. Nothing of it is an orphan,
			// and no checkpoint may say that there are no topics. Nobody waits for it: agents ask again when they would anyhow.
			return err
		}
		c, err := s.enterClaim(ctx, q, agentGroup, session)
		if err != nil {
			return err
		}
		if c == nil {
			response.RetryAfterMs = claimWait.Milliseconds()
			return nil
		}
		response.Job, err = c.find(ctx, request.GetKinds())
		return err
	})
	if err != nil {
		return nil, err
	}
	return response, nil
}

// enterClaim takes the lock; nil: somebody else has it, or the agent group is looked at for the first time.
func (s *Store) enterClaim(ctx context.Context, q *db.Queries, agentGroup store.AgentGroup, session uuid.UUID) (*claim, error) {
	rows, err := q.TryLockUpkeep(ctx, string(agentGroup))
	if err != nil {
		return nil, fmt.Errorf("lock upkeep: %w", err)
	}
	if len(rows) == 0 {
		return nil, q.BeginUpkeep(ctx, string(agentGroup))
	}
	return &claim{Queries: q, config: s.config.Jobs, agentGroup: agentGroup, session: session, upkeep: rows[0]}, nil
}

// find answers nil where there is nothing to do.
func (c *claim) find(ctx context.Context, kinds []controlplanev1.JobKind) (*controlplanev1.Job, error) {
	job, err := c.held(ctx, kinds)
	if err != nil || job != nil {
		return job, err
	}
	if job, err = c.abandoned(ctx, kinds); err != nil || job != nil {
		return job, err
	}
	for _, kind := range kinds {
		if job, err = c.fresh(ctx, kind); err != nil || job != nil {
			return job, err
		}
	}
	return nil, nil //nolint:nilnil // nothing to do is no fault
}

// held is the job that the session has already: its answer was lost.
func (c *claim) held(ctx context.Context, kinds []controlplanev1.JobKind) (*controlplanev1.Job, error) {
	rows, err := c.HeldJob(ctx, string(c.agentGroup), c.session, kindNumbers(kinds))
	if err != nil {
		return nil, fmt.Errorf("find held job: %w", err)
	}
	for _, row := range rows {
		return c.tell(ctx, row, false)
	}
	return nil, nil //nolint:nilnil // as find
}

// abandoned takes over what an ended or suspect session has left.
func (c *claim) abandoned(ctx context.Context, kinds []controlplanev1.JobKind) (*controlplanev1.Job, error) {
	rows, err := c.AbandonedJob(ctx, string(c.agentGroup), kindNumbers(kinds))
	if err != nil {
		return nil, fmt.Errorf("find abandoned job: %w", err)
	}
	if len(rows) == 0 {
		return nil, nil //nolint:nilnil // as find
	}
	taken, err := c.TakeOverJob(ctx, uuid.New(), c.session, rows[0].JobID)
	if err != nil {
		return nil, fmt.Errorf("take job over: %w", err)
	}
	return c.tell(ctx, taken, true)
}

// fresh begins new work of one kind.
func (c *claim) fresh(ctx context.Context, kind controlplanev1.JobKind) (*controlplanev1.Job, error) {
	known, ok := jobKinds()[kind]
	if !ok {
		return nil, nil //nolint:nilnil // a kind that this version does not know has nothing to do
	}
	subjects, detail, err := known.due(ctx, c)
	if err != nil || len(subjects) == 0 {
		return nil, err
	}
	row, err := c.InsertJob(ctx, db.InsertJobParams{
		AgentGroup: string(c.agentGroup), Kind: int16(kind), Subject: subjects[0], JobID: uuid.New(), SessionID: c.session, Detail: orEmpty(detail),
	})
	if err != nil {
		return nil, fmt.Errorf("insert job: %w", err)
	}
	return c.tell(ctx, row, false)
}

func orEmpty(detail []byte) []byte {
	if detail == nil {
		return []byte{}
	}
	return detail
}

// free answers the subject if nobody is at it.
func (c *claim) free(ctx context.Context, kind controlplanev1.JobKind, subject string) ([]string, error) {
	taken, err := c.HasJob(ctx, string(c.agentGroup), int16(kind), subject)
	if err != nil {
		return nil, fmt.Errorf("look for a job: %w", err)
	}
	if taken {
		return nil, nil
	}
	return []string{subject}, nil
}

// tell answers the job, or ends it where nothing of it is left.
func (c *claim) tell(ctx context.Context, row db.Job, takenOver bool) (*controlplanev1.Job, error) {
	job := &controlplanev1.Job{
		JobId: row.JobID.String(), OutputId: row.OutputID.String(), Kind: controlplanev1.JobKind(row.Kind), TakenOver: takenOver,
	}
	if known, ok := jobKinds()[job.GetKind()]; ok {
		left, err := known.tell(ctx, c, row, job)
		if err != nil || left {
			return job, err
		}
	}
	if _, err := c.DeleteJob(ctx, row.JobID); err != nil {
		return nil, fmt.Errorf("end an empty job: %w", err)
	}
	return nil, nil //nolint:nilnil // as find
}

func kindNumbers(kinds []controlplanev1.JobKind) []int16 {
	numbers := make([]int16, len(kinds))
	for i, kind := range kinds {
		numbers[i] = int16(kind)
	}
	return numbers
}

// FinishJob ends a job. Locks: upkeep, job, then what the kind needs.
func (s *Store) FinishJob(
	ctx context.Context, agentGroup store.AgentGroup, request *controlplanev1.FinishJobRequest,
) (*controlplanev1.FinishJobResponse, error) {
	id, err := parseJob(request.GetJobId())
	if err != nil {
		return nil, err
	}
	var changed bool
	err = s.write(ctx, harmless, func(ctx context.Context, q *db.Queries) error {
		if _, err := q.LockUpkeep(ctx, string(agentGroup)); err != nil {
			return fmt.Errorf("lock upkeep: %w", err)
		}
		row, err := lockJob(ctx, q, agentGroup, id)
		if err != nil {
			return err
		}
		if changed, err = finish(ctx, q, agentGroup, row, request.GetGivenUp()); err != nil {
			return err
		}
		if err := s.haltIfForeign(ctx, q, agentGroup, row, request.GetForeign()); err != nil {
			return err
		}
		if request.GetGivenUp() && jobKinds()[controlplanev1.JobKind(row.Kind)].lasting {
			left, err := q.LeaveJob(ctx, id)
			return verdict("leave job", left, 1, err)
		}
		_, err = q.DeleteJob(ctx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	if changed {
		signal(s.placementChanged)
	}
	return &controlplanev1.FinishJobResponse{}, nil
}

// haltIfForeign halts a catalog that the bucket knows to have lost transactions. found may be nil. Requires: LockUpkeep, LockJob.
func (s *Store) haltIfForeign(ctx context.Context, q *db.Queries, agentGroup store.AgentGroup, row db.Job, found *controlplanev1.CheckpointHead) error {
	if found == nil {
		return nil
	}
	own, err := q.CheckpointHead(ctx, string(agentGroup))
	if err != nil {
		return fmt.Errorf("read the catalog's newest checkpoint: %w", err)
	}
	head := &controlplanev1.CheckpointHead{
		AgentGroup: string(agentGroup), Incarnation: int32(own.Incarnation), Number: own.CheckpointBegun, CatalogId: own.CatalogID[:],
	}
	if controlplanev1.JobKind(row.Kind) == controlplanev1.JobKind_JOB_KIND_CHECKPOINT {
		head.CheckpointId = row.OutputID[:]
	}
	reason := store.Foreign(found, head)
	if reason == "" {
		return nil
	}
	halted, err := q.HaltCatalog(ctx, []string{reason}, int16(min(max(found.GetIncarnation(), head.GetIncarnation()), newestIncarnation-1)), own.Incarnation)
	if err != nil {
		return fmt.Errorf("halt catalog: %w", err)
	}
	if halted == 1 {
		s.config.Logger.ErrorContext(ctx, "catalog halted: the bucket knows of transactions that were lost", slog.String("reason", reason))
	}
	return nil
}

// finish says whether agents have to hear of it.
func finish(ctx context.Context, q *db.Queries, agentGroup store.AgentGroup, row db.Job, givenUp bool) (changed bool, err error) {
	kind := jobKinds()[controlplanev1.JobKind(row.Kind)]
	if givenUp || kind.done == nil {
		return false, nil
	}
	p, err := enterPlace(ctx, q, agentGroup)
	if err != nil {
		return false, err
	}
	if err := kind.done(ctx, p, row); err != nil {
		return false, err
	}
	return p.revision != p.before, p.publish(ctx)
}

// lockJob is how every call that writes for a job begins: it refuses whoever has lost it, and a catalog that must not delete.
func lockJob(ctx context.Context, q *db.Queries, agentGroup store.AgentGroup, id uuid.UUID) (db.Job, error) {
	if err := refuseUnverified(ctx, q); err != nil {
		return db.Job{}, err
	}
	rows, err := q.LockJob(ctx, id, string(agentGroup))
	return ownJob(rows, err)
}

func ownJob(rows []db.Job, err error) (db.Job, error) {
	if err != nil {
		return db.Job{}, fmt.Errorf("find job: %w", err)
	}
	if len(rows) == 0 {
		return db.Job{}, store.Refuse(refusalv1.Reason_REASON_JOB_LOST, "this job has ended, or another agent has taken it over: leave it")
	}
	return rows[0], nil
}

func parseJob(text string) (uuid.UUID, error) {
	id, err := uuid.Parse(text)
	if err != nil {
		return uuid.Nil, refuseField("job_id", "must be a UUID")
	}
	return id, nil
}
