-- The recovery that is under way, for the rest of the transaction. No row: there is none.
-- name: LockRecovery :many
SELECT * FROM recoveries FOR UPDATE;

-- name: ReadRecovery :many
SELECT * FROM recoveries;

-- Requires: LockCatalog, so that two do not begin at once.
-- name: InsertRecovery :exec
INSERT INTO recoveries (recovery_id, kind, notes) VALUES (@recovery_id, @kind, @notes::text[]);

-- Whether the catalog never had a topic (whose partitions would have been numbered), nor has anything else that a rebuild would meet.
-- name: CatalogIsEmpty :one
SELECT (pg_sequence_last_value('partitions_partition_id_seq'::regclass) IS NULL AND NOT EXISTS (SELECT 1 FROM topics)
        AND NOT EXISTS (SELECT 1 FROM object_keys o WHERE o.outcome IS NOT NULL))::boolean AS empty;

-- A rebuild halts the catalog, so that nobody makes topics, commits or sweeps meanwhile. Requires: LockCatalog.
-- name: HaltForRecovery :execrows
UPDATE catalog SET halted_at = COALESCE(halted_at, clock_timestamp()),
                   halt_reasons = CASE WHEN @reason::text = ANY(halt_reasons) THEN halt_reasons ELSE halt_reasons || @reason::text END;

-- name: MoveRecovery :execrows
UPDATE recoveries SET step = @step WHERE recovery_id = @recovery_id AND step = @from_step;

-- Up to 100 sentences.
-- name: NoteRecovery :exec
UPDATE recoveries SET notes = (notes || @notes::text[])[1:100];

-- name: RaiseRecoveryIncarnation :exec
UPDATE recoveries SET newest_incarnation = GREATEST(newest_incarnation, @incarnation::smallint);

-- name: RecoveryShards :many
SELECT agent_group, shard FROM recovery_shards ORDER BY agent_group, shard;

-- name: AddRecoveryShard :exec
INSERT INTO recovery_shards (agent_group, shard) VALUES (@agent_group, @shard) ON CONFLICT DO NOTHING;

-- Agent groups whose inventory has begun and is not complete, and those that have topics and no inventory.
-- name: MissingShards :many
SELECT g.agent_group, 256 - count(s.shard) AS missing
FROM (SELECT agent_group FROM recovery_shards UNION SELECT t.agent_group FROM topics t WHERE t.deleted_at IS NULL
      UNION SELECT r.agent_group FROM recovery_topics r UNION SELECT DISTINCT split_part(o.key, '/', 1) FROM recovery_objects o) AS g
LEFT JOIN recovery_shards s ON s.agent_group = g.agent_group
GROUP BY g.agent_group HAVING count(s.shard) < 256
ORDER BY g.agent_group;

-- name: AgentGroupsWithTopics :many
SELECT DISTINCT agent_group FROM topics WHERE deleted_at IS NULL ORDER BY agent_group;

-- name: UnknownObjectKeys :many
SELECT e.key::text AS key FROM unnest(@keys::text[]) AS e(key)
WHERE NOT EXISTS (SELECT 1 FROM object_keys o WHERE o.key = e.key);

-- What the catalog knows was decided when it was committed or killed. A fault that was met before and is gone is forgotten.
-- name: AddRecoveryObjects :exec
INSERT INTO recovery_objects (key, session_id, size_bytes, modified_at, fault)
SELECT e.key, e.session_id, e.size_bytes, e.modified_at, e.fault
FROM ROWS FROM (unnest(@keys::text[]), unnest(@session_ids::uuid[]), unnest(@sizes_bytes::bigint[]), unnest(@modified_at::timestamptz[]), unnest(@faults::text[]))
     AS e(key, session_id, size_bytes, modified_at, fault)
WHERE NOT EXISTS (SELECT 1 FROM object_keys o WHERE o.key = e.key)
ON CONFLICT (key) DO UPDATE SET fault = excluded.fault;

-- name: AddRecoverySegments :exec
INSERT INTO recovery_segments (topic_id, partition, base_offset, staged_id, byte_position, max_timestamp_ms, tenure_first_offset, record_count, size_bytes, epoch, crc32c)
SELECT e.topic_id, e.partition, e.base_offset, o.staged_id, e.byte_position, e.max_timestamp_ms, e.tenure_first_offset, e.record_count, e.size_bytes, e.epoch, e.crc32c
FROM ROWS FROM (unnest(@keys::text[]), unnest(@topic_ids::uuid[]), unnest(@partitions::int[]), unnest(@base_offsets::bigint[]), unnest(@byte_positions::bigint[]),
                unnest(@max_timestamps_ms::bigint[]), unnest(@tenure_first_offsets::bigint[]), unnest(@record_counts::int[]), unnest(@sizes_bytes::int[]),
                unnest(@epochs::int[]), unnest(@crc32cs::int[]))
     AS e(key, topic_id, partition, base_offset, byte_position, max_timestamp_ms, tenure_first_offset, record_count, size_bytes, epoch, crc32c)
JOIN recovery_objects o ON o.key = e.key
ON CONFLICT (topic_id, partition, base_offset, staged_id) DO NOTHING;

-- name: AddRecoveryTopic :exec
INSERT INTO recovery_topics (topic_id, from_checkpoint, agent_group, name, created_at, partition_count, deleted, config)
VALUES (@topic_id, @from_checkpoint, @agent_group, @name, @created_at, @partition_count, @deleted, @config)
ON CONFLICT (topic_id, from_checkpoint) DO UPDATE
SET name = excluded.name, partition_count = excluded.partition_count, deleted = excluded.deleted, config = excluded.config;

-- A checkpoint that is newer than the one that was read first knows more.
-- name: AddRecoveryMarks :exec
INSERT INTO recovery_marks (topic_id, partition, log_start_offset, high_watermark, epoch)
SELECT e.topic_id, e.partition, e.log_start_offset, e.high_watermark, e.epoch
FROM ROWS FROM (unnest(@topic_ids::uuid[]), unnest(@partitions::int[]), unnest(@log_start_offsets::bigint[]), unnest(@high_watermarks::bigint[]), unnest(@epochs::int[]))
     AS e(topic_id, partition, log_start_offset, high_watermark, epoch)
ON CONFLICT (topic_id, partition) DO UPDATE
SET log_start_offset = GREATEST(recovery_marks.log_start_offset, excluded.log_start_offset),
    high_watermark = GREATEST(recovery_marks.high_watermark, excluded.high_watermark), epoch = GREATEST(recovery_marks.epoch, excluded.epoch);

-- name: RecoveryTopics :many
SELECT * FROM recovery_topics ORDER BY topic_id, from_checkpoint DESC;

-- One more than the greatest partition that a footer names, of each topic that is known.
-- name: RecoveryPartitionCounts :many
SELECT t.topic_id, (COALESCE((SELECT r.partition + 1 FROM recovery_segments r WHERE r.topic_id = t.topic_id ORDER BY r.partition DESC LIMIT 1), 0))::int AS partition_count
FROM (SELECT DISTINCT r.topic_id FROM recovery_topics r) AS t;

-- Agent groups with records in the bucket, of which neither a checkpoint nor a description names a topic, nor the catalog.
-- name: GroupsWithoutTopics :many
SELECT g.agent_group, g.objects FROM (
    SELECT split_part(o.key, '/', 1)::text AS agent_group, count(*) AS objects FROM recovery_objects o
    WHERE EXISTS (SELECT 1 FROM recovery_segments s WHERE s.staged_id = o.staged_id) GROUP BY 1) AS g
WHERE NOT EXISTS (SELECT 1 FROM recovery_topics r WHERE r.agent_group = g.agent_group)
  AND NOT EXISTS (SELECT 1 FROM topics t WHERE t.agent_group = g.agent_group)
ORDER BY g.agent_group;

-- Topics with records in the bucket that nothing names: they were deleted, and the checkpoint that said so has been replaced.
-- name: CountNamelessTopics :one
SELECT count(DISTINCT s.topic_id) FROM recovery_segments s
WHERE NOT EXISTS (SELECT 1 FROM recovery_topics r WHERE r.topic_id = s.topic_id) AND NOT EXISTS (SELECT 1 FROM topics t WHERE t.topic_id = s.topic_id);

-- Names and ids of topics that the catalog has already.
-- name: TopicsForRecovery :many
SELECT topic_id, name, agent_group, partition_count, created_at, (deleted_at IS NOT NULL)::boolean AS deleted FROM topics;

-- name: EnsureAgentGroupForRecovery :exec
INSERT INTO agent_groups (agent_group) VALUES (@agent_group) ON CONFLICT (agent_group) DO UPDATE SET deleted_at = NULL;

-- Revisions are given when the recovery ends.
-- name: InsertRecoveredTopic :exec
INSERT INTO topics (topic_id, name, agent_group, partition_count, max_record_bytes, allow_buffered_acks, preferred_zones, created_at, revision,
                    retention_ms, retention_bytes, cleanup_policy, delete_retention_ms, min_compaction_lag_ms)
VALUES (@topic_id, @name, @agent_group, @partition_count, @max_record_bytes, @allow_buffered_acks, @preferred_zones::text[], @created_at, 0,
        @retention_ms, @retention_bytes, @cleanup_policy, @delete_retention_ms, @min_compaction_lag_ms);

-- name: DeleteRecoveredTopic :execrows
UPDATE topics SET deleted_at = clock_timestamp() WHERE topic_id = @topic_id AND deleted_at IS NULL;

-- name: WidenRecoveredTopic :exec
UPDATE topics SET partition_count = GREATEST(partition_count, @partition_count::int) WHERE topic_id = @topic_id;

-- Partitions of a topic that are not there yet.
-- name: InsertRecoveredPartitions :exec
INSERT INTO partitions (topic_id, partition, agent_group, revision)
SELECT t.topic_id, n.n, t.agent_group, 0 FROM topics t CROSS JOIN LATERAL generate_series(0, t.partition_count - 1) AS n(n)
WHERE t.topic_id = @topic_id
ON CONFLICT (topic_id, partition) DO NOTHING;

-- name: ListRecoveryPartitions :exec
INSERT INTO recovery_partitions (partition_id)
SELECT p.partition_id FROM partitions p JOIN topics t ON t.topic_id = p.topic_id AND t.deleted_at IS NULL
ON CONFLICT DO NOTHING;

-- Partitions whose log is to be made, some of them. A mark of 0, 0, 0 says nothing.
-- name: PartitionsToBuild :many
SELECT p.partition_id, p.topic_id, p.partition, p.epoch, p.high_watermark, p.log_start_offset,
       COALESCE(m.log_start_offset, 0)::bigint AS mark_log_start, COALESCE(m.high_watermark, 0)::bigint AS mark_high_watermark, COALESCE(m.epoch, 0)::int AS mark_epoch
FROM recovery_partitions r
JOIN partitions p ON p.partition_id = r.partition_id
LEFT JOIN recovery_marks m ON m.topic_id = p.topic_id AND m.partition = p.partition
WHERE NOT r.built
ORDER BY r.partition_id LIMIT @page;

-- name: RecoveryCandidates :many
SELECT r.staged_id, r.base_offset, r.tenure_first_offset, r.record_count, r.size_bytes, r.epoch
FROM recovery_segments r
WHERE r.topic_id = @topic_id AND r.partition = @partition;

-- Objects that logs lie in: references are counted, and outcomes given, when all logs are made.
-- name: AdoptObjects :exec
INSERT INTO object_keys (key, session_id, size_bytes, outcome, created_at)
SELECT o.key, o.session_id, o.size_bytes, ''::bytea, LEAST(o.modified_at, clock_timestamp())
FROM recovery_objects o WHERE o.staged_id = ANY(@staged_ids::bigint[]) ORDER BY o.key
ON CONFLICT (key) DO NOTHING;

-- Requires: AdoptObjects. In the same order as the arrays.
-- name: InsertRecoveredSegments :execrows
INSERT INTO segments (partition_id, base_offset, object_id, byte_position, max_timestamp_ms, record_count, size_bytes, epoch, crc32c)
SELECT @partition_id::bigint, r.base_offset, k.object_id, r.byte_position, r.max_timestamp_ms, r.record_count, r.size_bytes, r.epoch, r.crc32c
FROM ROWS FROM (unnest(@staged_ids::bigint[]), unnest(@base_offsets::bigint[])) AS e(staged_id, base_offset)
JOIN recovery_segments r ON r.topic_id = @topic_id AND r.partition = @partition AND r.base_offset = e.base_offset AND r.staged_id = e.staged_id
JOIN recovery_objects o ON o.staged_id = r.staged_id
JOIN object_keys k ON k.key = o.key;

-- The catalog is halted: nobody else moves it.
-- name: SetRecoveredLog :execrows
UPDATE partitions SET log_start_offset = @log_start_offset, high_watermark = @high_watermark WHERE partition_id = @partition_id;

-- name: MarkBuilt :execrows
UPDATE recovery_partitions SET built = true, first_offset = @first_offset, high_watermark = @high_watermark, lost = @lost,
                               segment_count = @segment_count, size_bytes = @size_bytes
WHERE partition_id = @partition_id AND NOT built;

-- name: CountBuilt :one
SELECT count(*) FILTER (WHERE built) AS built, count(*) AS partitions FROM recovery_partitions;

-- The next objects that are to get their outcome, with all that their footers name, and whether it became part of a log.
-- name: ObjectsToSettle :many
WITH page AS MATERIALIZED (
    SELECT o.staged_id, o.key FROM recovery_objects o WHERE o.staged_id > @after_staged_id::bigint ORDER BY o.staged_id LIMIT @page
)
SELECT g.staged_id, COALESCE(k.object_id, 0)::bigint AS object_id, COALESCE(p.epoch, 0)::int AS epoch, COALESCE(p.high_watermark, 0)::bigint AS high_watermark,
       (p.partition_id IS NOT NULL)::boolean AS known, (s.object_id IS NOT NULL)::boolean AS referenced,
       COALESCE(r.epoch, 0)::int AS segment_epoch, (COALESCE(r.base_offset, 0) + COALESCE(r.record_count, 0))::bigint AS segment_end
FROM page g
LEFT JOIN object_keys k ON k.key = g.key
LEFT JOIN recovery_segments r ON r.staged_id = g.staged_id AND k.object_id IS NOT NULL
LEFT JOIN partitions p ON p.topic_id = r.topic_id AND p.partition = r.partition
LEFT JOIN segments s ON s.partition_id = p.partition_id AND s.base_offset = r.base_offset AND s.object_id = k.object_id
ORDER BY g.staged_id, r.byte_position;

-- name: SettleUpTo :exec
UPDATE recoveries SET settled_staged_id = GREATEST(settled_staged_id, @staged_id::bigint);

-- Staged segments after the given one, and whether they became part of a log and lie in an object that is not older than the window (0: any).
-- name: SegmentsToReplay :many
WITH page AS MATERIALIZED (
    SELECT r.staged_id, r.byte_position, r.topic_id, r.partition, r.base_offset, r.size_bytes, r.crc32c FROM recovery_segments r
    WHERE (r.staged_id, r.byte_position) > (@after_staged_id::bigint, @after_byte_position::bigint) AND r.size_bytes > 0
    ORDER BY r.staged_id, r.byte_position LIMIT @page
)
SELECT g.staged_id, g.byte_position, (s.object_id IS NOT NULL)::boolean AS wanted, COALESCE(p.partition_id, 0)::bigint AS partition_id, COALESCE(k.key, '')::text AS key,
       g.size_bytes, g.crc32c
FROM page g
LEFT JOIN partitions p ON p.topic_id = g.topic_id AND p.partition = g.partition
LEFT JOIN recovery_objects o ON o.staged_id = g.staged_id
LEFT JOIN object_keys k ON k.key = o.key
      AND (@window_seconds::float8 = 0 OR k.created_at > clock_timestamp() - make_interval(secs => @window_seconds::float8))
LEFT JOIN segments s ON s.partition_id = p.partition_id AND s.base_offset = g.base_offset AND s.object_id = k.object_id
ORDER BY g.staged_id, g.byte_position;

-- name: CountToReplay :one
SELECT COALESCE(sum(r.segment_count), 0)::bigint AS segments, (SELECT COALESCE(max(o.staged_id), 0) FROM recovery_objects o)::bigint AS last_staged_id
FROM recovery_partitions r;

-- name: ReplayedUpTo :exec
UPDATE recoveries SET replayed_staged_id = @staged_id, replayed_byte_position = @byte_position
WHERE (replayed_staged_id, replayed_byte_position) < (@staged_id::bigint, @byte_position::bigint);

-- name: RecoveryTotals :one
SELECT (SELECT count(*) FROM recovery_objects)::bigint AS objects,
       (SELECT count(*) FROM recovery_objects o JOIN object_keys k ON k.key = o.key WHERE k.reference_count > 0)::bigint AS referenced,
       (SELECT count(*) FROM recovery_objects o WHERE o.fault <> '')::bigint AS faulty,
       (SELECT count(*) FROM topics t WHERE t.deleted_at IS NULL)::bigint AS topics,
       count(*)::bigint AS partitions, COALESCE(sum(r.segment_count), 0)::bigint AS segments,
       COALESCE(sum(r.high_watermark - r.first_offset), 0)::bigint AS records, COALESCE(sum(r.size_bytes), 0)::bigint AS bytes,
       COALESCE(sum(r.lost), 0)::bigint AS lost, (SELECT count(*) FROM producers)::bigint AS producers
FROM recovery_partitions r;

-- name: LostRanges :many
SELECT t.name, p.partition, r.high_watermark, (r.high_watermark + r.lost)::bigint AS known_high_watermark
FROM recovery_partitions r JOIN partitions p ON p.partition_id = r.partition_id JOIN topics t ON t.topic_id = p.topic_id
WHERE r.lost > 0 ORDER BY t.name, p.partition LIMIT 100;

-- name: GreatestProducerID :one
SELECT COALESCE(max(producer_id), 0)::bigint FROM producers;

-- Nothing of a recovery is left.
-- name: ForgetRecovery :exec
TRUNCATE recoveries, recovery_shards, recovery_objects, recovery_segments, recovery_topics, recovery_marks, recovery_partitions;

-- What has been replayed of these producers. Who else would write them waits for the recovery.
-- name: ReplayedProducers :many
SELECT q.partition_id, q.producer_id, q.producer_epoch, q.batches
FROM ROWS FROM (unnest(@partition_ids::bigint[]), unnest(@producer_ids::bigint[])) AS e(partition_id, producer_id)
JOIN producers q ON q.partition_id = e.partition_id AND q.producer_id = e.producer_id;
