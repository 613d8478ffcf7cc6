package postgres

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/commit"
	"github.com/streamhouse/streamhouse/controlplane/internal/producer"
	"github.com/streamhouse/streamhouse/controlplane/internal/rebuild"
	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

const (
	// replayPage is how many segments an answer names.
	replayPage = 1000
	// replayTime is how long one call looks for segments that are to be read.
	replayTime = 3 * time.Second
	// placePrefix tells this release's tokens from those of the one before, which counted by partition.
	placePrefix = "object "
)

// replayed is how far producers have been replayed: up to the segment at a byte position of an object.
type replayed struct{ stagedID, bytePosition int64 }

func (p replayed) String() string {
	return fmt.Sprintf("%s%d/%d", placePrefix, p.stagedID, p.bytePosition)
}

// ReplayProducers takes in one page and answers the next. Where a page was taken in, its producers and the place are one transaction.
func (s *Store) ReplayProducers(ctx context.Context, request *controlplanev1.ReplayProducersRequest) (*controlplanev1.ReplayProducersResponse, error) {
	var response *controlplanev1.ReplayProducersResponse
	err := s.recover(ctx, request.GetRecoveryId(), func(ctx context.Context, q *db.Queries, row db.Recovery) error {
		at := replayed{row.ReplayedStagedID, row.ReplayedBytePosition}
		if request.GetPageToken() != "" {
			var err error
			if at, err = parsePlace(request.GetPageToken()); err != nil {
				return err
			}
			if err := replay(ctx, q, request.GetSegments()); err != nil {
				return err
			}
			if err := q.ReplayedUpTo(ctx, at.stagedID, at.bytePosition); err != nil {
				return fmt.Errorf("keep place: %w", err)
			}
		}
		var err error
		if response, err = nextToReplay(ctx, q, at, request.GetWindowMs()); err != nil || response.GetPageToken() != "" || row.Step == stepReady {
			return err
		}
		moved, err := q.MoveRecovery(ctx, stepReady, row.RecoveryID, stepProducers)
		return verdict("end replay", moved, 1, err)
	}, stepProducers, stepReady)
	return response, err
}

func parsePlace(token string) (p replayed, err error) {
	numbers, ours := strings.CutPrefix(token, placePrefix)
	object, position, _ := strings.Cut(numbers, "/")
	if p.stagedID, err = strconv.ParseInt(object, 10, 64); err != nil || !ours {
		return p, refuseToken()
	}
	if p.bytePosition, err = strconv.ParseInt(position, 10, 64); err != nil {
		return p, refuseToken()
	}
	return p, nil
}

// nextToReplay is the next page with a segment that is to be read, one without if that takes long, or none.
func nextToReplay(ctx context.Context, q *db.Queries, at replayed, windowMs int64) (*controlplanev1.ReplayProducersResponse, error) {
	response := &controlplanev1.ReplayProducersResponse{}
	for began := time.Now(); len(response.GetSegments()) == 0 && time.Since(began) < replayTime; {
		rows, err := q.SegmentsToReplay(ctx, db.SegmentsToReplayParams{
			AfterStagedID: at.stagedID, AfterBytePosition: at.bytePosition, WindowSeconds: (time.Duration(windowMs) * time.Millisecond).Seconds(), Page: replayPage,
		})
		if err != nil {
			return nil, fmt.Errorf("read segments: %w", err)
		}
		if len(rows) == 0 {
			response.PageToken = ""
			return response, nil
		}
		for _, r := range rows {
			if r.Wanted {
				response.Segments = append(response.Segments, &controlplanev1.SegmentToReplay{
					PartitionId: r.PartitionID, ObjectKey: r.Key, BytePosition: r.BytePosition, SizeBytes: r.SizeBytes, Crc32C: uint32(r.Crc32c),
				})
			}
		}
		last := rows[len(rows)-1]
		at = replayed{last.StagedID, last.BytePosition}
		response.PageToken = at.String()
	}
	total, err := q.CountToReplay(ctx)
	if err != nil {
		return nil, fmt.Errorf("count segments: %w", err)
	}
	// As if objects were alike.
	response.LeftCount = int64(float64(total.Segments) * (1 - float64(at.stagedID)/float64(max(1, total.LastStagedID))))
	return response, nil
}

// replay adds batches to what is known of their producers.
func replay(ctx context.Context, q *db.Queries, segments []*controlplanev1.SegmentProducers) error {
	batches := map[commit.ProducerKey][]rebuild.Batch{}
	var partitionIDs, producerIDs []int64
	for _, segment := range segments {
		for _, b := range segment.GetBatches() {
			key := commit.ProducerKey{PartitionID: segment.GetPartitionId(), ProducerID: b.GetProducerId()}
			if _, seen := batches[key]; !seen {
				partitionIDs, producerIDs = append(partitionIDs, key.PartitionID), append(producerIDs, key.ProducerID)
			}
			batches[key] = append(batches[key], rebuild.Batch{
				ProducerID: b.GetProducerId(), Epoch: int16(b.GetProducerEpoch()),
				Batch: producer.Batch{BaseSequence: b.GetBaseSequence(), RecordCount: b.GetRecordCount(), BaseOffset: b.GetBaseOffset()},
			})
		}
	}
	if len(batches) == 0 {
		return nil
	}
	rows, err := q.ReplayedProducers(ctx, partitionIDs, producerIDs)
	if err != nil {
		return fmt.Errorf("read producers: %w", err)
	}
	states := map[commit.ProducerKey]producer.State{}
	for _, row := range rows {
		if states[commit.ProducerKey{PartitionID: row.PartitionID, ProducerID: row.ProducerID}], err = producer.Decode(row.ProducerEpoch, row.Batches); err != nil {
			return fmt.Errorf("partition %d, producer %d: %w", row.PartitionID, row.ProducerID, err)
		}
	}
	var arg db.PutProducersParams
	for key, list := range batches {
		state := rebuild.Replay(states[key], list...)
		arg.PartitionIds, arg.ProducerIds = append(arg.PartitionIds, key.PartitionID), append(arg.ProducerIds, key.ProducerID)
		arg.ProducerEpochs, arg.Batches = append(arg.ProducerEpochs, state.Epoch), append(arg.Batches, state.Encode())
	}
	changed, err := q.PutProducers(ctx, arg)
	return verdict("put producers", changed, len(batches), err)
}

// GetRecovery reads one snapshot.
func (s *Store) GetRecovery(ctx context.Context, request *controlplanev1.GetRecoveryRequest) (*controlplanev1.GetRecoveryResponse, error) {
	response := &controlplanev1.GetRecoveryResponse{}
	err := s.snapshot(ctx, func(ctx context.Context, q *db.Queries) error {
		if err := allowTime(ctx, q); err != nil {
			return err
		}
		rows, err := q.ReadRecovery(ctx)
		if err != nil {
			return fmt.Errorf("read recovery: %w", err)
		}
		if len(rows) == 0 || rows[0].RecoveryID.String() != request.GetRecoveryId() {
			return refuseField("recovery_id", "names no recovery that is under way")
		}
		response.Step = controlplanev1.RecoveryStep(rows[0].Step)
		response.Report, err = readReport(ctx, q, rows[0])
		return err
	})
	return response, err
}

func readReport(ctx context.Context, q *db.Queries, row db.Recovery) (*controlplanev1.RecoveryReport, error) {
	t, err := q.RecoveryTotals(ctx)
	if err != nil {
		return nil, fmt.Errorf("add up: %w", err)
	}
	lost, err := q.LostRanges(ctx)
	if err != nil {
		return nil, fmt.Errorf("read losses: %w", err)
	}
	report := &controlplanev1.RecoveryReport{
		ObjectCount: t.Objects, ReferencedObjectCount: t.Referenced, FaultyObjectCount: t.Faulty, TopicCount: t.Topics, PartitionCount: t.Partitions,
		SegmentCount: t.Segments, RecordCount: t.Records, SizeBytes: t.Bytes, ProducerCount: t.Producers, LostRecordCount: t.Lost, Notes: row.Notes,
	}
	for _, l := range lost {
		report.Lost = append(report.Lost, &controlplanev1.LostRange{
			Topic: l.Name, Partition: l.Partition, HighWatermark: l.HighWatermark, KnownHighWatermark: l.KnownHighWatermark,
		})
	}
	return report, nil
}

// FinishRecovery is an adoption of what was made. Run twice, it would refuse its own work.
func (s *Store) FinishRecovery(ctx context.Context, request *controlplanev1.FinishRecoveryRequest) (*controlplanev1.FinishRecoveryResponse, error) {
	var report *controlplanev1.RecoveryReport
	incarnation, err := s.reincarnate(ctx, true, func(ctx context.Context, q *db.Queries) (next int16, err error) {
		report, next, err = endRecovery(ctx, q, request)
		return next, err
	})
	if err != nil {
		return nil, err
	}
	s.config.Logger.WarnContext(ctx, "catalog recovered", "incarnation", incarnation, "records", report.GetRecordCount(), "lost", report.GetLostRecordCount())
	return &controlplanev1.FinishRecoveryResponse{Incarnation: int32(incarnation), Report: report}, nil
}

// endRecovery answers the next incarnation, and forgets how it came about.
func endRecovery(ctx context.Context, q *db.Queries, request *controlplanev1.FinishRecoveryRequest) (*controlplanev1.RecoveryReport, int16, error) {
	catalog, err := q.LockCatalog(ctx)
	if err != nil {
		return nil, 0, fmt.Errorf("lock catalog: %w", err)
	}
	row, err := lockRecovery(ctx, q, request.GetRecoveryId())
	if err != nil {
		return nil, 0, err
	}
	if row.Step != stepReady {
		return nil, 0, refuseField("recovery_id", "names a recovery that is not ready: there are steps left")
	}
	report, err := readReport(ctx, q, row)
	if err != nil {
		return nil, 0, err
	}
	if report.GetLostRecordCount() > 0 && !request.GetAcceptLoss() {
		return nil, 0, store.Refuse(refusalv1.Reason_REASON_RECORDS_LOST,
			"%d acknowledged records are not in the bucket: look for their objects, or accept the loss", report.GetLostRecordCount())
	}
	greatest, err := q.GreatestProducerID(ctx)
	if err != nil {
		return nil, 0, fmt.Errorf("read producers: %w", err)
	}
	if _, err := q.RaiseProducerIDs(ctx, greatest+1); err != nil {
		return nil, 0, fmt.Errorf("raise producer ids: %w", err)
	}
	if err := q.ForgetRecovery(ctx); err != nil {
		return nil, 0, fmt.Errorf("forget recovery: %w", err)
	}
	next, err := successor(catalog.Incarnation, catalog.NewestIncarnation, row.NewestIncarnation)
	return report, next, err
}
