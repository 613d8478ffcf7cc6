package agent_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/agent"
	"github.com/streamhouse/streamhouse/dataplane/internal/controltest"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

func inZone(name string) func(*agent.Config) {
	return func(c *agent.Config) { c.Session.Zone = name }
}

// consume reads partitions of "orders" by long polls at an agent, as the SDK does, until ctx ends; read counts records.
func (s *story) consume(ctx context.Context, n *controltest.Node, read *atomic.Int64, partitions ...int32) {
	req := &dataplanev1.FetchRequest{MaxWaitMs: 10_000, MaxBytes: 3 << 20, Decode: true}
	for _, p := range partitions {
		req.Partitions = append(req.Partitions, &dataplanev1.FetchPartition{
			Topic: &dataplanev1.FetchPartition_TopicId{TopicId: s.topic.String()}, Partition: p,
		})
	}
	for ctx.Err() == nil {
		res, err := n.Client.Fetch(ctx, req)
		if err != nil {
			if ctx.Err() == nil {
				s.t.Error(err)
			}
			return
		}
		for i, p := range res.GetPartitions() {
			if p.GetRefusal() != nil {
				s.t.Errorf("partition %d: %v", p.GetPartition(), p.GetRefusal())
				return
			}
			read.Add(int64(len(p.GetRecords())))
			req.Partitions[i].Offset = p.GetNextOffset()
		}
	}
}

// TestAnObjectIsReadOnceAZone: whatever number of consumers at its agents read of an object at the tail, the bucket is asked for it once.
func TestAnObjectIsReadOnceAZone(t *testing.T) {
	const partitions = 16
	all := make([]int32, partitions)
	for p := range all {
		all[p] = int32(p)
	}
	for name, consumers := range map[string][][]int32{
		"1 consumer of one":            {{3}},
		"1 consumer of all":            {all},
		"50 consumers of all":          repeat(50, all),
		"50 consumers of one":          repeat(50, []int32{3}),
		"16 consumers of one each":     {{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}, {8}, {9}, {10}, {11}, {12}, {13}, {14}, {15}},
		"consumers of one, and of all": {{3}, all, {4}},
		"consumers of some, and of it": {{0, 1, 2}, {3}, {3, 4, 5, 6}, all, {7, 8}},
	} {
		t.Run(name, func(t *testing.T) {
			tell(t, partitions, func(s *story) {
				a := s.Start("a", inZone("za"))
				s.leads(a, partitions-1)
				var mates []*controltest.Node
				for _, id := range []string{"b", "c", "d"} {
					mates = append(mates, s.Start(id, inZone("zb")))
				}
				time.Sleep(3 * time.Second)
				s.Bucket.SlowGets(5 * time.Millisecond)
				ctx, cancel := context.WithCancel(s.t.Context())
				var reading sync.WaitGroup
				defer reading.Wait()
				defer cancel()
				var read atomic.Int64
				wanted := 0
				for i, some := range consumers {
					reading.Go(func() { s.consume(ctx, mates[i%len(mates)], &read, some...) })
					wanted += len(some)
				}
				time.Sleep(2 * time.Second)
				const objects = 12
				before, known := s.Bucket.Gets(), s.objects()
				for i := range int64(objects) {
					s.storeAll(a, partitions, i)
					time.Sleep(300 * time.Millisecond)
				}
				time.Sleep(time.Second)
				if n := read.Load(); n != int64(objects*wanted) {
					s.t.Errorf("%d records were read, want %d", n, objects*wanted)
				}
				written, most, total := s.objects(), 0, 0
				for key, n := range s.Bucket.Gets() {
					if n -= before[key]; n > 0 && written[key] && !known[key] {
						most, total = max(most, n), total+n
					}
				}
				if fresh := len(written) - len(known); most != 1 || total > fresh || total < objects {
					s.t.Errorf("%d GETs of %d objects, up to %d of one, want one each", total, fresh, most)
				}
			})
		})
	}
}

func repeat(n int, partitions []int32) [][]int32 {
	all := make([][]int32, n)
	for i := range all {
		all[i] = partitions
	}
	return all
}

// storeAll stores a record in each partition, at the same time.
func (s *story) storeAll(n *controltest.Node, partitions int32, offset int64) {
	req := &dataplanev1.ProduceRequest{}
	for p := range partitions {
		req.Entries = append(req.Entries, request(p, s.batch(fmt.Sprint(offset), 0, -1)).GetEntries()[0])
	}
	res, err := n.Client.Produce(s.ctx(30*time.Second), req)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, o := range res.GetOutcomes() {
		if o.GetRefusal() != nil || o.GetStored().GetBaseOffset() != offset {
			s.t.Fatalf("outcome %v, want offset %d", o, offset)
		}
	}
}

// objects are the keys that segments refer to.
func (s *story) objects() map[string]bool {
	keys := map[string]bool{}
	for p := range int32(16) {
		for _, segment := range s.Control.Segments(s.part(p)) {
			keys[segment.GetObjectKey()] = true
		}
	}
	return keys
}

// TestAZoneWithoutItsOwnerReadsOn: an agent that does not answer costs a moment, no record.
func TestAZoneWithoutItsOwnerReadsOn(t *testing.T) {
	tell(t, 16, func(s *story) {
		a := s.Start("a", inZone("za"))
		s.leads(a, 15)
		b, c := s.Start("b", inZone("zb")), s.Start("c", inZone("zb"))
		time.Sleep(3 * time.Second)
		ctx, cancel := context.WithCancel(s.t.Context())
		var reading sync.WaitGroup
		defer reading.Wait()
		defer cancel()
		var read atomic.Int64
		reading.Go(func() { s.consume(ctx, b, &read, 0, 1, 2, 3) })
		time.Sleep(time.Second)
		c.Kill()
		for i := range int64(10) {
			s.storeAll(a, 16, i)
		}
		time.Sleep(time.Second)
		if n := read.Load(); n != 40 {
			t.Errorf("%d of 40 records were read", n)
		}
	})
}

func TestP7_OnlyObjectsOfTheAgentGroupAreRead(t *testing.T) {
	tell(t, 1, func(s *story) {
		a := s.Start("a")
		s.leads(a, 0)
		s.store(a, 0, s.batch("x", 0, -1), 0)
		segment := s.Control.Segments(s.part(0))[0]
		ask := func(key string, position int64, size int32) error {
			_, err := a.Peer.ReadObject(s.ctx(5*time.Second), &dataplanev1.ReadObjectRequest{ObjectKey: key, BytePosition: position, SizeBytes: size})
			return err
		}
		if err := ask(segment.GetObjectKey(), segment.GetBytePosition(), segment.GetSizeBytes()); err != nil {
			t.Error(err)
		}
		for _, test := range []struct {
			err  error
			want refusalv1.Reason
		}{
			{ask("other/00/0-0-0", 0, 1), refusalv1.Reason_REASON_INVALID},
			{ask(segment.GetObjectKey(), 1<<20, 100), refusalv1.Reason_REASON_INVALID},
			{ask("default/00/none", 0, 1), refusalv1.Reason_REASON_UNKNOWN_OBJECT},
		} {
			if _, r := s.outcome(nil, test.err); r.GetReason() != test.want {
				t.Errorf("refusal %v, want %s", r, test.want)
			}
		}
	})
}
