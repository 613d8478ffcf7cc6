package compact

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
)

const jobID, outputID = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"

var config = Config{AgentGroup: "default", MemoryBytes: 48 << 20, partBytes: objectstore.MinPartBytes}

func newCompactor(t *testing.T, catalog Catalog, store Store, config Config) *Compactor {
	t.Helper()
	c, err := New(catalog, store, config, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (w *world) run(target int64) {
	w.t.Helper()
	if _, err := newCompactor(w.t, w.model, w.store, config).Run(w.t.Context(), jobID, outputID, w.work(target)); err != nil {
		w.t.Fatal(err)
	}
}

// drop removes the first segments of each partition, as retention does, and counts their bytes.
func (w *world) drop(n func(at place) int) map[place]int {
	dropped := map[place]int{}
	for at, rows := range w.model.rows {
		for _, r := range rows[:min(n(at), len(rows))] {
			dropped[at] += int(r.SizeBytes)
			w.model.logStart[at] = r.End()
		}
		w.model.rows[at] = slices.Clone(rows[min(n(at), len(rows)):])
	}
	return dropped
}

func TestP1_P2_EveryByteIsWhereItWas(t *testing.T) {
	t.Parallel()
	for name, shape := range map[string]struct {
		objects, partitions, size int
		target                    int64
		rows                      int // at most
	}{
		"many partitions, one output": {40, 60, 500, 64 << 20, 200},
		"several small outputs":       {40, 60, 5_000, 1 << 20, 250},
		"outputs of several parts":    {20, 6, 200_000, 7 << 20, 60},
		"one partition":               {30, 1, 200_000, 64 << 20, 15},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 7, shape.objects, shape.partitions, shape.size)
			before := w.model.count()
			w.run(shape.target)
			w.check(nil)
			if w.model.count() > shape.rows {
				t.Errorf("%d rows, before %d: want at most %d", w.model.count(), before, shape.rows)
			}
			w.leavesInputs()
		})
	}
}

// leavesInputs: nothing refers to an input any more, and no segment is longer than readers should have to load.
func (w *world) leavesInputs() {
	w.t.Helper()
	for at, rows := range w.model.rows {
		for _, r := range rows {
			if slices.Contains(w.inputs, r.key) {
				w.t.Fatalf("%v: offset %d is still in an input", at, r.BaseOffset)
			}
			if r.SizeBytes > maxJoinedBytes {
				w.t.Fatalf("%v: a segment of %d bytes", at, r.SizeBytes)
			}
		}
	}
}

func TestP1_WhatRetentionRemovedIsNotCopied(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, 30, 20, 3000)
	dropped := w.drop(func(at place) int { return int(at.partition) })
	w.run(64 << 20)
	w.check(dropped)
	w.leavesInputs()
}

// A run of which something goes away while it is copied is left out, and what is left of it is taken in the next pass.
func TestP1_RetentionMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, 30, 20, 3000)
	var dropped map[place]int
	once := sync.OnceFunc(func() { dropped = w.drop(func(at place) int { return int(at.partition) % 4 }) })
	c := newCompactor(t, w.model, meddler{w.store, once}, config)
	if _, err := c.Run(t.Context(), jobID, outputID, w.work(64<<20)); err != nil {
		t.Fatal(err)
	}
	w.check(dropped)
	w.leavesInputs()
	if w.model.commits < 2 {
		t.Errorf("%d commits: nothing was left out", w.model.commits)
	}
}

// meddler does something when the first output has been written.
type meddler struct {
	Store
	meddle func()
}

func (m meddler) Put(ctx context.Context, key string, body [][]byte, crc32c uint32) error {
	err := m.Store.Put(ctx, key, body, crc32c)
	m.meddle()
	return err
}

// Damage is noticed; the segment stays where it is, all others are compacted.
func TestP1_DamageIsNotCopied(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5, 20, 10, 3000)
	rows := w.model.rows[place{}]
	bad := rows[len(rows)/2]
	c := newCompactor(t, w.model, spoiler{w.store, bad}, config)
	if _, err := c.Run(t.Context(), jobID, outputID, w.work(64<<20)); err != nil {
		t.Fatal(err)
	}
	w.check(nil)
	kept := 0
	for at, rows := range w.model.rows {
		for _, r := range rows {
			if slices.Contains(w.inputs, r.key) {
				kept++
				if at != (place{}) || r.BaseOffset != bad.BaseOffset {
					t.Errorf("%v: offset %d was left, too", at, r.BaseOffset)
				}
			}
		}
	}
	if kept != 1 {
		t.Errorf("%d segments were left, want the damaged one", kept)
	}
}

// spoiler damages one segment whenever it is read.
type spoiler struct {
	Store
	bad row
}

func (s spoiler) GetRange(ctx context.Context, key string, position int64, dst []byte) error {
	err := s.Store.GetRange(ctx, key, position, dst)
	if at := s.bad.BytePosition - position; err == nil && key == s.bad.key && at >= 0 && at < int64(len(dst)) {
		dst[at] ^= 1
	}
	return err
}

func (s spoiler) GetTail(ctx context.Context, key string, dst []byte) (n int, size int64, err error) {
	n, size, err = s.Store.GetTail(ctx, key, dst)
	if at := s.bad.BytePosition - (size - int64(n)); err == nil && key == s.bad.key && at >= 0 {
		dst[at] ^= 1
	}
	return n, size, err
}

// An input that is as small as a footer's read costs one GET, and so does one whose size is known, as far as memory goes; another as many as it has to be
// read in. Segments that lie side by side are read together.
func TestGetsAreFew(t *testing.T) {
	t.Parallel()
	for name, shape := range map[string]struct {
		objects, partitions, size int
		unknown                   bool // sizes
		gets                      int64
	}{
		"small inputs":                         {40, 60, 500, true, 40},
		"larger ones, read once whole":         {20, 60, 5_000, false, 20},
		"larger ones of which nobody knows it": {20, 60, 5_000, true, 40},
		"larger than memory, half of them":     {20, 60, 42_000, false, 20 + 10*3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 7, shape.objects, shape.partitions, shape.size)
			if shape.unknown {
				w.sizes = nil
			}
			done, err := newCompactor(t, w.model, w.store, config).Run(t.Context(), jobID, outputID, w.work(64<<20))
			if err != nil {
				t.Fatal(err)
			}
			w.check(nil)
			if done.Gets != shape.gets {
				t.Errorf("%d GETs, want %d", done.Gets, shape.gets)
			}
		})
	}
}

// What is kept of inputs, and read at a time, stays within the bound, whatever the inputs are.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	s := small{left: 100}
	for i := range int32(5) {
		s.keep(i, make([]byte, 40))
	}
	if s.kept != 80 || s.get(1) == nil || s.get(2) != nil {
		t.Errorf("%d bytes are kept of 100 that may be", s.kept)
	}
	c := Config{AgentGroup: "g"}.orDefaults()
	for kept := int64(0); kept <= c.MemoryBytes*3/8; kept += c.MemoryBytes / 16 {
		u := upload{running: &running{Compactor: &Compactor{config: c}}}
		u.small.kept = kept
		if most := u.roundBytes() + kept + maxReads*maxSpan + (maxPartUploads+1)*c.partBytes; most > c.MemoryBytes {
			t.Errorf("%d bytes may be held, more than %d", most, c.MemoryBytes)
		}
	}
	for _, s := range spans([]source{
		{input: 0, Segment: object.Segment{BytePosition: 0, SizeBytes: maxSpan / 2}},
		{input: 0, Segment: object.Segment{BytePosition: maxSpan/2 + maxGap, SizeBytes: maxSpan / 4}},
		{input: 0, Segment: object.Segment{BytePosition: maxSpan, SizeBytes: maxSpan / 2}},
		{input: 1, Segment: object.Segment{SizeBytes: 10}},
	}) {
		if s.end-s.position > maxSpan || len(s.sources) > 2 {
			t.Errorf("%+v is read with one GET", s)
		}
	}
}

func TestInputsThatAreGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5, 5, 4, 300)
	for at := range w.model.rows { // nothing refers to them
		w.model.rows[at], w.bytes[at] = nil, nil
	}
	if err := w.store.Delete(t.Context(), w.inputs[1:3]); err != nil {
		t.Fatal(err)
	}
	w.run(64 << 20)
	if w.model.output != nil {
		t.Error("something was written of nothing")
	}
}

var errCrash = errors.New("the process ends here")

// crasher fails every call from one on; what that one did may have happened or not.
type crasher struct {
	Store
	Catalog

	mu    sync.Mutex
	left  int
	after bool // the call takes effect
	where string
}

func (c *crasher) call(what string, do func() error) error {
	c.mu.Lock()
	c.left--
	left := c.left
	if left == 0 {
		c.where = what
	}
	c.mu.Unlock()
	if left > 0 || (left == 0 && c.after) {
		if err := do(); err != nil {
			return err
		}
	}
	if left <= 0 {
		return errCrash
	}
	return nil
}

func (c *crasher) GetRange(ctx context.Context, key string, position int64, dst []byte) error {
	return c.call("get", func() error { return c.Store.GetRange(ctx, key, position, dst) })
}

func (c *crasher) Put(ctx context.Context, key string, body [][]byte, crc32c uint32) error {
	return c.call("put", func() error { return c.Store.Put(ctx, key, body, crc32c) })
}

func (c *crasher) CreateUpload(ctx context.Context, key string) (id string, err error) {
	err = c.call("create upload", func() (err error) { id, err = c.Store.CreateUpload(ctx, key); return err })
	return id, err
}

func (c *crasher) UploadPart(ctx context.Context, key, id string, number int, body [][]byte, crc32c uint32) (part objectstore.UploadedPart, err error) {
	err = c.call("upload part", func() (err error) { part, err = c.Store.UploadPart(ctx, key, id, number, body, crc32c); return err })
	return part, err
}

func (c *crasher) CompleteUpload(ctx context.Context, key, id string, parts []objectstore.UploadedPart, crc32c uint32) error {
	return c.call("complete upload", func() error { return c.Store.CompleteUpload(ctx, key, id, parts, crc32c) })
}

func (c *crasher) AbortUpload(ctx context.Context, key, id string) error {
	return c.call("abort upload", func() error { return c.Store.AbortUpload(ctx, key, id) })
}

func (c *crasher) AnnounceOutput(ctx context.Context, request *controlplanev1.AnnounceOutputRequest) (response *controlplanev1.AnnounceOutputResponse, err error) {
	err = c.call("announce", func() (err error) { response, err = c.Catalog.AnnounceOutput(ctx, request); return err })
	return response, err
}

func (c *crasher) CommitCompaction(ctx context.Context, request *controlplanev1.CommitCompactionRequest) (response *controlplanev1.CommitCompactionResponse, err error) {
	err = c.call("commit", func() (err error) { response, err = c.Catalog.CommitCompaction(ctx, request); return err })
	return response, err
}

// The process ends at every call, before it took effect and after; another one completes the job. Parts that are there are not uploaded again.
func TestP1_P8_ACrashAtEveryStep(t *testing.T) {
	t.Parallel()
	places := map[string]bool{}
	for _, after := range []bool{false, true} {
		for at := 1; ; at++ {
			w := newWorld(t, 11, 5, 3, 900_000) // outputs of two parts
			w.sizes = nil                       // and inputs that are read in pieces
			c := &crasher{Store: w.store, Catalog: w.model, left: at, after: after}
			_, err := newCompactor(t, c, c, config).Run(t.Context(), jobID, outputID, w.work(7<<20))
			if err == nil {
				break
			}
			if !errors.Is(err, errCrash) {
				t.Fatal(err)
			}
			places[c.where] = true
			w.check(nil) // nothing is lost meanwhile
			counting := &counter{Store: w.store}
			if _, err := newCompactor(t, w.model, counting, config).Run(t.Context(), jobID, outputID, w.work(7<<20)); err != nil {
				t.Fatalf("after a crash at call %d (%s): %v", at, c.where, err)
			}
			w.check(nil)
			w.leavesInputs()
			if c.where == "complete upload" && counting.parts > 4 {
				t.Errorf("after a crash at call %d (%s) %d parts were uploaded", at, c.where, counting.parts)
			}
		}
	}
	for _, want := range []string{"get", "create upload", "announce", "upload part", "complete upload", "commit"} {
		if !places[want] {
			t.Errorf("no crash at %q", want)
		}
	}
}

// counter counts the parts that are uploaded.
type counter struct {
	Store
	mu    sync.Mutex
	parts int
}

func (c *counter) UploadPart(ctx context.Context, key, id string, number int, body [][]byte, crc32c uint32) (objectstore.UploadedPart, error) {
	c.mu.Lock()
	c.parts++
	c.mu.Unlock()
	return c.Store.UploadPart(ctx, key, id, number, body, crc32c)
}

// An upload is gone on with: only the parts that are missing are read and uploaded.
func TestAnUploadIsGoneOnWith(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 11, 6, 4, 700_000)
	c := &crasher{Store: w.store, Catalog: w.model, left: 1 << 30}
	stop := &stopAtComplete{Store: c.Store}
	if _, err := newCompactor(t, w.model, stop, config).Run(t.Context(), jobID, outputID, w.work(1<<30)); !errors.Is(err, errCrash) {
		t.Fatal(err)
	}
	if stop.parts < 2 {
		t.Fatalf("%d parts", stop.parts)
	}
	key := w.model.output.GetObjectKey()
	again := &counter{Store: w.store}
	r := newCompactor(t, w.model, again, config)
	if _, err := r.Run(t.Context(), jobID, outputID, w.work(1<<30)); err != nil {
		t.Fatal(err)
	}
	w.check(nil)
	w.leavesInputs()
	if again.parts != 0 {
		t.Errorf("%d of %d parts were uploaded again", again.parts, stop.parts)
	}
	for _, rows := range w.model.rows {
		if rows[0].key != key {
			t.Fatalf("committed as %s, the upload was of %s", rows[0].key, key)
		}
	}
}

type stopAtComplete struct {
	Store
	mu    sync.Mutex
	parts int
}

func (s *stopAtComplete) UploadPart(ctx context.Context, key, id string, number int, body [][]byte, crc32c uint32) (objectstore.UploadedPart, error) {
	s.mu.Lock()
	s.parts++
	s.mu.Unlock()
	return s.Store.UploadPart(ctx, key, id, number, body, crc32c)
}

func (s *stopAtComplete) CompleteUpload(context.Context, string, string, []objectstore.UploadedPart, uint32) error {
	return errCrash
}

func TestConfigIsValidated(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]Config{
		"agent group": {}, "memory bytes": {AgentGroup: "g", MemoryBytes: 1},
	} {
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want it to name %s", c, err, want)
		}
	}
}
