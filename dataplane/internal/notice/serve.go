package notice

import (
	"context"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

const (
	// aliveInterval is the longest silence on a stream from the leader.
	aliveInterval = time.Second
	// maxMessage bounds the partitions of one message.
	maxMessage = 1000
	// callerWait is the advice to one caller too many.
	callerWait = 5 * time.Second
)

// Serve tells one caller what it wants to hear, until ctx ends, stopping is closed, or either side stops. What receive is in when Serve returns must end soon:
// a server closes the body of a call whose handler has returned.
func (b *Board) Serve(
	ctx context.Context, stopping <-chan struct{},
	receive func() (*dataplanev1.NoticesRequest, error), send func(*dataplanev1.NoticesResponse) error,
) error {
	c, err := b.join()
	if err != nil {
		return err
	}
	defer b.leave(c)
	ended := make(chan error, 1) // for the one value of the goroutine, which must not wait for a reader
	go func() { ended <- b.listen(c, receive) }()
	return b.speak(ctx, c, stopping, ended, send)
}

// listen takes changes of what the caller wants to hear.
func (b *Board) listen(c *caller, receive func() (*dataplanev1.NoticesRequest, error)) error {
	for {
		req, err := receive()
		if err != nil {
			return err
		}
		if err := b.change(c, req); err != nil {
			return err
		}
	}
}

func (b *Board) speak(
	ctx context.Context, c *caller, stopping <-chan struct{}, ended <-chan error, send func(*dataplanev1.NoticesResponse) error,
) error {
	alive := time.NewTimer(0) // the first sign says that the stream stands
	defer alive.Stop()
	for {
		res := &dataplanev1.NoticesResponse{}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-stopping:
			return nil
		case err := <-ended:
			return ending(err)
		case <-c.ready:
			res.Notices = b.take(c)
		case <-alive.C:
		}
		if err := send(res); err != nil {
			return err
		}
		b.sent.Add(int64(len(res.GetNotices())))
		alive.Reset(aliveInterval)
	}
}

// ending is what the caller is told when listening to it has ended: nothing, if that was its wish.
func ending(err error) error {
	if r, refused := refusal.Of(err); refused {
		return refusal.Error(r)
	}
	return nil
}

func (b *Board) join() (*caller, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.callers >= maxCallers {
		return nil, refusal.Overloaded(callerWait, "%d agents listen here already: ask the catalog", maxCallers)
	}
	b.callers++
	return &caller{ready: make(chan struct{}, 1), partitions: make(map[partition.ID]struct{}), pending: make(map[partition.ID]int64)}, nil
}

func (b *Board) leave(c *caller) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.callers--
	for p := range c.partitions {
		b.drop(c, p)
	}
}

// change adds and removes partitions. Each that is added is told at once how it stands, so that nothing falls between a reader's lookup and
// the first notice.
func (b *Board) change(c *caller, req *dataplanev1.NoticesRequest) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range req.GetRemove() {
		b.drop(c, idOf(p))
	}
	for _, p := range req.GetAdd() {
		id := idOf(p)
		if _, has := c.partitions[id]; !has && len(c.partitions) >= maxPartitions {
			return refusal.Overloaded(callerWait, "you listen to %d partitions already: ask the catalog", maxPartitions)
		}
		c.partitions[id] = struct{}{}
		if b.hearing[id] == nil {
			b.hearing[id] = make(map[*caller]struct{}, 1)
		}
		b.hearing[id][c] = struct{}{}
		delete(c.pending, id)
		c.mark(id, -1, &b.coalesced)
	}
	return nil
}

// drop requires mu.
func (b *Board) drop(c *caller, p partition.ID) {
	delete(c.partitions, p)
	delete(c.pending, p)
	delete(b.hearing[p], c)
	if len(b.hearing[p]) == 0 {
		delete(b.hearing, p)
	}
}

// take says what is new of up to maxMessage partitions.
func (b *Board) take(c *caller) []*dataplanev1.Notice {
	b.mu.Lock()
	defer b.mu.Unlock()
	notices := make([]*dataplanev1.Notice, 0, min(len(c.pending), maxMessage))
	for p, told := range c.pending {
		if len(notices) >= maxMessage {
			c.wake()
			break
		}
		delete(c.pending, p)
		notices = b.led[p].notices(notices, p, told)
	}
	return notices
}

// notices appends what has become readable after the offset told: each segment that is remembered, or at least the newest.
func (s *standing) notices(to []*dataplanev1.Notice, p partition.ID, told int64) []*dataplanev1.Notice {
	if s == nil {
		return append(to, &dataplanev1.Notice{Partition: wire(p), Moved: true})
	}
	if len(s.last) == 0 {
		return append(to, &dataplanev1.Notice{Partition: wire(p), Epoch: s.epoch, HighWatermark: s.highWatermark})
	}
	from := len(s.last) - 1
	for from > 0 && told >= 0 && s.last[from].BaseOffset > told {
		from--
	}
	for _, segment := range s.last[from:] {
		to = append(to, noticeOf(p, s.epoch, segment))
	}
	return to
}
