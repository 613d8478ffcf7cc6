package client

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/streamhouse/streamhouse/client/internal/fakecluster"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// mishap is something that goes wrong during a run.
type mishap struct {
	after  time.Duration // the one before
	kind   string
	agent  string
	target int
	count  int32
	lasts  time.Duration
}

const (
	historyPartitions = 3
	historyRecords    = 250
)

var historyAgents = []string{"a1", "a2", "a3"}

func drawMishaps(t *rapid.T) []mishap {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) mishap {
		return mishap{
			after: time.Duration(rapid.IntRange(0, 200).Draw(t, "after")) * time.Millisecond,
			kind: rapid.SampledFrom([]string{
				"lose", "lose", "refuse", "unanswered", "not leader", "overloaded", "lead", "lead", "freeze", "freeze and take over",
				"late", "late", "some lost", "refuse for good", "unknown producer",
			}).Draw(t, "kind"),
			agent:  rapid.SampledFrom(historyAgents).Draw(t, "agent"),
			target: rapid.IntRange(0, historyPartitions-1).Draw(t, "partition"),
			count:  rapid.Int32Range(1, 6).Draw(t, "count"),
			lasts:  time.Duration(rapid.IntRange(1, 9000).Draw(t, "lasts")) * time.Millisecond,
		}
	}), 0, 25).Draw(t, "mishaps")
}

func (m mishap) happen(f *fakecluster.Cluster) {
	refusals := map[string]*refusalv1.Refusal{
		"refuse":           fakecluster.Refusal(refusalv1.Reason_REASON_CATALOG_UNAVAILABLE, refusalv1.Written_WRITTEN_SURELY_NOT, ""),
		"unanswered":       fakecluster.Refusal(refusalv1.Reason_REASON_UNANSWERED, refusalv1.Written_WRITTEN_POSSIBLY, ""),
		"not leader":       fakecluster.Refusal(refusalv1.Reason_REASON_NOT_LEADER, refusalv1.Written_WRITTEN_SURELY_NOT, ""),
		"unknown producer": fakecluster.Refusal(refusalv1.Reason_REASON_PRODUCER_UNKNOWN, refusalv1.Written_WRITTEN_SURELY_NOT, ""),
		"refuse for good":  fakecluster.Refusal(refusalv1.Reason_REASON_CORRUPT_BATCH, refusalv1.Written_WRITTEN_SURELY_NOT, ""),
		"overloaded": {
			Reason: refusalv1.Reason_REASON_OVERLOADED, Written: refusalv1.Written_WRITTEN_SURELY_NOT, RetryAfterMs: m.lasts.Milliseconds(),
		},
	}
	switch m.kind {
	case "lose":
		f.OnProduce(loseAnswers(m.count))
	case "late":
		f.OnProduce(everyOther(m.count, fakecluster.Fault{Late: m.lasts / 3}))
	case "some lost":
		f.OnProduce(everyOther(m.count, fakecluster.Fault{Lose: true}))
	case "lead":
		f.Lead("orders", m.target, m.agent)
	case "freeze", "freeze and take over":
		f.Freeze(m.agent)
		if m.kind == "freeze and take over" {
			time.Sleep(m.lasts / 2)
			f.TakeOver(historyAgents[m.target])
		}
		time.Sleep(m.lasts)
		f.Thaw(m.agent)
	default:
		f.OnProduce(refuse(m.count, refusals[m.kind]))
	}
}

// everyOther makes every second request go wrong, n in all.
func everyOther(n int32, fault fakecluster.Fault) fakecluster.Hook {
	var seen atomic.Int32
	return func(string, *dataplanev1.ProduceRequest) fakecluster.Fault {
		if i := seen.Add(1); i%2 == 1 && i < 2*n {
			return fault
		}
		return fakecluster.Fault{}
	}
}

// runHistory produces records while mishaps happen, one after the other, and returns what was answered.
func runHistory(t *testing.T, f *fakecluster.Cluster, mishaps []mishap, options []ProducerOption) []answer {
	c, err := New(WithAgents(f.URLs()...), WithTransport(f.Dial), WithZone(""))
	if err != nil {
		t.Fatal(err)
	}
	f.CreateTopic("orders", historyPartitions)
	p := producer(t, c, options...)
	var other sync.WaitGroup
	other.Go(func() {
		for _, m := range mishaps {
			time.Sleep(m.after)
			m.happen(f)
		}
		f.OnProduce(nil)
	})
	got := newAnswers(historyRecords)
	for i := range historyRecords {
		r := &Record{Topic: "orders", Key: []byte(fmt.Sprint(i % 5)), Value: []byte(strconv.Itoa(i))}
		p.Produce(context.Background(), r, got.done)
		time.Sleep(2 * time.Millisecond)
	}
	if err := p.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	other.Wait()
	time.Sleep(time.Minute) // whatever was still on the way has arrived
	all := make([]answer, 0, historyRecords)
	for range historyRecords {
		all = append(all, got.next(t))
	}
	return all
}

// judgeHistory returns what is wrong with answers in the light of the logs, or "".
func judgeHistory(f *fakecluster.Cluster, all []answer, idempotent bool) string {
	copies := map[string]int{}
	at := map[string]string{}
	for p := range historyPartitions {
		for _, r := range f.Log("orders", p) {
			copies[string(r.Value)]++
			at[fmt.Sprintf("%d/%d", p, r.Offset)] = string(r.Value)
		}
	}
	last := map[int32]int64{0: -1, 1: -1, 2: -1}
	lastValue := map[int32]int{0: -1, 1: -1, 2: -1}
	for _, a := range all {
		v := string(a.record.Value)
		n, _ := strconv.Atoi(v)
		switch {
		case n <= lastValue[a.record.Partition]:
			return fmt.Sprintf("P2: record %s of partition %d was answered after %d", v, a.record.Partition, lastValue[a.record.Partition])
		case a.err == nil && at[fmt.Sprintf("%d/%d", a.record.Partition, a.record.Offset)] != v:
			return fmt.Sprintf("P1: record %s is not at %d/%d", v, a.record.Partition, a.record.Offset)
		case a.err == nil && a.record.Offset <= last[a.record.Partition]:
			return fmt.Sprintf("P2: record %s at %d/%d after offset %d", v, a.record.Partition, a.record.Offset, last[a.record.Partition])
		case a.err == nil && copies[v] != 1, idempotent && copies[v] > 1:
			return fmt.Sprintf("P5: %d copies of record %s", copies[v], v)
		case a.err != nil && WrittenBy(a.err) == SurelyNotWritten && copies[v] > 0:
			return fmt.Sprintf("P6: record %s is stored, its error says %v", v, a.err)
		}
		lastValue[a.record.Partition] = n
		if a.err == nil {
			last[a.record.Partition] = a.record.Offset
		}
	}
	return ""
}

func TestP1P2P5P6_WhateverGoesWrong(t *testing.T) {
	for name, options := range map[string][]ProducerOption{
		"patient":            nil,
		"hurried":            {WithDeliveryTimeout(4 * time.Second)},
		"hurried batches":    {WithDeliveryTimeout(4 * time.Second), WithLinger(50 * time.Millisecond)},
		"not idempotent":     {WithoutIdempotence(), WithDeliveryTimeout(4 * time.Second)},
		"no linger, small":   {WithLinger(0), WithBatchBytes(1 << 10)},
		"patient, crowded ":  {WithBatchBytes(1 << 10), WithBufferBytes(1 << 12)},
		"hurried, no linger": {WithLinger(0), WithBatchBytes(1 << 10), WithDeliveryTimeout(4 * time.Second)},
		"one in flight":      {WithLinger(0), WithBatchBytes(1 << 10), WithBatchesInFlight(1)},
		"no retries":         {WithLinger(0), WithBatchBytes(1 << 10), WithoutRetries()},
	} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				mishaps := drawMishaps(rt)
				seed := rapid.Uint64().Draw(rt, "seed of latencies")
				patience := rapid.SampledFrom([]time.Duration{0, 200 * time.Millisecond}).Draw(rt, "patience")
				wrong := ""
				synctest.Test(t, func(t *testing.T) {
					f := fakecluster.New(historyAgents...)
					random := rand.New(rand.NewPCG(seed, 0))
					f.Latency(func() time.Duration { return time.Duration(random.IntN(40)) * time.Millisecond })
					f.Patience(patience)
					all := runHistory(t, f, mishaps, options)
					wrong = judgeHistory(f, all, name != "not idempotent")
				})
				if wrong != "" {
					rt.Fatal(wrong)
				}
			})
		})
	}
}
