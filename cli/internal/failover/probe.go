package failover

import (
	"context"
	"sync"
	"time"

	"github.com/streamhouse/streamhouse/client"
)

const (
	// step is how often the probes that are due are sent.
	step = 5 * time.Millisecond
	// maxUnderWay bounds the probes of one partition that are not acknowledged yet.
	maxUnderWay = 100
	// flowing takes so many acknowledgements of each partition.
	warmAcks = 3
	// late is how long after the hit an acknowledgement of the old leader may still be on its way through the kernel. Nobody takes over
	// within that time.
	late = 15 * time.Millisecond
)

// probes write to some partitions, each in its turn, and note when each is acknowledged.
type probes struct {
	producer *client.Producer
	topic    string
	every    time.Duration
	parts    []*probed
	running  sync.WaitGroup

	mu     sync.Mutex // guards what follows, and the fields of parts
	hit    time.Time  // zero: not yet
	failed int64
	err    error // of the first that failed
}

// probed is one partition.
type probed struct {
	number   int32
	underWay int
	acks     int64
	last     time.Time     // acknowledgement
	led      time.Duration // from the hit until another leader was seen; 0: not yet
	first    time.Duration // from the hit until the first acknowledgement that another leader must have given; 0: not yet
	wait     time.Duration // the longest from a record's Produce to its acknowledgement after the hit
	gap      time.Duration // the longest between two acknowledgements that ended after the hit
}

func newProbes(producer *client.Producer, topic string, partitions []int32, every time.Duration) *probes {
	p := &probes{producer: producer, topic: topic, every: every}
	for _, number := range partitions {
		p.parts = append(p.parts, &probed{number: number})
	}
	return p
}

// start sends until ctx ends. wait returns when nothing is sent any more and every probe has its answer.
func (p *probes) start(ctx context.Context) {
	p.running.Go(func() { p.send(ctx) })
}

func (p *probes) wait() { p.running.Wait() }

// send spreads the probes evenly over their period, so that at any moment some partition's is due.
func (p *probes) send(ctx context.Context) {
	ticker := time.NewTicker(step)
	defer ticker.Stop()
	begun, sent := time.Now(), int64(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		due := int64(time.Since(begun)) * int64(len(p.parts)) / int64(p.every)
		for due-sent > int64(len(p.parts)) { // this process was late: what it missed is not made up for
			sent += int64(len(p.parts))
		}
		for ; sent < due; sent++ {
			p.probe(ctx, p.parts[sent%int64(len(p.parts))])
		}
	}
}

func (p *probes) probe(ctx context.Context, part *probed) {
	p.mu.Lock()
	full := part.underWay >= maxUnderWay
	if !full {
		part.underWay++
	}
	p.mu.Unlock()
	if full {
		return
	}
	p.running.Add(1)
	record := &client.Record{Topic: p.topic, Value: []byte("probe of a failover"), Partition: part.number, UsePartition: true}
	sent := time.Now()
	p.producer.Produce(ctx, record, func(_ *client.Record, err error) {
		defer p.running.Done()
		p.acknowledged(part, sent, err)
	})
}

func (p *probes) acknowledged(part *probed, sent time.Time, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	part.underWay--
	if err != nil {
		if p.failed++; p.err == nil {
			p.err = err
		}
		return
	}
	now := time.Now()
	if !p.hit.IsZero() && !part.last.IsZero() {
		if since := now.Sub(p.hit); part.first == 0 && since > late {
			part.first = since
		}
		part.gap, part.wait = max(part.gap, now.Sub(part.last)), max(part.wait, now.Sub(sent))
	}
	part.acks++
	part.last = now
}

// flowing says whether every partition acknowledges.
func (p *probes) flowing() bool {
	return p.all(func(part *probed) bool { return part.acks >= warmAcks })
}

// recovered says whether every partition has acknowledged since the hit.
func (p *probes) recovered() bool {
	return p.all(func(part *probed) bool { return part.first > 0 })
}

func (p *probes) all(is func(*probed) bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, part := range p.parts {
		if !is(part) {
			return false
		}
	}
	return true
}

// mark is called right before the hit, and returns its time.
func (p *probes) mark() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hit = time.Now()
	return p.hit
}

// led notes what a survivor claims to lead, and says whether all that the victim led is led again.
func (p *probes) led(claimed map[int32]bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	since, all := time.Since(p.hit), true
	for _, part := range p.parts {
		if part.led == 0 && claimed[part.number] {
			part.led = since
		}
		all = all && part.led > 0
	}
	return all
}

func (p *probes) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// round is what was found. Requires: wait has returned.
func (p *probes) round(victim string, at time.Time) Round {
	r := Round{Agent: victim, At: at, Partitions: len(p.parts), Failed: p.failed}
	for _, part := range p.parts {
		r.Acknowledged += part.acks
		r.noLeader = append(r.noLeader, part.led)
		r.firstAck = append(r.firstAck, part.first)
		r.longestWait = append(r.longestWait, part.wait)
		r.longestGap = append(r.longestGap, part.gap)
	}
	r.NoLeader, r.FirstAck = quantiles(r.noLeader), quantiles(r.firstAck)
	r.LongestWait, r.LongestGap = quantiles(r.longestWait), quantiles(r.longestGap)
	return r
}
