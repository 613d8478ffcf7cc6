package bench

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// rawSchema has what a commit cannot do without, and nothing else: no constraint but the keys.
const rawSchema = `
CREATE SCHEMA raw;
CREATE TABLE raw.partitions (partition_id bigint PRIMARY KEY, leader uuid, epoch int, high_watermark bigint) WITH (fillfactor = 80);
CREATE TABLE raw.objects (object_id bigint GENERATED ALWAYS AS IDENTITY, key text PRIMARY KEY);
CREATE TABLE raw.segments (partition_id bigint, base_offset bigint, object_id bigint, byte_position bigint, max_timestamp_ms bigint,
    record_count int, size_bytes int, epoch int, crc32c int, PRIMARY KEY (partition_id, base_offset));
CREATE TABLE raw.producers (partition_id bigint, producer_id bigint, updated_at timestamptz, producer_epoch smallint, batches bytea,
    PRIMARY KEY (partition_id, producer_id)) WITH (fillfactor = 70)`

const (
	rawFill   = `INSERT INTO raw.partitions SELECT n, $1, 1, 0 FROM generate_series($2::bigint, $3::bigint) n`
	rawObject = `INSERT INTO raw.objects (key) VALUES ($1)`
	rawLock   = `SELECT partition_id FROM raw.partitions WHERE partition_id = ANY($1::bigint[]) ORDER BY partition_id FOR NO KEY UPDATE`
	rawMove   = `UPDATE raw.partitions p SET high_watermark = e.base + 100 FROM unnest($1::bigint[], $2::bigint[]) e(id, base)
		WHERE p.partition_id = e.id AND p.high_watermark = e.base AND p.epoch = 1 AND p.leader = $3`
	rawSegments = `INSERT INTO raw.segments SELECT e.id, e.base, e.object, e.place, e.base, e.count, e.size, 1, 7
		FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::int[], $6::int[]) e(id, base, object, place, count, size)`
	rawProducers = `INSERT INTO raw.producers SELECT id, 7, clock_timestamp(), 0, $2 FROM unnest($1::bigint[]) id
		ON CONFLICT (partition_id, producer_id) DO UPDATE SET batches = excluded.batches, updated_at = excluded.updated_at`
)

// openRaw makes the throw-away tables, and a connection for each committer.
func openRaw(ctx context.Context, url string, config Config) (_ []committer, closeRaw func(), err error) {
	var committers []committer
	var connections []*pgx.Conn
	closeRaw = func() {
		for _, conn := range connections {
			_ = conn.Close(context.WithoutCancel(ctx))
		}
	}
	defer func() {
		if err != nil {
			closeRaw()
		}
	}()
	for i := range config.Committers {
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			return nil, nil, fmt.Errorf("connect: %w", err)
		}
		connections = append(connections, conn)
		if i == 0 {
			if _, err := conn.Exec(ctx, rawSchema); err != nil {
				return nil, nil, fmt.Errorf("create throw-away tables: %w", err)
			}
		}
		c, err := newRawCommitter(ctx, conn, i, config)
		if err != nil {
			return nil, nil, err
		}
		committers = append(committers, c)
	}
	return committers, closeRaw, nil
}

// rawCommitter has the columns of its statements; those that never change are made once.
type rawCommitter struct {
	conn                               *pgx.Conn
	leader                             uuid.UUID
	partitions, objects, bases, places []int64
	counts, sizes                      []int32
	batches                            []byte
	commits                            int64
}

func newRawCommitter(ctx context.Context, conn *pgx.Conn, nth int, config Config) (*rawCommitter, error) {
	n := config.Entries
	c := &rawCommitter{
		conn: conn, leader: uuid.New(), partitions: make([]int64, n), objects: make([]int64, n), bases: make([]int64, n), places: make([]int64, n),
		counts: make([]int32, n), sizes: make([]int32, n), batches: make([]byte, config.Producers*80),
	}
	for p := range n {
		c.partitions[p], c.places[p] = int64(nth*n+p), int64(p)*sizeBytes
		c.counts[p], c.sizes[p] = recordCount, sizeBytes
	}
	if _, err := conn.Exec(ctx, rawFill, c.leader, c.partitions[0], c.partitions[n-1]); err != nil {
		return nil, fmt.Errorf("fill throw-away tables: %w", err)
	}
	return c, nil
}

// commit is one round trip, BEGIN and COMMIT included.
func (c *rawCommitter) commit(ctx context.Context) error {
	for p := range c.bases {
		c.bases[p], c.objects[p] = c.commits*recordCount, c.commits
	}
	for i := range c.batches {
		c.batches[i] = byte(c.commits >> (i % 8 * 8))
	}
	batch := &pgx.Batch{}
	batch.Queue("BEGIN")
	batch.Queue(rawObject, fmt.Sprintf("default/0a/0-%s-%d", c.leader, c.commits))
	batch.Queue(rawLock, c.partitions)
	batch.Queue(rawMove, c.partitions, c.bases, c.leader).Exec(exactly(len(c.bases)))
	batch.Queue(rawSegments, c.partitions, c.bases, c.objects, c.places, c.counts, c.sizes).Exec(exactly(len(c.bases)))
	if len(c.batches) > 0 {
		batch.Queue(rawProducers, c.partitions, c.batches).Exec(exactly(len(c.bases)))
	}
	batch.Queue("COMMIT")
	if err := c.conn.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("bare transaction: %w", err)
	}
	c.commits++
	return nil
}

// exactly fails unless the statement changed so many rows.
func exactly(want int) func(pgconn.CommandTag) error {
	return func(tag pgconn.CommandTag) error {
		if tag.RowsAffected() != int64(want) {
			return fmt.Errorf("%s changed instead of %d", tag, want)
		}
		return nil
	}
}
