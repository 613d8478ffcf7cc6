package cache

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// remembered is how many GETs of a size class the percentile is taken of; with fewer than known there is none yet.
	remembered, known = 100, 20
	// hedgeFactor times the 95th percentile is when a GET counts as slow; within these bounds.
	hedgeFactor       = 1.5
	minHedge          = 10 * time.Millisecond
	maxHedge          = 5 * time.Second
	unknownHedge      = time.Second
	hedgeBudget       = 0.05 // hedges a GET
	maxHedgeAllowance = 10   // hedges saved up
)

// hedger sends a GET that takes longer than most of its size once more: on S3 a few in a thousand take ten times as long, and a second try
// is nearly always quick. At most one hedge a GET, and one for every twenty GETs: when all are slow, more requests would not help.
type hedger struct {
	mu        sync.Mutex
	classes   [3]latencies
	allowance float64
}

func newHedger() *hedger { return &hedger{allowance: 1} }

// latencies are those of the last GETs of a size class.
type latencies struct {
	last [remembered]time.Duration
	n    int // since the start
	slow time.Duration
}

// classOf: small ones take a round trip, large ones their bytes.
func classOf(size int64) int {
	switch {
	case size <= 128<<10:
		return 0
	case size <= 2<<20:
		return 1
	}
	return 2
}

type outcome struct {
	bytes []byte
	err   error
	took  time.Duration
	hedge bool
}

// run gets, and once more if that takes too long. get must return soon after its context ends: run waits for all that it started.
func (h *hedger) run(ctx context.Context, size int64, get func(context.Context) ([]byte, error), counts *counts) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	outcomes := make(chan outcome, 2) // one a try
	try := func(hedge bool) {
		began := time.Now()
		b, err := get(ctx)
		outcomes <- outcome{b, err, time.Since(began), hedge}
	}
	class := classOf(size)
	slow := time.NewTimer(h.after(class))
	defer slow.Stop()
	go try(false)
	for running := 1; ; {
		select {
		case <-slow.C:
			if h.allow() {
				counts.hedged.Add(1)
				running++
				go try(true)
			}
		case o := <-outcomes:
			running--
			if o.err != nil && !final(o.err) && running > 0 {
				continue // the other may still succeed
			}
			cancel()
			for ; running > 0; running-- {
				<-outcomes
			}
			h.settle(class, o, counts)
			return o.bytes, o.err
		}
	}
}

func (h *hedger) settle(class int, o outcome, counts *counts) {
	if o.err != nil {
		return
	}
	if o.hedge {
		counts.wins.Add(1)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.allowance = min(h.allowance+hedgeBudget, maxHedgeAllowance)
	h.classes[class].add(o.took)
}

// after is how long a GET may take before it is sent once more.
func (h *hedger) after(class int) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.classes[class].n < known {
		return unknownHedge
	}
	return h.classes[class].slow
}

func (h *hedger) allow() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.allowance < 1 {
		return false
	}
	h.allowance--
	return true
}

func (l *latencies) add(d time.Duration) {
	l.last[l.n%remembered] = d
	l.n++
	if l.n < known || l.n%10 != 0 {
		return
	}
	sorted := slices.Clone(l.last[:min(l.n, remembered)])
	slices.Sort(sorted)
	p95 := sorted[len(sorted)*95/100]
	l.slow = min(max(time.Duration(hedgeFactor*float64(p95)), minHedge), maxHedge)
}
