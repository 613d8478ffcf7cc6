package notice

import (
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
)

const (
	// deafAfter is the silence after which a stream counts as broken: three signs of life.
	deafAfter = 3 * aliveInterval
	// sayAliveInterval is the longest silence towards the leader, whose listener cuts calls that say nothing.
	sayAliveInterval = 10 * time.Second
	// A stream that broke is tried again after firstWait, then twice as long each time up to lastWait, all of it by a random half less.
	firstWait = 100 * time.Millisecond
	lastWait  = 5 * time.Second
	// maxRequest bounds the partitions of one message, by its contract.
	maxRequest = 10_000
)

// ear listens to one agent, on one stream that is opened anew when it breaks.
type ear struct {
	listener *Listener
	address  string
	stop     context.CancelFunc
	changed  chan struct{} // capacity 1: set when news is not empty

	mu     sync.Mutex
	wanted map[partition.ID]struct{}
	news   map[partition.ID]struct{} // changes of wanted that the leader has not been told
}

func newEar(l *Listener, address string) *ear {
	return &ear{
		listener: l, address: address, changed: make(chan struct{}, 1),
		wanted: make(map[partition.ID]struct{}), news: make(map[partition.ID]struct{}),
	}
}

func (e *ear) add(p partition.ID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.wanted[p] = struct{}{}
	e.note(p)
}

func (e *ear) remove(p partition.ID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.wanted, p)
	e.note(p)
}

// note requires mu.
func (e *ear) note(p partition.ID) {
	e.news[p] = struct{}{}
	e.wake()
}

func (e *ear) wake() {
	select {
	case e.changed <- struct{}{}:
	default:
	}
}

func (e *ear) idle() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.wanted) == 0
}

// run listens until ctx ends.
func (e *ear) run(ctx context.Context) {
	wait := firstWait
	for {
		heard, err := e.listen(ctx)
		if ctx.Err() != nil {
			return
		}
		e.deaf(heard)
		if heard {
			wait = firstWait
		}
		e.listener.log.DebugContext(ctx, "notices of another agent broke off", slog.String("address", e.address), slog.Any("error", err))
		pause := time.NewTimer(wait/2 + rand.N(wait/2)) // jitter
		select {
		case <-ctx.Done():
			pause.Stop()
			return
		case <-pause.C:
		}
		wait = min(2*wait, lastWait)
	}
}

// deaf has all that is listened to told to the next stream, and if there was one that broke, the catalog asked about all of it.
func (e *ear) deaf(broke bool) {
	e.mu.Lock()
	clear(e.news)
	for p := range e.wanted {
		e.news[p] = struct{}{}
	}
	e.wake()
	wanted := maps.Clone(e.wanted)
	e.mu.Unlock()
	if !broke {
		return
	}
	for p := range wanted {
		e.listener.moved(p)
	}
}

// listen keeps one stream; heard tells whether anything came.
func (e *ear) listen(ctx context.Context) (heard bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	deaf := time.AfterFunc(deafAfter, cancel)
	defer deaf.Stop()
	stream, err := e.listener.open(ctx, e.address)
	if err != nil {
		return false, err
	}
	defer func() { _ = stream.Close() }() // it has ended, or ctx ends it
	var speaking sync.WaitGroup
	defer speaking.Wait()
	defer cancel()
	speaking.Go(func() { e.speak(ctx, stream) })
	return e.hearAll(stream, deaf)
}

// hearAll takes what comes until the stream ends; each message puts off the time after which it counts as broken.
func (e *ear) hearAll(stream Stream, deaf *time.Timer) (heard bool, err error) {
	res, err := stream.Receive()
	if err != nil {
		return false, err
	}
	e.listener.held.Add(1)
	defer e.listener.held.Add(-1)
	for ; err == nil; res, err = stream.Receive() {
		deaf.Reset(deafAfter)
		for _, n := range res.GetNotices() {
			e.listener.hear(n)
		}
		e.listener.heard.Add(int64(len(res.GetNotices())))
	}
	return true, err
}

// speak tells the leader what is listened to, until ctx ends. An error shows in Receive, too.
func (e *ear) speak(ctx context.Context, stream Stream) {
	alive := time.NewTicker(sayAliveInterval)
	defer alive.Stop()
	for {
		req := &dataplanev1.NoticesRequest{}
		select {
		case <-ctx.Done():
			return
		case <-e.changed:
			req = e.take()
		case <-alive.C:
		}
		if stream.Send(req) != nil {
			return
		}
	}
}

// take is a message of what has changed.
func (e *ear) take() *dataplanev1.NoticesRequest {
	e.mu.Lock()
	defer e.mu.Unlock()
	req := &dataplanev1.NoticesRequest{}
	for p := range e.news {
		if len(req.GetAdd()) == maxRequest || len(req.GetRemove()) == maxRequest {
			e.wake()
			break
		}
		delete(e.news, p)
		if _, wanted := e.wanted[p]; wanted {
			req.Add = append(req.Add, wire(p))
		} else {
			req.Remove = append(req.Remove, wire(p))
		}
	}
	return req
}
