package conformance

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/streamhouse/streamhouse/controlplane/internal/producer"
)

// violations answers a sentence for each row that breaks a promise. Partitions of deleted topics may be half removed.
const violations = `
WITH live AS (SELECT p.* FROM partitions p JOIN topics t USING (topic_id) WHERE t.deleted_at IS NULL),
runs AS (
	SELECT s.*, lag(s.base_offset + s.record_count) OVER w AS expected, lag(s.epoch, 1, 0) OVER w AS epoch_before, live.log_start_offset
	FROM segments s JOIN live USING (partition_id) WINDOW w AS (PARTITION BY s.partition_id ORDER BY s.base_offset)
),
revisions AS (SELECT agent_group, revision FROM topics UNION ALL SELECT agent_group, revision FROM partitions)
SELECT format('P2: partition %s has a gap or an overlap before offset %s', partition_id, base_offset) FROM runs WHERE base_offset <> expected
UNION ALL
SELECT format('P1: partition %s begins at %s, its segments at %s', partition_id, log_start_offset, base_offset) FROM runs
WHERE expected IS NULL AND base_offset > log_start_offset
UNION ALL
SELECT format('P2: partition %s ends at %s, its segments elsewhere', partition_id, high_watermark) FROM live l
WHERE high_watermark <> COALESCE((SELECT max(base_offset + record_count) FROM segments s WHERE s.partition_id = l.partition_id), log_start_offset)
UNION ALL
SELECT format('P1: partition %s begins at %s, beyond its end at %s', partition_id, log_start_offset, high_watermark) FROM live
WHERE log_start_offset > high_watermark
UNION ALL
SELECT format('P3: partition %s: epoch %s at offset %s comes after epoch %s', partition_id, epoch, base_offset, epoch_before) FROM runs
WHERE epoch < epoch_before
UNION ALL
SELECT format('P3: partition %s: offset %s was written outside of tenure %s', r.partition_id, r.base_offset, r.epoch) FROM runs r
WHERE NOT EXISTS (SELECT FROM tenures t WHERE t.partition_id = r.partition_id AND t.epoch = r.epoch AND t.first_offset <= r.base_offset)
   OR EXISTS (SELECT FROM tenures t WHERE t.partition_id = r.partition_id AND t.epoch > r.epoch AND t.first_offset < r.base_offset + r.record_count)
UNION ALL
SELECT format('P3: partition %s: offset %s was written by a session that did not have epoch %s', r.partition_id, r.base_offset, r.epoch)
FROM runs r JOIN object_keys o USING (object_id) JOIN tenures t ON t.partition_id = r.partition_id AND t.epoch = r.epoch WHERE o.session_id <> t.session_id
UNION ALL
SELECT format('P3: partition %s has epoch %s and other tenures than that many', partition_id, epoch) FROM live l
WHERE epoch <> (SELECT count(*) FROM tenures t WHERE t.partition_id = l.partition_id)
   OR epoch <> COALESCE((SELECT max(epoch) FROM tenures t WHERE t.partition_id = l.partition_id), 0)
UNION ALL
SELECT format('P3: partition %s: tenure %s ended, or not, against the partition''s row', t.partition_id, t.epoch)
FROM tenures t JOIN live l USING (partition_id)
WHERE (t.ended_at IS NULL) <> (t.epoch = l.epoch AND l.leader_session_id IS NOT NULL) OR (t.epoch = l.epoch AND l.leader_session_id <> t.session_id)
UNION ALL
SELECT format('P7: partition %s was led by a session of another agent group', t.partition_id)
FROM tenures t JOIN partitions p USING (partition_id) JOIN sessions s USING (session_id) WHERE s.agent_group <> p.agent_group
UNION ALL
SELECT format('P8: object %s counts %s references', key, reference_count) FROM object_keys o
WHERE reference_count <> (SELECT count(*) FROM segments s WHERE s.object_id = o.object_id)
   OR (outcome IS NOT NULL AND (reference_count = 0) <> (unreferenced_at IS NOT NULL))
UNION ALL
SELECT format('P1: a segment of partition %s lies in no object', partition_id) FROM runs r WHERE NOT EXISTS (SELECT FROM object_keys o
WHERE o.object_id = r.object_id)
UNION ALL
SELECT format('revision %s of %s was given twice', revision, agent_group) FROM revisions GROUP BY agent_group, revision HAVING count(*) > 1
UNION ALL
SELECT format('revision %s of %s is beyond the newest', r.revision, r.agent_group) FROM revisions r JOIN agent_groups g USING (agent_group)
WHERE r.revision > g.revision`

// numbers of rows that never fall.
const numbers = `
SELECT format('epoch of partition %s', partition_id), epoch::bigint FROM partitions
UNION ALL SELECT format('high watermark of partition %s', partition_id), high_watermark FROM partitions
UNION ALL SELECT format('log start of partition %s', partition_id), log_start_offset FROM partitions
UNION ALL SELECT format('revision of partition %s', partition_id), revision FROM partitions
UNION ALL SELECT format('revision of agent group %s', agent_group), revision FROM agent_groups
UNION ALL SELECT format('end of session %s', session_id), (ended_at IS NOT NULL)::int FROM sessions`

// Watchman checks the rows of a catalog again and again. Not safe for concurrent use.
type Watchman struct {
	pool *pgxpool.Pool
	// seen are the numbers of the last check: none may fall.
	seen map[string]int64
}

// NewWatchman makes a watchman who has seen nothing yet.
func NewWatchman(pool *pgxpool.Pool) *Watchman {
	return &Watchman{pool: pool, seen: map[string]int64{}}
}

// Check says what is broken; nil: nothing.
func (m *Watchman) Check(ctx context.Context) error {
	rows, err := m.pool.Query(ctx, violations)
	if err != nil {
		return fmt.Errorf("look for violations: %w", err)
	}
	broken, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("look for violations: %w", err)
	}
	if len(broken) > 0 {
		return fmt.Errorf("broken: %q", broken)
	}
	if err := m.checkNumbers(ctx); err != nil {
		return err
	}
	return m.checkProducers(ctx)
}

func (m *Watchman) checkNumbers(ctx context.Context) error {
	rows, err := m.pool.Query(ctx, numbers)
	if err != nil {
		return fmt.Errorf("read numbers: %w", err)
	}
	var name string
	var now int64
	_, err = pgx.ForEachRow(rows, []any{&name, &now}, func() error {
		if now < m.seen[name] {
			return fmt.Errorf("broken: %s fell from %d to %d", name, m.seen[name], now)
		}
		m.seen[name] = now
		return nil
	})
	return err
}

// checkProducers: P5, the batches known of a producer follow each other, and lie below the high watermark.
func (m *Watchman) checkProducers(ctx context.Context) error {
	rows, err := m.pool.Query(ctx, `SELECT q.partition_id, q.producer_id, q.producer_epoch, q.batches, p.high_watermark
		FROM producers q JOIN partitions p USING (partition_id)`)
	if err != nil {
		return fmt.Errorf("read producers: %w", err)
	}
	var partition, id, highWatermark int64
	var epoch int16
	var encoded []byte
	_, err = pgx.ForEachRow(rows, []any{&partition, &id, &epoch, &encoded, &highWatermark}, func() error {
		state, err := producer.Decode(epoch, encoded)
		if err != nil {
			return err
		}
		for i, b := range state.Batches {
			if b.BaseOffset+int64(b.RecordCount) > highWatermark {
				return fmt.Errorf("broken: P5: partition %d, producer %d knows a batch beyond the end: %+v", partition, id, b)
			}
			if i > 0 && (b.BaseSequence != after(state.Batches[i-1]) || b.BaseOffset < state.Batches[i-1].BaseOffset+int64(state.Batches[i-1].RecordCount)) {
				return fmt.Errorf("broken: P5: partition %d, producer %d: batches do not follow: %+v", partition, id, state.Batches)
			}
		}
		return nil
	})
	return err
}

// after is the sequence after a batch: 2^31 - 1 is followed by 0.
func after(b producer.Batch) int32 {
	return int32((int64(b.BaseSequence) + int64(b.RecordCount)) % (1 << 31))
}
