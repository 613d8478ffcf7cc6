package postgres

import (
	"cmp"
	"context"
	"fmt"

	"github.com/google/uuid"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/commit"
	"github.com/streamhouse/streamhouse/controlplane/internal/lease"
	"github.com/streamhouse/streamhouse/controlplane/internal/producer"
	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

// grantedProducers is how many producers an Acquire answers at most: with five batches each about 1 MiB.
const grantedProducers = 8000

// Acquire grants or refuses each partition.
func (s *Store) Acquire(ctx context.Context, agentGroup store.AgentGroup, request *controlplanev1.AcquireRequest) (*controlplanev1.AcquireResponse, error) {
	session, err := parseSession(request.GetSessionId())
	if err != nil {
		return nil, err
	}
	asked, err := partitionKeys(request.GetPartitions())
	if err != nil {
		return nil, err
	}
	var outcomes []*controlplanev1.AcquireOutcome
	err = s.inPlace(ctx, harmless, agentGroup, func(ctx context.Context, p *place) error {
		outcomes, err = acquire(ctx, p, session, asked, request.GetPartitions())
		return err
	})
	if err != nil {
		return nil, err
	}
	return &controlplanev1.AcquireResponse{Outcomes: outcomes}, nil
}

func acquire(ctx context.Context, p *place, session uuid.UUID, asked []commit.PartitionKey, entries []*controlplanev1.AcquirePartition) (
	[]*controlplanev1.AcquireOutcome, error,
) {
	f, err := p.lockFloor(ctx, []uuid.UUID{session}, asked)
	if err != nil {
		return nil, err
	}
	grants := make([]grant, 0, len(asked))
	outcomes := make([]*controlplanev1.AcquireOutcome, len(asked))
	for i, key := range asked {
		outcomes[i] = &controlplanev1.AcquireOutcome{TopicId: key.Topic[:], Partition: key.Number}
		v, row, err := f.acquire(session, string(p.agentGroup), key, entries[i].GetLastEndedEpoch())
		if err != nil {
			return nil, err
		}
		if v.Refusal != nil {
			outcomes[i].Outcome = &controlplanev1.AcquireOutcome_Refusal{Refusal: v.Refusal}
			continue
		}
		granted := &controlplanev1.Grant{
			Epoch: v.Epoch, TenureFirstOffset: row.HighWatermark, HighWatermark: row.HighWatermark, LogStartOffset: row.LogStartOffset,
		}
		outcomes[i].Outcome = &controlplanev1.AcquireOutcome_Grant{Grant: granted}
		grants = append(grants, grant{row: row, verdict: v, to: f.sessions[session], message: granted})
	}
	if err := p.writeGrants(ctx, grants); err != nil {
		return nil, err
	}
	return outcomes, p.fillGrants(ctx, grants)
}

// acquire decides about one partition.
func (f *floor) acquire(session uuid.UUID, agentGroup string, key commit.PartitionKey, lastEnded int32) (lease.Verdict, db.LockPartitionsRow, error) {
	row, found := f.rows[key]
	me := f.sessions[session]
	if (!found || row.Deleted) && me != nil && !me.Ended && !me.Draining {
		return lease.Verdict{Refusal: refuseUnknown(f.topics, store.AgentGroup(agentGroup), key)}, row, nil
	}
	v, err := lease.Acquire(me, agentGroup, f.partition(key), lastEnded, f.incarnation)
	if v.New && !f.verified { // a tenure before this one may be lost, and its epoch in use
		v = lease.Verdict{Refusal: verifyingRefusal()}
	}
	return v, row, err
}

// grant is a lease that a session gets or keeps.
type grant struct {
	row     db.LockPartitionsRow
	verdict lease.Verdict
	to      *lease.Session
	// message is what the new leader is told; nil: it learns from the placement.
	message *controlplanev1.Grant
}

// writeGrants writes the new tenures among the grants, and the ends of those before them.
func (p *place) writeGrants(ctx context.Context, grants []grant) error {
	var leases db.GrantLeasesParams
	var tenures db.InsertTenuresParams
	var ended tenureEnds
	for _, g := range grants {
		if !g.verdict.New {
			continue
		}
		leases.PartitionIds = append(leases.PartitionIds, g.row.PartitionID)
		leases.OldEpochs = append(leases.OldEpochs, g.row.Epoch)
		leases.NewEpochs = append(leases.NewEpochs, g.verdict.Epoch)
		leases.SessionIds = append(leases.SessionIds, g.to.ID)
		leases.AgentIds = append(leases.AgentIds, g.to.AgentID)
		tenures.FirstOffsets = append(tenures.FirstOffsets, g.row.HighWatermark)
		p.began(g.verdict.EndBefore)
		if g.verdict.EndBefore != "" {
			ended.add(g.row.PartitionID, g.row.Epoch, g.verdict.EndBefore)
		}
	}
	n := len(leases.PartitionIds)
	if n == 0 {
		return nil
	}
	leases.Revisions = p.takeEach(n)
	tenures.PartitionIds, tenures.Epochs, tenures.SessionIds = leases.PartitionIds, leases.NewEpochs, leases.SessionIds
	rows, err := p.GrantLeases(ctx, leases)
	if err := verdict("grant leases", rows, n, err); err != nil {
		return err
	}
	if err := p.endTenures(ctx, ended); err != nil {
		return err
	}
	rows, err = p.InsertTenures(ctx, tenures)
	return verdict("insert tenures", rows, n, err)
}

// began counts a tenure that is new; endBefore says what ended the one before it, where it had not ended.
func (p *place) began(endBefore string) {
	if p.granted == nil {
		p.granted = map[string]int{}
	}
	p.granted[cmp.Or(endBefore, afterVacancy)]++
}

// tenureEnds are ends of tenures to be written down.
type tenureEnds struct {
	partitionIDs []int64
	epochs       []int32
	reasons      []string
}

func (e *tenureEnds) add(partitionID int64, epoch int32, reason string) {
	e.partitionIDs, e.epochs, e.reasons = append(e.partitionIDs, partitionID), append(e.epochs, epoch), append(e.reasons, reason)
}

func (p *place) endTenures(ctx context.Context, e tenureEnds) error {
	if len(e.partitionIDs) == 0 {
		return nil
	}
	rows, err := p.EndTenures(ctx, e.partitionIDs, e.epochs, e.reasons)
	return verdict("end tenures", rows, len(e.partitionIDs), err)
}

// fillGrants adds what the leader must know: where its tenure began, and the producers. The partitions' locks are held, so that no commit
// comes between the high watermark and the producers.
func (p *place) fillGrants(ctx context.Context, grants []grant) error {
	if len(grants) == 0 {
		return nil
	}
	byID := make(map[int64]*controlplanev1.Grant, len(grants))
	var ids, kept []int64
	var epochs []int32
	for _, g := range grants {
		byID[g.row.PartitionID] = g.message
		ids = append(ids, g.row.PartitionID)
		if !g.verdict.New {
			kept, epochs = append(kept, g.row.PartitionID), append(epochs, g.row.Epoch)
		}
	}
	if len(kept) > 0 {
		tenures, err := p.TenureFirstOffsets(ctx, kept, epochs)
		if err != nil {
			return fmt.Errorf("read tenures: %w", err)
		}
		for _, t := range tenures {
			byID[t.PartitionID].TenureFirstOffset = t.FirstOffset
		}
	}
	return p.fillProducers(ctx, ids, byID)
}

func (p *place) fillProducers(ctx context.Context, ids []int64, byID map[int64]*controlplanev1.Grant) error {
	page := max(1, grantedProducers/len(ids))
	rows, err := p.RecentProducers(ctx, ids, int32(page)+1)
	if err != nil {
		return fmt.Errorf("read producers: %w", err)
	}
	for _, granted := range byID {
		granted.ProducersComplete = true
	}
	for _, row := range rows {
		granted := byID[row.PartitionID]
		if len(granted.GetProducers()) == page {
			granted.ProducersComplete = false
			continue
		}
		state, err := producer.Decode(row.ProducerEpoch, row.Batches)
		if err != nil {
			return fmt.Errorf("partition %d, producer %d: %w", row.PartitionID, row.ProducerID, err)
		}
		granted.Producers = append(granted.Producers, state.Message(row.ProducerID))
	}
	return nil
}

// keyed is an entry that names a partition.
type keyed interface {
	GetTopicId() []byte
	GetPartition() int32
}

// partitionKeys are the partitions of a request's entries; one named twice is refused.
func partitionKeys[T keyed](entries []T) ([]commit.PartitionKey, error) {
	keys := make([]commit.PartitionKey, len(entries))
	seen := make(map[commit.PartitionKey]bool, len(entries))
	for i, entry := range entries {
		topic, err := uuid.FromBytes(entry.GetTopicId())
		if err != nil {
			return nil, refuseEntry(i, "topic_id", "must be 16 bytes")
		}
		keys[i] = commit.PartitionKey{Topic: topic, Number: entry.GetPartition()}
		if seen[keys[i]] {
			return nil, refuseEntry(i, "partition", "is named twice")
		}
		seen[keys[i]] = true
	}
	return keys, nil
}

func refuseEntry(i int, field, problem string) error {
	path := fmt.Sprintf("partitions[%d].%s", i, field)
	refused := store.Refuse(refusalv1.Reason_REASON_INVALID, "%s %s", path, problem)
	refused.Refusal.Field, refused.Refusal.Entry = path, new(int32(i))
	return refused
}

// refuseUnknown says why a partition was not found. topics has those that exist; which partitions another agent group's has is none of
// the caller's business (P7).
func refuseUnknown(topics map[uuid.UUID]store.AgentGroup, agentGroup store.AgentGroup, key commit.PartitionKey) *refusalv1.Refusal {
	refusal := &refusalv1.Refusal{Topic: key.Topic.String(), Partition: new(key.Number), Written: refusalv1.Written_WRITTEN_SURELY_NOT}
	switch owner, exists := topics[key.Topic]; {
	case !exists:
		refusal.Reason, refusal.Message = refusalv1.Reason_REASON_UNKNOWN_TOPIC, "there is no such topic, or it has been deleted"
	case owner != agentGroup:
		refusal.Written = refusalv1.Written_WRITTEN_UNSPECIFIED // as for partitions that it has
		refusal.Reason, refusal.Message = refusalv1.Reason_REASON_WRONG_AGENT_GROUP, fmt.Sprintf("the topic belongs to another agent group than %s", agentGroup)
	default:
		refusal.Reason, refusal.Message = refusalv1.Reason_REASON_UNKNOWN_PARTITION, fmt.Sprintf("the topic has no partition %d", key.Number)
	}
	return refusal
}
