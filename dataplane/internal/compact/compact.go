package compact

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/crashpoint"
	"github.com/streamhouse/streamhouse/serve/refusal"

	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
	"github.com/streamhouse/streamhouse/dataplane/internal/pace"
)

// maxPasses bounds how often what is alive is looked at in one run: again when something had changed meanwhile.
const maxPasses = 20

var (
	afterCreate   = crashpoint.Register("compact.after-create")
	afterAnnounce = crashpoint.Register("compact.after-announce")
	afterPart     = crashpoint.Register("compact.after-part")
	afterParts    = crashpoint.Register("compact.after-parts")
	afterWrite    = crashpoint.Register("compact.after-write")
	afterCommit   = crashpoint.Register("compact.after-commit")
)

// Catalog is what is asked of the control plane.
type Catalog interface {
	Lookup(ctx context.Context, request *controlplanev1.LookupRequest) (*controlplanev1.LookupResponse, error)
	AnnounceOutput(ctx context.Context, request *controlplanev1.AnnounceOutputRequest) (*controlplanev1.AnnounceOutputResponse, error)
	CommitCompaction(ctx context.Context, request *controlplanev1.CommitCompactionRequest) (*controlplanev1.CommitCompactionResponse, error)
}

// Store is the bucket; an objectstore.Store is one.
type Store interface {
	object.Reader
	Put(ctx context.Context, key string, body [][]byte, crc32c uint32) error
	Head(ctx context.Context, key string) (objectstore.Info, error)
	objectstore.Multipart
}

// Config of a compactor. A zero field means its default.
type Config struct {
	// AgentGroup is whose objects are read and written. Required.
	AgentGroup string
	// MemoryBytes bounds what is held of objects; default 64 MiB, at least 48 MiB.
	MemoryBytes int64
	// Pace holds reading back; nil: nothing does.
	Pace *pace.Pace
	// Meter; nil: nothing is measured.
	Meter metric.Meter

	partBytes int64 // of every part of an upload but the last: some stores want them equal
}

func (c Config) orDefaults() Config {
	if c.MemoryBytes == 0 {
		c.MemoryBytes = 64 << 20
	}
	if c.Meter == nil {
		c.Meter = noop.Meter{}
	}
	if c.partBytes == 0 {
		c.partBytes = 8 << 20
	}
	return c
}

// Validate reports the first field out of its bounds.
func (c Config) Validate() error {
	c = c.orDefaults()
	switch {
	case object.ValidateAgentGroup(c.AgentGroup) != nil:
		return fmt.Errorf("agent group %q cannot be compacted", c.AgentGroup)
	case c.MemoryBytes < 48<<20:
		return fmt.Errorf("compaction memory bytes %d: must be at least 48 MiB", c.MemoryBytes)
	}
	return nil
}

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

// running is one run of a job.
type running struct {
	*Compactor
	jobID    string
	outputID object.UUID // stands for the session in the keys of what is written
	work     *controlplanev1.CompactWork
	damaged  map[at]bool // segments that cannot be copied
	outputs  uint64      // that were announced

	small small // inputs that are in memory

	gets, bytesRead atomic.Int64
	done            Done
}

// Done is what one run of a job came to.
type Done struct {
	// Objects that were written and committed, and the bytes of their segments.
	Objects, Bytes int64
	// Segments that were written; Replaced, whose place they took; LeftOut, that were copied for nothing because something had changed.
	Segments, Replaced, LeftOut int64
	// Gets and BytesRead from the bucket.
	Gets, BytesRead int64
}

// Compact is the handler of jobs.
func (c *Compactor) Compact(ctx context.Context, job *controlplanev1.Job) ([]slog.Attr, error) {
	done, err := c.Run(ctx, job.GetJobId(), job.GetOutputId(), job.GetCompact())
	c.measures.add(ctx, done)
	attrs := []slog.Attr{
		slog.Int("inputs", len(job.GetCompact().GetObjectKeys())), slog.Int64("outputs", done.Objects), slog.Int64("bytes", done.Bytes),
		slog.Int64("segments", done.Segments), slog.Int64("replaced", done.Replaced), slog.Int64("left_out", done.LeftOut),
		slog.Int64("gets", done.Gets), slog.Int64("bytes_read", done.BytesRead),
	}
	if hopeless(err) { // it would be so every time: the job ends, and its objects stay as they are
		c.log.ErrorContext(ctx, "objects cannot be compacted", slog.String("job_id", job.GetJobId()), slog.Any("error", err))
		err = nil
	}
	return attrs, err
}

// hopeless tells errors that whoever does the job next would meet, too.
func hopeless(err error) bool {
	for _, known := range []error{object.ErrInvalid, objectstore.ErrRefused, objectstore.ErrConflict} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

// Run does a job, or what is left of it; outputID stands for the session in the keys of what is written. After an error it may be run again, by any
// agent that has the job then. Errors: the context's, the bucket's, the control plane's; among these that the job is another agent's by now.
func (c *Compactor) Run(ctx context.Context, jobID, outputID string, work *controlplanev1.CompactWork) (Done, error) {
	id, err := object.ParseUUID(outputID)
	if err != nil {
		return Done{}, fmt.Errorf("job: %w", err)
	}
	r := &running{
		Compactor: c, jobID: jobID, outputID: id, work: work, damaged: map[at]bool{}, outputs: uint64(work.GetOutputs()),
	}
	r.small.left = c.config.MemoryBytes * 3 / 8
	err = r.run(ctx)
	r.done.Gets, r.done.BytesRead = r.gets.Load(), r.bytesRead.Load()
	return r.done, err
}

// run makes passes until everything that is alive has been copied, or cannot be.
func (r *running) run(ctx context.Context) error {
	footers, err := r.readFooters(ctx)
	if err != nil {
		return err
	}
	announced := r.work.GetOutput()
	for range maxPasses {
		alive, err := r.alive(ctx, footers)
		if err != nil {
			return err
		}
		left := r.done.LeftOut
		err = r.write(ctx, layout(alive, r.work.GetTargetBytes()), announced)
		switch {
		case err == nil && r.done.LeftOut == left:
			return nil
		case err != nil && !errors.Is(err, errChanged):
			return err
		}
		announced = nil
	}
	return nil // what is left moves on too fast, or is damaged
}

// write writes outputs in order, the first of them where another run left off, if it is the one that was announced last.
func (r *running) write(ctx context.Context, outputs []output, announced *controlplanev1.CompactionOutput) error {
	if announced != nil {
		resumed := len(outputs) > 0
		if resumed {
			var err error
			if resumed, err = r.resume(ctx, outputs[0], announced); err != nil {
				return err
			}
		}
		if resumed {
			outputs = outputs[1:]
		} else if err := r.abandon(ctx, announced.GetObjectKey(), announced.GetUploadId()); err != nil {
			return err
		}
	}
	for _, o := range outputs {
		if err := r.begin(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// abandon gives up an upload. One that was completed has none any more.
func (r *running) abandon(ctx context.Context, key, uploadID string) error {
	if uploadID == "" {
		return nil
	}
	if err := r.store.AbortUpload(ctx, key, uploadID); err != nil {
		return fmt.Errorf("abort upload: %w", err)
	}
	return nil
}

// begin writes an output under a key of its own.
func (r *running) begin(ctx context.Context, o output) error {
	key := object.Key{AgentGroup: r.config.AgentGroup, Incarnation: r.work.GetIncarnation(), Session: r.outputID, Counter: r.outputs + 1}
	frame, err := object.NewFrame(key, o.segments)
	if err != nil {
		return fmt.Errorf("lay output out: %w", err)
	}
	uploadID := ""
	if frame.SizeBytes > r.config.partBytes {
		if uploadID, err = r.store.CreateUpload(ctx, key.String()); err != nil {
			return fmt.Errorf("create upload: %w", err)
		}
		afterCreate.Here()
	}
	r.outputs++
	if _, err := r.catalog.AnnounceOutput(ctx, &controlplanev1.AnnounceOutputRequest{JobId: r.jobID, Output: &controlplanev1.CompactionOutput{
		ObjectKey: key.String(), SizeBytes: frame.SizeBytes, Crc32C: frame.CRC32C, UploadId: uploadID,
	}}); err != nil {
		return errors.Join(fmt.Errorf("announce output: %w", err), r.abandon(ctx, key.String(), uploadID))
	}
	afterAnnounce.Here()
	return r.finish(ctx, o, frame, uploadID, nil)
}

// resume goes on with an output that was announced. False: this is not the one.
func (r *running) resume(ctx context.Context, o output, announced *controlplanev1.CompactionOutput) (bool, error) {
	key, err := object.ParseKey(announced.GetObjectKey())
	if err != nil {
		return false, fmt.Errorf("announced output: %w", err)
	}
	frame, err := object.NewFrame(key, o.segments)
	if err != nil {
		return false, fmt.Errorf("lay output out: %w", err)
	}
	if frame.SizeBytes != announced.GetSizeBytes() || frame.CRC32C != announced.GetCrc32C() {
		return false, nil
	}
	if announced.GetUploadId() == "" {
		return true, r.finish(ctx, o, frame, "", nil)
	}
	parts, err := r.store.ListParts(ctx, announced.GetObjectKey(), announced.GetUploadId())
	switch {
	case errors.Is(err, objectstore.ErrNotFound):
		return r.resumeCompleted(ctx, o, frame)
	case err != nil:
		return false, fmt.Errorf("list parts: %w", err)
	}
	r.log.InfoContext(ctx, "going on with an upload", slog.String("object_key", announced.GetObjectKey()), slog.Int("parts", len(parts)))
	return true, r.finish(ctx, o, frame, announced.GetUploadId(), parts)
}

// resumeCompleted commits an output whose upload is no more because it was completed. False: it was aborted.
func (r *running) resumeCompleted(ctx context.Context, o output, frame object.Frame) (bool, error) {
	info, err := r.store.Head(ctx, frame.Key.String())
	switch {
	case errors.Is(err, objectstore.ErrNotFound):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look for output: %w", err)
	case info.SizeBytes != frame.SizeBytes, info.HasCRC32C && info.CRC32C != frame.CRC32C:
		return false, nil
	}
	return true, r.commit(ctx, o, frame)
}

// finish copies an output that was announced, and commits it.
func (r *running) finish(ctx context.Context, o output, frame object.Frame, uploadID string, parts []objectstore.UploadedPart) error {
	var err error
	if uploadID == "" {
		err = r.copyWhole(ctx, o, frame)
	} else {
		err = r.copyParts(ctx, o, frame, uploadID, parts)
	}
	if errors.Is(err, errChanged) {
		return errors.Join(err, r.abandon(ctx, frame.Key.String(), uploadID))
	}
	if err != nil {
		return err
	}
	afterWrite.Here()
	return r.commit(ctx, o, frame)
}

func (r *running) commit(ctx context.Context, o output, frame object.Frame) error {
	request := &controlplanev1.CommitCompactionRequest{JobId: r.jobID, ObjectKey: frame.Key.String()}
	for _, s := range frame.Segments {
		request.Segments = append(request.Segments, &controlplanev1.CompactedSegment{
			TopicId: s.TopicID[:], Partition: s.Partition, Epoch: s.Epoch, BaseOffset: s.BaseOffset, RecordCount: s.RecordCount,
			BytePosition: s.BytePosition, SizeBytes: s.SizeBytes, Crc32C: s.CRC32C, MaxTimestampMs: s.MaxTimestampMs,
		})
	}
	response, err := r.catalog.CommitCompaction(ctx, request)
	if refusal.Is(err, refusalv1.Reason_REASON_OBJECT_TOMBSTONED) {
		r.log.WarnContext(ctx, "output was taken for an orphan, it is written again", slog.String("object_key", request.GetObjectKey()))
		return errChanged
	}
	if err != nil {
		return fmt.Errorf("commit compaction: %w", err)
	}
	afterCommit.Here()
	r.done.Objects, r.done.Bytes = r.done.Objects+1, r.done.Bytes+o.bytes()
	r.done.Segments += int64(response.GetAccepted())
	r.done.Replaced += int64(response.GetReplaced())
	r.done.LeftOut += int64(response.GetLeftOut())
	return nil
}
