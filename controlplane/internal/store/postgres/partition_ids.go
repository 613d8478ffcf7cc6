package postgres

import (
	"context"
	"fmt"
	"sync"

	"github.com/google/uuid"

	"github.com/streamhouse/streamhouse/controlplane/internal/commit"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

// maxPartitionIDs bounds what is remembered: 32 MiB.
const maxPartitionIDs = 4 << 20

// partitionIDs remembers the compact names of partitions, which never change while a partition exists. A stale one does no harm: whoever uses it
// compares topic and partition, too.
type partitionIDs struct {
	mu sync.Mutex
	// known has those of a topic by partition; 0: not known. size is their number in all.
	known map[uuid.UUID][]int64
	size  int
}

// of answers the ids of the partitions of the moves, in order; nil: some partition does not exist.
func (p *partitionIDs) of(ctx context.Context, q *db.Queries, whole *commit.Whole) ([]int64, error) {
	if ids := p.remembered(whole); ids != nil {
		return ids, nil
	}
	topics, numbers := make([]uuid.UUID, len(whole.Moves)), make([]int32, len(whole.Moves))
	for i, m := range whole.Moves {
		topics[i], numbers[i] = whole.Topics[m.Topic], m.Partition
	}
	rows, err := q.PartitionIDs(ctx, topics, numbers)
	if err != nil {
		return nil, fmt.Errorf("read partition ids: %w", err)
	}
	found := make(map[commit.PartitionKey]int64, len(rows))
	for _, row := range rows {
		found[commit.PartitionKey{Topic: row.TopicID, Number: row.Partition}] = row.PartitionID
	}
	p.remember(found)
	ids := make([]int64, len(whole.Moves))
	for i := range ids {
		if ids[i] = found[commit.PartitionKey{Topic: topics[i], Number: numbers[i]}]; ids[i] == 0 {
			return nil, nil
		}
	}
	return ids, nil
}

// remembered answers nil unless all are known.
func (p *partitionIDs) remembered(whole *commit.Whole) []int64 {
	ids := make([]int64, len(whole.Moves))
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, m := range whole.Moves {
		known := p.known[whole.Topics[m.Topic]]
		if int(m.Partition) >= len(known) || known[m.Partition] == 0 {
			return nil
		}
		ids[i] = known[m.Partition]
	}
	return ids
}

func (p *partitionIDs) remember(found map[commit.PartitionKey]int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, id := range found {
		known := p.known[key.Topic]
		if missing := int(key.Number) + 1 - len(known); missing > 0 {
			if p.size+missing > maxPartitionIDs || p.known == nil {
				p.known, p.size, known, missing = map[uuid.UUID][]int64{}, 0, nil, int(key.Number)+1
			}
			known, p.size = append(known, make([]int64, missing)...), p.size+missing
			p.known[key.Topic] = known
		}
		known[key.Number] = id
	}
}

// forget forgets topics.
func (p *partitionIDs) forget(topics []uuid.UUID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, topic := range topics {
		p.size -= len(p.known[topic])
		delete(p.known, topic)
	}
}
