package keycompact

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/serve/crashpoint"

	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/pace"
)

const (
	// lookupSegments is how many segments are asked for at a time.
	lookupSegments = 300
	// runBytes bounds what is joined into one segment, as it is read: what is left is smaller. A single segment may be larger.
	runBytes = 4 << 20
	// runSegments bounds it by number.
	runSegments = 500
	// objectBytes ends an object, objectSegments too: a commit locks their rows.
	objectBytes, objectSegments = 16 << 20, 20
	// runBits is where the number of the run begins in a key's counter: no run writes as many objects.
	runBits = 32
	// attempts bounds how often the partition is gone through, when other segments were found than had been read.
	attempts = 5
)

// Catalog is what is asked of the control plane.
type Catalog interface {
	Lookup(ctx context.Context, request *controlplanev1.LookupRequest) (*controlplanev1.LookupResponse, error)
	CommitKeyCompaction(ctx context.Context, request *controlplanev1.CommitKeyCompactionRequest) (*controlplanev1.CommitKeyCompactionResponse, error)
	FinishKeyCompaction(ctx context.Context, request *controlplanev1.FinishKeyCompactionRequest) (*controlplanev1.FinishKeyCompactionResponse, error)
}

// Store is the bucket; an objectstore.Store is one.
type Store interface {
	object.Reader
	Put(ctx context.Context, key string, body [][]byte, crc32c uint32) error
}

// Config of a compactor. A zero field means its default.
type Config struct {
	// AgentGroup is whose objects are read and written. Required.
	AgentGroup string
	// MemoryBytes bounds the keys that one pass knows, 32 bytes each; default 64 MiB, 4 KiB to 64 GiB. Besides, up to 64 MiB are needed.
	MemoryBytes int64
	// Pace holds reading back; nil: nothing does.
	Pace *pace.Pace
	// Meter; nil: nothing is measured.
	Meter metric.Meter
}

func (c Config) orDefaults() Config {
	c.MemoryBytes = cmp.Or(c.MemoryBytes, 64<<20)
	if c.Meter == nil {
		c.Meter = noop.Meter{}
	}
	return c
}

// Validate reports the first field out of its bounds.
func (c Config) Validate() error {
	c = c.orDefaults()
	switch {
	case object.ValidateAgentGroup(c.AgentGroup) != nil:
		return fmt.Errorf("agent group %q cannot be compacted", c.AgentGroup)
	case c.MemoryBytes < 4<<10 || c.MemoryBytes > 64<<30:
		return fmt.Errorf("key compaction memory %d: must be 4 KiB to 64 GiB", c.MemoryBytes)
	}
	return nil
}

var (
	afterNote   = crashpoint.Register("keycompact.after-note")
	afterPut    = crashpoint.Register("keycompact.after-put")
	afterCommit = crashpoint.Register("keycompact.after-commit")
	afterFinish = crashpoint.Register("keycompact.after-finish")
)

// Compactor does one job at a time.
type Compactor struct {
	config  Config
	catalog Catalog
	store   Store
	log     *slog.Logger

	measures *measures
}

// New returns a compactor. An error says what in config is wrong, or comes from its meter.
func New(catalog Catalog, store Store, config Config, log *slog.Logger) (*Compactor, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	config = config.orDefaults()
	m, err := newMeasures(config.Meter)
	if err != nil {
		return nil, err
	}
	return &Compactor{config: config, catalog: catalog, store: store, log: log, measures: m}, nil
}

// Done is what one job came to.
type Done struct {
	// CleanEnd is where the pass ended.
	CleanEnd int64
	// Objects that were written, and the bytes of their segments; BytesRead from the bucket.
	Objects, BytesWritten, BytesRead int64
	// Removed records; Tombstones that are left below CleanEnd.
	Removed, Tombstones int64
	// LeftOut counts segments that were made for nothing, because others had taken the place of what they were made of.
	LeftOut int64
}

// errMoving says that a partition's segments were exchanged more quickly than they could be read.
var errMoving = errors.New("segments were exchanged again and again: the pass is given up")

// running is one run of a job.
type running struct {
	*Compactor
	jobID    string
	outputID object.UUID // stands for the session in the keys of what is written
	work     *controlplanev1.KeyCompactWork
	rules    rules
	memory   scratches
	counter  uint64 // of objects
	done     Done
	// Of the present time through the partition.
	bytes, tombstones, leftOut int64
}

// Compact is the handler of such jobs.
func (c *Compactor) Compact(ctx context.Context, job *controlplanev1.Job) ([]slog.Attr, error) {
	work := job.GetKeyCompact()
	done, err := c.Run(ctx, job.GetJobId(), job.GetOutputId(), work)
	c.measures.add(ctx, done)
	return []slog.Attr{
		slog.String("topic_id", uuidOf(work.GetTopicId())), slog.Int("partition", int(work.GetPartition())),
		slog.Int64("clean_end", done.CleanEnd), slog.Int64("removed", done.Removed), slog.Int64("tombstones", done.Tombstones),
		slog.Int64("objects", done.Objects), slog.Int64("bytes_read", done.BytesRead), slog.Int64("bytes_written", done.BytesWritten),
		slog.Int64("left_out", done.LeftOut),
	}, err
}

func uuidOf(b []byte) string {
	var id object.UUID
	copy(id[:], b)
	return id.String()
}

// Run does a job; outputID stands for the session in the keys of what is written. After an error another run, by whoever has the job then, begins
// anew, and finds less to do. Errors: the context's, the bucket's, the control plane's; among these that the job is another agent's by now.
func (c *Compactor) Run(ctx context.Context, jobID, outputID string, work *controlplanev1.KeyCompactWork) (Done, error) {
	id, err := object.ParseUUID(outputID)
	if err != nil {
		return Done{}, fmt.Errorf("job: %w", err)
	}
	r := &running{Compactor: c, jobID: jobID, outputID: id, work: work, counter: uint64(work.GetRun()) << runBits}
	r.rules = rules{
		newest: newNewest(c.config.MemoryBytes, work.GetEnd()-work.GetCleanEnd()), end: work.GetCleanEnd(),
		dropBelow: work.GetDropTombstonesBelow(), everyBatch: work.GetEveryProducerBatch(), batches: map[int64]bool{},
	}
	for _, o := range work.GetProducerBatches() {
		r.rules.batches[o] = true
	}
	err = r.run(ctx)
	return r.done, err
}

func (r *running) run(ctx context.Context) error {
	if err := r.noteAll(ctx); err != nil {
		return err
	}
	afterNote.Here()
	for range attempts {
		r.bytes, r.tombstones, r.leftOut = 0, 0, 0
		if err := r.cleanAll(ctx); err != nil {
			return err
		}
		if r.leftOut > 0 {
			continue
		}
		r.done.CleanEnd, r.done.Tombstones = r.rules.end, r.tombstones
		_, err := r.catalog.FinishKeyCompaction(ctx, &controlplanev1.FinishKeyCompactionRequest{
			JobId: r.jobID, CleanEnd: r.rules.end, CleanBytes: r.bytes, Tombstones: r.tombstones,
		})
		if err != nil {
			return fmt.Errorf("finish the pass: %w", err)
		}
		afterFinish.Here()
		return nil
	}
	return errMoving
}

// noteAll is the first half: it puts the keys of what is dirty into the map, and sets where the pass ends.
func (r *running) noteAll(ctx context.Context) error {
	next := r.work.GetCleanEnd()
	for next < r.work.GetEnd() {
		segments, err := r.lookup(ctx, next)
		if err != nil {
			return err
		}
		for len(segments) > 0 && segments[0].GetBaseOffset() < r.work.GetEnd() {
			n := neighbours(segments)
			read, err := r.read(ctx, segments[:n])
			if err != nil {
				return err
			}
			for i, s := range segments[:n] {
				end, full, err := r.rules.note(read[i], next, r.work.GetEnd(), &r.memory.opened)
				if err != nil {
					return fmt.Errorf("segment %q at %d: %w", s.GetObjectKey(), s.GetBytePosition(), err)
				}
				if full {
					r.rules.end = end
					return nil
				}
				next = s.GetBaseOffset() + int64(s.GetRecordCount())
			}
			segments = segments[n:]
		}
	}
	r.rules.end = r.work.GetEnd()
	return nil
}

// lookup answers segments from the one with the offset on; one at least.
func (r *running) lookup(ctx context.Context, offset int64) ([]*controlplanev1.Segment, error) {
	o, err := r.ask(ctx, &controlplanev1.LookupPartition{MaxSegments: lookupSegments, Position: &controlplanev1.LookupPartition_Offset{Offset: offset}})
	if err == nil && len(o.GetSegments()) == 0 {
		err = fmt.Errorf("look segments up: nothing at offset %d, there is %d to %d", offset, o.GetLogStartOffset(), o.GetHighWatermark())
	}
	return o.GetSegments(), err
}

// ask asks about the job's partition.
func (r *running) ask(ctx context.Context, q *controlplanev1.LookupPartition) (*controlplanev1.LookupOutcome, error) {
	q.TopicId, q.Partition = r.work.GetTopicId(), r.work.GetPartition()
	response, err := r.catalog.Lookup(ctx, &controlplanev1.LookupRequest{Partitions: []*controlplanev1.LookupPartition{q}})
	switch {
	case err != nil:
		return nil, fmt.Errorf("look segments up: %w", err)
	case len(response.GetOutcomes()) != 1:
		return nil, fmt.Errorf("look segments up: %d answers to 1 question", len(response.GetOutcomes()))
	case response.GetOutcomes()[0].GetRefusal() != nil:
		return nil, fmt.Errorf("look segments up: %s", response.GetOutcomes()[0].GetRefusal().GetMessage())
	}
	return response.GetOutcomes()[0], nil
}

// neighbours is how many of the first segments lie one behind the other in one object and are read with one GET, at least one. Requires: there is one.
func neighbours(segments []*controlplanev1.Segment) int {
	first, size := segments[0], int64(segments[0].GetSizeBytes())
	for i, s := range segments[1:] {
		if s.GetObjectKey() != first.GetObjectKey() || s.GetBytePosition() != first.GetBytePosition()+size || size+int64(s.GetSizeBytes()) > runBytes {
			return i + 1
		}
		size += int64(s.GetSizeBytes())
	}
	return len(segments)
}

// read reads neighbours, each held against its checksum.
func (r *running) read(ctx context.Context, segments []*controlplanev1.Segment) ([][]byte, error) {
	size := int64(0)
	for _, s := range segments {
		size += int64(s.GetSizeBytes())
	}
	b := make([]byte, size)
	err := r.config.Pace.Do(ctx, size, func(ctx context.Context) error {
		return r.store.GetRange(ctx, segments[0].GetObjectKey(), segments[0].GetBytePosition(), b)
	})
	if err != nil {
		return nil, fmt.Errorf("read segments: %w", err)
	}
	r.done.BytesRead += size
	read := make([][]byte, len(segments))
	for i, s := range segments {
		n := s.GetSizeBytes()
		read[i], b = b[:n:n], b[n:]
		if sum := object.Checksum(read[i]); sum != s.GetCrc32C() {
			return nil, fmt.Errorf("segment %q at %d is damaged: checksum %08x, want %08x", s.GetObjectKey(), s.GetBytePosition(), sum, s.GetCrc32C())
		}
	}
	return read, nil
}
