package postgres

import (
	"cmp"
	"context"
	"fmt"
	"strconv"

	"github.com/google/uuid"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

const (
	// auditPage is how many partitions one call looks at.
	auditPage = 500
	// referencedPage is how many objects are listed where the request does not say.
	referencedPage = 10_000
	// objectProblems bounds what is said of one object.
	objectProblems = 100
)

// AuditObjects compares objects of the bucket with the catalog. Footers never change, and references are counted in the transaction that makes
// or drops them, so that one snapshot cannot disagree with itself.
func (s *Store) AuditObjects(ctx context.Context, request *controlplanev1.AuditObjectsRequest) (*controlplanev1.AuditObjectsResponse, error) {
	var response *controlplanev1.AuditObjectsResponse
	err := s.snapshot(ctx, func(ctx context.Context, q *db.Queries) error {
		keys := make([]string, len(request.GetObjects()))
		for i, object := range request.GetObjects() {
			keys[i] = object.GetKey()
		}
		rows, err := q.AuditKeys(ctx, keys)
		if err != nil {
			return fmt.Errorf("read keys: %w", err)
		}
		known := make(map[string]db.AuditKeysRow, len(rows))
		for _, row := range rows {
			known[row.Key] = row
		}
		segments, err := auditSegments(ctx, q, request.GetObjects(), known)
		if err != nil {
			return err
		}
		response = &controlplanev1.AuditObjectsResponse{}
		for i, object := range request.GetObjects() {
			row, found := known[object.GetKey()]
			response.Objects = append(response.Objects, auditObject(object, row, found, segments[i]))
		}
		return nil
	})
	return response, err
}

// auditSegments reads the catalog's segments of each object, by object and index.
func auditSegments(ctx context.Context, q *db.Queries, objects []*controlplanev1.StoredObject, known map[string]db.AuditKeysRow) (
	map[int]map[int]db.AuditSegmentsRow, error,
) {
	type place struct{ object, segment int }
	var places []place
	var arg db.AuditSegmentsParams
	for i, object := range objects {
		row, found := known[object.GetKey()]
		if !found {
			continue
		}
		for j, s := range object.GetSegments() {
			arg.Ordinals, arg.ObjectIds = append(arg.Ordinals, int32(len(places))), append(arg.ObjectIds, row.ObjectID)
			arg.TopicIds, arg.Partitions = append(arg.TopicIds, uuid.UUID(s.GetTopicId())), append(arg.Partitions, s.GetPartition())
			arg.BaseOffsets = append(arg.BaseOffsets, s.GetBaseOffset())
			places = append(places, place{i, j})
		}
	}
	rows, err := q.AuditSegments(ctx, arg)
	if err != nil {
		return nil, fmt.Errorf("read segments: %w", err)
	}
	found := map[int]map[int]db.AuditSegmentsRow{}
	for _, row := range rows {
		at := places[row.Ordinal]
		if found[at.object] == nil {
			found[at.object] = map[int]db.AuditSegmentsRow{}
		}
		found[at.object][at.segment] = row
	}
	return found, nil
}

func auditObject(object *controlplanev1.StoredObject, row db.AuditKeysRow, found bool, segments map[int]db.AuditSegmentsRow) *controlplanev1.AuditedObject {
	audited := &controlplanev1.AuditedObject{Fate: fateOf(row, found), ObjectId: row.ObjectID}
	say := func(format string, args ...any) {
		if len(audited.GetProblems()) < objectProblems {
			audited.Problems = append(audited.Problems, fmt.Sprintf(format, args...))
		}
	}
	if audited.GetFate() != controlplanev1.ObjectFate_OBJECT_FATE_REFERENCED {
		return audited
	}
	if object.GetFault() != "" {
		say("its footer cannot be read: %s", object.GetFault())
		return audited
	}
	if object.GetSizeBytes() != row.SizeBytes {
		say("it has %d bytes, the catalog says %d", object.GetSizeBytes(), row.SizeBytes)
	}
	for i, footer := range object.GetSegments() {
		catalog, referenced := segments[i]
		if !referenced {
			continue
		}
		audited.Referenced = append(audited.Referenced, int32(i))
		if difference := segmentDifference(footer, catalog); difference != "" {
			say("segment %d (partition %s/%d, offset %d): %s", i, uuid.UUID(footer.GetTopicId()), footer.GetPartition(), footer.GetBaseOffset(), difference)
		}
	}
	if len(audited.GetReferenced()) != int(row.ReferenceCount) {
		say("the catalog counts %d segments in it, and has %d of those that its footer names", row.ReferenceCount, len(audited.GetReferenced()))
	}
	return audited
}

func fateOf(row db.AuditKeysRow, found bool) controlplanev1.ObjectFate {
	switch {
	case !found:
		return controlplanev1.ObjectFate_OBJECT_FATE_UNKNOWN
	case row.Dead:
		return controlplanev1.ObjectFate_OBJECT_FATE_DEAD
	case row.ReferenceCount > 0:
		return controlplanev1.ObjectFate_OBJECT_FATE_REFERENCED
	default:
		return controlplanev1.ObjectFate_OBJECT_FATE_UNREFERENCED
	}
}

// segmentDifference says where footer and catalog disagree; empty: nowhere.
func segmentDifference(footer *controlplanev1.StoredSegment, row db.AuditSegmentsRow) string {
	for _, c := range []struct {
		what            string
		footer, catalog int64
	}{
		{"its position", footer.GetBytePosition(), row.BytePosition},
		{"its size", int64(footer.GetSizeBytes()), int64(row.SizeBytes)},
		{"its record count", int64(footer.GetRecordCount()), int64(row.RecordCount)},
		{"its epoch", int64(footer.GetEpoch()), int64(row.Epoch)},
		{"its checksum", int64(footer.GetCrc32C()), int64(uint32(row.Crc32c))},
		{"its greatest timestamp", footer.GetMaxTimestampMs(), row.MaxTimestampMs},
	} {
		if c.footer != c.catalog {
			return fmt.Sprintf("%s is %d, the catalog says %d", c.what, c.footer, c.catalog)
		}
	}
	return ""
}

// ListReferencedObjects reads one page.
func (s *Store) ListReferencedObjects(ctx context.Context, request *controlplanev1.ListReferencedObjectsRequest) (
	*controlplanev1.ListReferencedObjectsResponse, error,
) {
	response := &controlplanev1.ListReferencedObjectsResponse{}
	err := s.read(ctx, func(ctx context.Context, q *db.Queries) error {
		rows, err := q.ReferencedObjects(ctx, request.GetAfterObjectId(), cmp.Or(request.GetPageSize(), referencedPage))
		if err != nil {
			return fmt.Errorf("read objects: %w", err)
		}
		response.Objects = nil
		for _, row := range rows {
			response.Objects = append(response.Objects, &controlplanev1.ReferencedObject{ObjectId: row.ObjectID, Key: row.Key, SizeBytes: row.SizeBytes})
		}
		return nil
	})
	return response, err
}

// AuditPartitions checks a page. The token is the id of the last partition.
func (s *Store) AuditPartitions(ctx context.Context, request *controlplanev1.AuditPartitionsRequest) (*controlplanev1.AuditPartitionsResponse, error) {
	last, err := parseToken(request.GetPageToken())
	if err != nil {
		return nil, err
	}
	after, err := strconv.ParseInt(cmp.Or(last, "0"), 10, 64)
	if err != nil {
		return nil, refuseToken()
	}
	var rows []db.AuditLogsRow
	err = s.snapshot(ctx, func(ctx context.Context, q *db.Queries) error {
		if err := allowTime(ctx, q); err != nil {
			return err
		}
		rows, err = q.AuditLogs(ctx, after, auditPage)
		return err
	})
	if err != nil {
		return nil, err
	}
	response := &controlplanev1.AuditPartitionsResponse{PartitionCount: int64(len(rows))}
	for _, row := range rows {
		response.SegmentCount += row.Segments
		if problem := logProblem(row); problem != "" {
			response.Problems = append(response.Problems, fmt.Sprintf("partition %s/%d: %s", row.Name, row.Partition, problem))
		}
	}
	if len(rows) == auditPage {
		response.NextPageToken = pageToken(strconv.FormatInt(rows[len(rows)-1].PartitionID, 10))
	}
	return response, nil
}

// logProblem says what is wrong with a partition's segments; empty: nothing (P2).
func logProblem(row db.AuditLogsRow) string {
	switch {
	case row.Homeless > 0:
		return fmt.Sprintf("%d of its segments lie in objects that the catalog does not refer to", row.Homeless)
	case row.Breaks > 0:
		return fmt.Sprintf("its segments leave a gap or overlap in %d places, first at offset %d", row.Breaks, row.FirstBreak)
	case row.Ends > row.HighWatermark:
		return fmt.Sprintf("its segments end at offset %d, beyond its high watermark %d", row.Ends, row.HighWatermark)
	case row.LogStartOffset == row.HighWatermark:
		return "" // empty: what lies below the log start is on its way out
	case row.First < 0 || row.First > row.LogStartOffset:
		return fmt.Sprintf("its log begins at offset %d, its first segment at %d", row.LogStartOffset, row.First)
	case row.Ends < row.HighWatermark:
		return fmt.Sprintf("its segments end at offset %d, below its high watermark %d", row.Ends, row.HighWatermark)
	}
	return ""
}
