package compact

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
)

// maxPartUploads are under way at a time: while one is, the next is read.
const maxPartUploads = 1

// round is what is read at a time: sources whose bytes follow each other in the output from position on.
type round struct {
	sources  []source
	position int64
	bytes    int64
}

// rounds divides the sources of an output, whose bytes begin at position.
func rounds(sources []source, position, limit int64) (all []round) {
	for len(sources) > 0 {
		n, bytes := 1, int64(sources[0].SizeBytes)
		for n < len(sources) && bytes+int64(sources[n].SizeBytes) <= limit {
			bytes += int64(sources[n].SizeBytes)
			n++
		}
		all = append(all, round{sources[:n], position, bytes})
		sources, position = sources[n:], position+bytes
	}
	return all
}

// upload writes an object part by part, in order, those that are there already left out.
type upload struct {
	*running
	key, id string
	size    int64

	pending  [][]byte // of the part that is being filled
	filled   int64
	position int64 // of the next byte

	g *errgroup.Group

	mu    sync.Mutex // guards parts
	parts map[int]objectstore.UploadedPart
}

// partAt is the number of the part that a byte lies in.
func (u *upload) partAt(position int64) int { return int(position/u.config.partBytes) + 1 }

func (u *upload) partSize(number int) int64 {
	return min(u.config.partBytes, u.size-int64(number-1)*u.config.partBytes)
}

// has tells whether all parts that these bytes lie in are there.
func (u *upload) has(position, bytes int64) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	for n := u.partAt(position); n <= u.partAt(position+bytes-1); n++ {
		if _, there := u.parts[n]; !there {
			return false
		}
	}
	return true
}

// keep takes over the parts that fit.
func (u *upload) keep(parts []objectstore.UploadedPart) {
	u.parts = make(map[int]objectstore.UploadedPart, len(parts))
	for _, p := range parts {
		if p.HasCRC32C && p.Number <= u.partAt(u.size-1) && p.SizeBytes == u.partSize(p.Number) {
			u.parts[p.Number] = p
		}
	}
}

// skip passes over bytes that lie in parts that are there.
func (u *upload) skip(bytes int64) {
	u.position += bytes
	u.pending, u.filled = nil, 0
}

// write takes bytes, which must not change any more, and uploads a part when it is full.
func (u *upload) write(ctx context.Context, b []byte) {
	for len(b) > 0 {
		number := u.partAt(u.position)
		left := u.partSize(number) - (u.position - int64(number-1)*u.config.partBytes)
		n := min(int64(len(b)), left)
		u.position += n
		if u.has(u.position-n, n) { // all of them in one part
			u.pending, u.filled = nil, 0
			b = b[n:]
			continue
		}
		u.pending, u.filled = append(u.pending, b[:n]), u.filled+n
		b = b[n:]
		if n == left {
			u.send(ctx, number)
		}
	}
}

// send uploads the pending part in the background; it waits while too many are under way.
func (u *upload) send(ctx context.Context, number int) {
	body := u.pending
	u.pending, u.filled = nil, 0
	u.g.Go(func() error {
		part, err := u.store.UploadPart(ctx, u.key, u.id, number, body, objectstore.ChecksumOf(body))
		if err != nil {
			return fmt.Errorf("upload part %d: %w", number, err)
		}
		afterPart.Here()
		u.mu.Lock()
		u.parts[number] = part
		u.mu.Unlock()
		return nil
	})
}

// all are the parts in order, once all are there.
func (u *upload) all() []objectstore.UploadedPart {
	u.mu.Lock()
	defer u.mu.Unlock()
	parts := make([]objectstore.UploadedPart, 0, len(u.parts))
	for _, p := range u.parts {
		parts = append(parts, p)
	}
	slices.SortFunc(parts, func(a, b objectstore.UploadedPart) int { return a.Number - b.Number })
	return parts
}

// copyParts copies an output into an upload that was begun, and completes it.
func (r *running) copyParts(ctx context.Context, o output, frame object.Frame, id string, there []objectstore.UploadedPart) error {
	g, uploading := errgroup.WithContext(ctx)
	g.SetLimit(maxPartUploads)
	u := &upload{running: r, key: frame.Key.String(), id: id, size: frame.SizeBytes, g: g}
	u.keep(there)
	err := u.fill(uploading, o, frame)
	if uploaded := g.Wait(); uploaded != nil {
		err = uploaded
	}
	if err != nil {
		return err
	}
	afterParts.Here()
	parts := u.all()
	if err := r.store.CompleteUpload(ctx, u.key, id, parts, frame.CRC32C); err != nil {
		return fmt.Errorf("complete upload: %w", err)
	}
	return nil
}

// roundBytes is what is read at a time: what memory has left beside small inputs, reads under way, the part that is uploaded, and the one that is
// being filled.
func (u *upload) roundBytes() int64 {
	free := u.config.MemoryBytes - u.small.bytes() - maxReads*maxSpan - (maxPartUploads+1)*u.config.partBytes
	return max(free, u.config.MemoryBytes/4)
}

// pieces is how a round is divided by parts, so that the memory of a part that is uploaded is free.
func (u *upload) pieces(r round) (sizes []int64) {
	for position, left := r.position, r.bytes; left > 0; {
		n := min(left, u.config.partBytes-position%u.config.partBytes)
		sizes = append(sizes, n)
		position, left = position+n, left-n
	}
	return sizes
}

func (u *upload) fill(ctx context.Context, o output, frame object.Frame) error {
	u.write(ctx, frame.Head)
	for _, round := range rounds(o.sources, int64(len(frame.Head)), u.roundBytes()) {
		if u.has(round.position, round.bytes) {
			u.skip(round.bytes)
			continue
		}
		pieces, err := u.read(ctx, round.sources, u.pieces(round))
		if err != nil {
			return err
		}
		for _, b := range pieces {
			u.write(ctx, b)
		}
	}
	u.write(ctx, frame.Tail)
	return ctx.Err()
}

// copyWhole writes an output that is one part long or less.
func (r *running) copyWhole(ctx context.Context, o output, frame object.Frame) error {
	pieces, err := r.read(ctx, o.sources, []int64{o.bytes()})
	if err != nil {
		return err
	}
	body := append(append([][]byte{frame.Head}, pieces...), frame.Tail)
	if err := r.store.Put(ctx, frame.Key.String(), body, frame.CRC32C); err != nil {
		return fmt.Errorf("put output: %w", err)
	}
	return nil
}
