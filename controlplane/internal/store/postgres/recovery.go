package postgres

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/commit"
	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

var _ store.Recovery = (*Store)(nil)

const (
	// tenureBits are an epoch's lower bits; the incarnation is above them.
	tenureBits = 23
	// rebuildReason is why a catalog is halted that is being rebuilt.
	rebuildReason = "it is being rebuilt from the bucket: nothing is served before `streamhouse recover` has ended (it may be run again)"
)

// Steps of a recovery, as its row has them.
const (
	stepInventory = int16(controlplanev1.RecoveryStep_RECOVERY_STEP_INVENTORY)
	stepLogs      = int16(controlplanev1.RecoveryStep_RECOVERY_STEP_LOGS)
	stepProducers = int16(controlplanev1.RecoveryStep_RECOVERY_STEP_PRODUCERS)
	stepReady     = int16(controlplanev1.RecoveryStep_RECOVERY_STEP_READY)

	kindRebuild     = int16(controlplanev1.RecoveryKind_RECOVERY_KIND_REBUILD)
	kindRollForward = int16(controlplanev1.RecoveryKind_RECOVERY_KIND_ROLL_FORWARD)
)

// refuseHalfRecovered keeps a catalog from serving of which only a part has been made. One that has only been compared with the bucket is as it was.
func refuseHalfRecovered(ctx context.Context, q *db.Queries) error {
	rows, err := q.LockRecovery(ctx)
	if err != nil || len(rows) == 0 {
		return err
	}
	if rows[0].Kind == kindRebuild || rows[0].Step > stepInventory {
		return store.Refuse(refusalv1.Reason_REASON_INVALID, "the catalog is being made from the bucket: run the same command again until it has ended")
	}
	return q.ForgetRecovery(ctx)
}

// BeginRecovery halts an empty catalog, or answers what is under way.
func (s *Store) BeginRecovery(ctx context.Context, request *controlplanev1.BeginRecoveryRequest) (*controlplanev1.BeginRecoveryResponse, error) {
	var response *controlplanev1.BeginRecoveryResponse
	err := s.write(ctx, harmless, func(ctx context.Context, q *db.Queries) error {
		catalog, err := q.LockCatalog(ctx)
		if err != nil {
			return fmt.Errorf("lock catalog: %w", err)
		}
		found, err := q.LockRecovery(ctx)
		if err != nil {
			return fmt.Errorf("lock recovery: %w", err)
		}
		if len(found) == 0 {
			if found, err = beginRecovery(ctx, q, catalog, request); err != nil {
				return err
			}
		}
		if found[0].Kind != int16(request.GetKind()) {
			return store.Refuse(refusalv1.Reason_REASON_INVALID, "a recovery of another kind is under way since %s", found[0].BegunAt.UTC().Format(time.RFC3339))
		}
		response, err = recoveryState(ctx, q, found[0])
		return err
	})
	return response, err
}

func beginRecovery(ctx context.Context, q *db.Queries, catalog db.LockCatalogRow, request *controlplanev1.BeginRecoveryRequest) ([]db.Recovery, error) {
	if request.GetKind() == controlplanev1.RecoveryKind_RECOVERY_KIND_ROLL_FORWARD {
		if _, err := nextIncarnation(ctx, q, request.GetIncarnation()); err != nil {
			return nil, err
		}
	} else if err := haltEmpty(ctx, q); err != nil {
		return nil, err
	}
	if err := q.InsertRecovery(ctx, uuid.New(), int16(request.GetKind()), []string{}); err != nil {
		return nil, fmt.Errorf("begin recovery: %w", err)
	}
	if err := q.RaiseRecoveryIncarnation(ctx, max(catalog.Incarnation, catalog.NewestIncarnation)); err != nil {
		return nil, fmt.Errorf("raise incarnation: %w", err)
	}
	return q.LockRecovery(ctx)
}

// haltEmpty refuses unless the catalog has nothing, and halts it.
func haltEmpty(ctx context.Context, q *db.Queries) error {
	empty, err := q.CatalogIsEmpty(ctx)
	if err != nil {
		return fmt.Errorf("look at the catalog: %w", err)
	}
	if !empty {
		return store.Refuse(refusalv1.Reason_REASON_CATALOG_NOT_EMPTY,
			"the catalog has topics, or had some: only a new and empty database can be rebuilt from the bucket; `streamhouse catalog adopt` rolls a halted one forward")
	}
	rows, err := q.HaltForRecovery(ctx, rebuildReason)
	return verdict("halt the catalog", rows, 1, err)
}

func recoveryState(ctx context.Context, q *db.Queries, row db.Recovery) (*controlplanev1.BeginRecoveryResponse, error) {
	shards, err := q.RecoveryShards(ctx)
	if err != nil {
		return nil, fmt.Errorf("read shards: %w", err)
	}
	response := &controlplanev1.BeginRecoveryResponse{RecoveryId: row.RecoveryID.String(), Step: controlplanev1.RecoveryStep(row.Step)}
	for _, shard := range shards {
		response.Done = append(response.Done, &controlplanev1.RecoveryShard{AgentGroup: shard.AgentGroup, Shard: int32(shard.Shard)})
	}
	response.AgentGroups, err = q.AgentGroupsWithTopics(ctx)
	return response, err
}

// recover runs fn in a transaction that holds the recovery's row, at one of the steps.
func (s *Store) recover(ctx context.Context, id string, fn func(ctx context.Context, q *db.Queries, row db.Recovery) error, steps ...int16) error {
	return s.write(ctx, harmless, func(ctx context.Context, q *db.Queries) error {
		if err := allowTime(ctx, q); err != nil {
			return err
		}
		row, err := lockRecovery(ctx, q, id)
		if err != nil {
			return err
		}
		if slices.Contains(steps, row.Step) {
			return fn(ctx, q, row)
		}
		return store.Refuse(refusalv1.Reason_REASON_INVALID, "the recovery waits for something else (step %s)", controlplanev1.RecoveryStep(row.Step))
	})
}

func lockRecovery(ctx context.Context, q *db.Queries, id string) (db.Recovery, error) {
	rows, err := q.LockRecovery(ctx)
	if err != nil {
		return db.Recovery{}, fmt.Errorf("lock recovery: %w", err)
	}
	if len(rows) == 0 || rows[0].RecoveryID.String() != id {
		return db.Recovery{}, refuseField("recovery_id", "names no recovery that is under way")
	}
	return rows[0], nil
}

// FindUnknownKeys is one statement.
func (s *Store) FindUnknownKeys(ctx context.Context, request *controlplanev1.FindUnknownKeysRequest) (*controlplanev1.FindUnknownKeysResponse, error) {
	response := &controlplanev1.FindUnknownKeysResponse{}
	err := s.read(ctx, func(ctx context.Context, q *db.Queries) (err error) {
		response.Keys, err = q.UnknownObjectKeys(ctx, request.GetKeys())
		return err
	})
	return response, err
}

// AddObjects keeps what the footers say. Objects that the catalog knows are passed over: what they are was decided when they were committed.
func (s *Store) AddObjects(ctx context.Context, request *controlplanev1.AddObjectsRequest) (*controlplanev1.AddObjectsResponse, error) {
	objects, segments, newest, err := stagedColumns(request.GetObjects())
	if err != nil {
		return nil, err
	}
	err = s.recover(ctx, request.GetRecoveryId(), func(ctx context.Context, q *db.Queries, _ db.Recovery) error {
		if err := q.AddRecoveryObjects(ctx, objects); err != nil {
			return fmt.Errorf("add objects: %w", err)
		}
		if err := q.AddRecoverySegments(ctx, segments); err != nil {
			return fmt.Errorf("add segments: %w", err)
		}
		if err := q.RaiseRecoveryIncarnation(ctx, newest); err != nil {
			return fmt.Errorf("raise incarnation: %w", err)
		}
		if done := request.GetDone(); done != nil {
			return q.AddRecoveryShard(ctx, done.GetAgentGroup(), int16(done.GetShard()))
		}
		return nil
	}, stepInventory)
	if err != nil {
		return nil, err
	}
	return &controlplanev1.AddObjectsResponse{}, nil
}

// stagedColumns turns objects into columns; newest is the newest incarnation that they speak of.
func stagedColumns(list []*controlplanev1.StoredObject) (objects db.AddRecoveryObjectsParams, segments db.AddRecoverySegmentsParams, newest int16, err error) {
	at := map[string]int{} // an object that comes in several parts is inserted once
	for i, object := range list {
		group, _, _ := strings.Cut(object.GetKey(), "/")
		parts, named := commit.ParseKey(group, object.GetKey())
		incarnation, formed := incarnationOf(object.GetKey())
		if !named || !formed {
			return objects, segments, 0, refuseField(fmt.Sprintf("objects[%d].key", i), "is no object's key")
		}
		newest = max(newest, incarnation)
		if _, seen := at[object.GetKey()]; !seen {
			at[object.GetKey()] = i
			objects.Keys, objects.SessionIds = append(objects.Keys, object.GetKey()), append(objects.SessionIds, parts.Writer)
			objects.SizesBytes, objects.ModifiedAt = append(objects.SizesBytes, object.GetSizeBytes()), append(objects.ModifiedAt, object.GetModifiedAt().AsTime())
			objects.Faults = append(objects.Faults, object.GetFault())
		}
		for _, segment := range object.GetSegments() {
			newest = max(newest, int16(segment.GetEpoch()>>tenureBits))
			addSegment(&segments, object.GetKey(), segment)
		}
	}
	return objects, segments, newest, nil
}

// incarnationOf reads the number after the second slash.
func incarnationOf(key string) (incarnation int16, ok bool) {
	name := key[strings.LastIndexByte(key, '/')+1:]
	n := 0
	for i := range len(name) {
		switch c := name[i]; {
		case c == '-':
			return int16(n), i > 0 && n <= newestIncarnation
		case c < '0' || c > '9' || n > newestIncarnation:
			return 0, false
		default:
			n = n*10 + int(c-'0')
		}
	}
	return 0, false
}

func addSegment(segments *db.AddRecoverySegmentsParams, key string, s *controlplanev1.StoredSegment) {
	segments.Keys, segments.TopicIds = append(segments.Keys, key), append(segments.TopicIds, uuid.UUID(s.GetTopicId()))
	segments.Partitions, segments.BaseOffsets = append(segments.Partitions, s.GetPartition()), append(segments.BaseOffsets, s.GetBaseOffset())
	segments.BytePositions = append(segments.BytePositions, s.GetBytePosition())
	segments.MaxTimestampsMs = append(segments.MaxTimestampsMs, s.GetMaxTimestampMs())
	segments.TenureFirstOffsets = append(segments.TenureFirstOffsets, s.GetTenureFirstOffset())
	segments.RecordCounts, segments.SizesBytes = append(segments.RecordCounts, s.GetRecordCount()), append(segments.SizesBytes, s.GetSizeBytes())
	segments.Epochs, segments.Crc32cs = append(segments.Epochs, s.GetEpoch()), append(segments.Crc32cs, int32(s.GetCrc32C()))
}

// AddTopics keeps what checkpoints and descriptions say.
func (s *Store) AddTopics(ctx context.Context, request *controlplanev1.AddTopicsRequest) (*controlplanev1.AddTopicsResponse, error) {
	topics, err := stagedTopics(request)
	if err != nil {
		return nil, err
	}
	marks, newest := stagedMarks(request)
	err = s.recover(ctx, request.GetRecoveryId(), func(ctx context.Context, q *db.Queries, _ db.Recovery) error {
		for _, topic := range topics {
			if err := q.AddRecoveryTopic(ctx, topic); err != nil {
				return fmt.Errorf("add topic %s: %w", topic.Name, err)
			}
		}
		if err := q.AddRecoveryMarks(ctx, marks); err != nil {
			return fmt.Errorf("add partitions: %w", err)
		}
		return q.RaiseRecoveryIncarnation(ctx, newest)
	}, stepInventory)
	if err != nil {
		return nil, err
	}
	return &controlplanev1.AddTopicsResponse{}, nil
}

func stagedTopics(request *controlplanev1.AddTopicsRequest) ([]db.AddRecoveryTopicParams, error) {
	var topics []db.AddRecoveryTopicParams
	for i, recovered := range request.GetTopics() {
		t := recovered.GetTopic()
		id, err := uuid.Parse(t.GetTopicId())
		if err != nil || t.GetName() == "" || t.GetPartitionCount() < 1 || t.GetAgentGroup() != request.GetAgentGroup() {
			return nil, refuseField(fmt.Sprintf("topics[%d].topic", i), "must have an id, a name, partitions, and the agent group of the request")
		}
		config, err := proto.Marshal(t.GetConfig())
		if err != nil {
			return nil, fmt.Errorf("encode configuration of topic %s: %w", t.GetName(), err)
		}
		topics = append(topics, db.AddRecoveryTopicParams{
			TopicID: id, FromCheckpoint: request.GetCheckpoint(), AgentGroup: t.GetAgentGroup(), Name: t.GetName(), CreatedAt: t.GetCreatedAt().AsTime(),
			PartitionCount: t.GetPartitionCount(), Deleted: recovered.GetDeleted(), Config: append([]byte{}, config...),
		})
	}
	return topics, nil
}

// stagedMarks are columns. A partition that is named twice, which an INSERT must not meet, counts as it was named first.
func stagedMarks(request *controlplanev1.AddTopicsRequest) (marks db.AddRecoveryMarksParams, newest int16) {
	newest = int16(request.GetIncarnation())
	seen := map[commit.PartitionKey]bool{}
	for _, p := range request.GetPartitions() {
		key := commit.PartitionKey{Topic: uuid.UUID(p.GetTopicId()), Number: p.GetPartition()}
		if seen[key] {
			continue
		}
		seen[key] = true
		newest = max(newest, int16(min(p.GetEpoch()>>tenureBits, math.MaxUint8)))
		marks.TopicIds, marks.Partitions = append(marks.TopicIds, uuid.UUID(p.GetTopicId())), append(marks.Partitions, p.GetPartition())
		marks.LogStartOffsets, marks.HighWatermarks = append(marks.LogStartOffsets, p.GetLogStartOffset()), append(marks.HighWatermarks, p.GetHighWatermark())
		marks.Epochs = append(marks.Epochs, p.GetEpoch())
	}
	return marks, newest
}
