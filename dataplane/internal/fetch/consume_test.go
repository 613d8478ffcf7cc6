package fetch

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// consumer is a Consume that runs, and what it was sent.
type consumer struct {
	t      *testing.T
	cancel context.CancelFunc
	done   chan struct{}
	err    error

	mu      sync.Mutex
	next    map[int32]int64
	signs   int
	last    time.Time
	longest time.Duration // without any message
	pause   time.Duration // the caller takes so long for a message
}

func (r *rig) consumer(req *dataplanev1.ConsumeRequest) *consumer { return r.slowConsumer(req, 0) }

// slowConsumer takes so long for each message.
func (r *rig) slowConsumer(req *dataplanev1.ConsumeRequest, pause time.Duration) *consumer {
	req.Topic = &dataplanev1.ConsumeRequest_TopicName{TopicName: topicName}
	ctx, cancel := context.WithCancel(r.ctx)
	c := &consumer{t: r.t, cancel: cancel, done: make(chan struct{}), next: map[int32]int64{}, last: time.Now(), pause: pause}
	go func() {
		defer close(c.done)
		c.err = r.consume(ctx, req, c.receive)
	}()
	return c
}

// receive expects each offset once, in order.
func (c *consumer) receive(res *dataplanev1.ConsumeResponse) error {
	time.Sleep(c.pause)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.longest, c.last = max(c.longest, time.Since(c.last)), time.Now()
	f := res.GetFetched()
	if f == nil {
		c.signs++
		return nil
	}
	got := offsets(c.t, f.GetBatches())
	for _, record := range f.GetRecords() {
		got = append(got, record.GetOffset())
	}
	from, started := c.next[f.GetPartition()]
	if !started {
		from = got[0]
	}
	wantOffsets(c.t, got, from, f.GetNextOffset())
	if f.GetNextOffset() > f.GetHighWatermark() {
		c.t.Errorf("partition %d: sent up to %d, the high watermark is %d", f.GetPartition(), f.GetNextOffset(), f.GetHighWatermark())
	}
	c.next[f.GetPartition()] = f.GetNextOffset()
	return nil
}

func (c *consumer) at(n int32) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.next[n]
}

// end waits for the stream's end.
func (c *consumer) end() error {
	<-c.done
	return c.err
}

func (c *consumer) hangUp() {
	c.cancel()
	if err := c.end(); !errors.Is(err, context.Canceled) {
		c.t.Errorf("stream ended with %v", err)
	}
}

func from(n int32, p *dataplanev1.OffsetPosition) *dataplanev1.ConsumeRequest {
	return &dataplanev1.ConsumeRequest{Partitions: []*dataplanev1.ConsumePartition{{Partition: n, Position: p}}}
}

func TestP1_ConsumeReadsAllOfAll(t *testing.T) {
	inBubble(t, 5, Config{}, func(t *testing.T, r *rig) {
		for range 300 {
			r.write([][]rec{plain(3), plain(2)}, 0, 1, 2, 3, 4)
		}
		req := &dataplanev1.ConsumeRequest{}
		for n := range int32(5) {
			req.Partitions = append(req.Partitions, from(n, edgeAt(dataplanev1.OffsetEdge_OFFSET_EDGE_EARLIEST)).GetPartitions()...)
		}
		c := r.consumer(req)
		synctest.Wait()
		for n := range int32(5) {
			if c.at(n) != 1500 {
				t.Errorf("partition %d is read up to %d, want 1500", n, c.at(n))
			}
		}
		if n := r.bucket.gets.Load(); n > 450 {
			t.Errorf("%d GETs for 300 objects", n)
		}
		for i := range int64(20) { // by this agent and by others
			time.Sleep(time.Second)
			for _, committed := range r.write([][]rec{plain(5)}, 1, 3) {
				if i%2 == 0 {
					r.Committed(committed)
				}
			}
		}
		time.Sleep(1500 * time.Millisecond)
		if c.at(0) != 1500 || c.at(1) != 1600 || c.at(3) != 1600 {
			t.Errorf("read up to %v", c.next)
		}
		c.hangUp()
	})
}

func TestConsumePositions(t *testing.T) {
	inBubble(t, 1, Config{}, func(t *testing.T, r *rig) {
		r.write([][]rec{at(10, 20), at(30, 40)}, 0)
		tests := []struct {
			req  *dataplanev1.ConsumeRequest
			want int64 // first offset that is read
		}{
			{from(0, offsetAt(2)), 2},
			{from(0, offsetAt(3)), 3},
			{from(0, timeAt(15)), 1},
			{from(0, timeAt(99)), 4},
			{from(0, edgeAt(dataplanev1.OffsetEdge_OFFSET_EDGE_EARLIEST)), 0},
			{from(0, edgeAt(dataplanev1.OffsetEdge_OFFSET_EDGE_LATEST)), 4},
			{&dataplanev1.ConsumeRequest{}, 4},
			{from(0, offsetAt(4)), 4},
		}
		var firsts []chan int64
		for _, test := range tests {
			test.req.Topic = &dataplanev1.ConsumeRequest_TopicId{TopicId: topicID.String()}
			test.req.Decode = true
			first := make(chan int64, 1)
			firsts = append(firsts, first)
			ctx, cancel := context.WithCancel(r.ctx)
			go func() {
				_ = r.consume(ctx, test.req, func(res *dataplanev1.ConsumeResponse) error {
					if res.GetFetched() != nil {
						first <- res.GetFetched().GetRecords()[0].GetOffset()
						cancel()
					}
					return nil
				})
			}()
		}
		synctest.Wait()
		r.Committed(r.write([][]rec{at(50)}, 0)[0])
		for i, test := range tests {
			if got := <-firsts[i]; got != test.want {
				t.Errorf("%v begins at %d, want %d", test.req, got, test.want)
			}
		}
	})
}

func TestConsumeRefuses(t *testing.T) {
	inBubble(t, 2, Config{}, func(t *testing.T, r *rig) {
		r.write([][]rec{plain(3)}, 0)
		twice := from(0, offsetAt(0))
		twice.Partitions = append(twice.Partitions, twice.Partitions...)
		for reason, req := range map[refusalv1.Reason]*dataplanev1.ConsumeRequest{
			refusalv1.Reason_REASON_OUT_OF_RANGE:      from(0, offsetAt(4)),
			refusalv1.Reason_REASON_UNKNOWN_PARTITION: from(9, offsetAt(0)),
			refusalv1.Reason_REASON_INVALID:           twice,
		} {
			wantRefusal(t, r.consumer(req).end(), reason)
		}
		wantRefusal(t, r.consume(r.ctx, &dataplanev1.ConsumeRequest{Topic: &dataplanev1.ConsumeRequest_TopicName{TopicName: "none"}}, nil),
			refusalv1.Reason_REASON_UNKNOWN_TOPIC)
		wantRefusal(t, r.consumer(from(0, offsetAt(-1))).end(), refusalv1.Reason_REASON_INVALID)
	})
}

func TestConsumeGivesSignsOfLife(t *testing.T) {
	inBubble(t, 1, Config{}, func(t *testing.T, r *rig) {
		c := r.consumer(&dataplanev1.ConsumeRequest{})
		time.Sleep(61 * time.Second)
		c.mu.Lock()
		if c.signs != 13 || c.longest > 5*time.Second { // one for the positions
			t.Errorf("%d signs of life in a minute, silence up to %s", c.signs, c.longest)
		}
		c.mu.Unlock()
		c.hangUp()
	})
}

func TestConsumeEndsTypedWhenTheAgentStops(t *testing.T) {
	inBubble(t, 1, Config{}, func(t *testing.T, r *rig) {
		c := r.consumer(&dataplanev1.ConsumeRequest{})
		time.Sleep(time.Second)
		r.Stop()
		wantRefusal(t, c.end(), refusalv1.Reason_REASON_NO_LEADER)
	})
}

func TestConsumeEndsWhenSendingFails(t *testing.T) {
	inBubble(t, 1, Config{}, func(t *testing.T, r *rig) {
		gone := errors.New("connection reset")
		err := r.consume(r.ctx, &dataplanev1.ConsumeRequest{Topic: &dataplanev1.ConsumeRequest_TopicName{TopicName: topicName}},
			func(*dataplanev1.ConsumeResponse) error { return gone })
		if !errors.Is(err, gone) {
			t.Errorf("error %v", err)
		}
	})
}

func TestConsumeEndsWhenTheTopicIsGone(t *testing.T) {
	inBubble(t, 1, Config{}, func(t *testing.T, r *rig) {
		c := r.consumer(&dataplanev1.ConsumeRequest{})
		time.Sleep(time.Second)
		r.catalog.Remove(id(0))
		wantRefusal(t, c.end(), refusalv1.Reason_REASON_UNKNOWN_PARTITION)
	})
}

func TestConsumeIsPatientWithTheCatalog(t *testing.T) {
	inBubble(t, 1, Config{}, func(t *testing.T, r *rig) {
		c := r.consumer(&dataplanev1.ConsumeRequest{})
		time.Sleep(time.Second)
		r.catalog.Fail(errors.New("connection refused"))
		time.Sleep(8 * time.Second)
		r.catalog.Fail(nil)
		r.write([][]rec{plain(2)}, 0)
		time.Sleep(1500 * time.Millisecond)
		if c.at(0) != 2 {
			t.Errorf("read up to %d after an outage of 8 s", c.at(0))
		}
		began := time.Now()
		r.catalog.Fail(errors.New("connection refused"))
		wantRefusal(t, c.end(), refusalv1.Reason_REASON_CATALOG_UNAVAILABLE)
		if d := time.Since(began); d < 10*time.Second || d > 12*time.Second {
			t.Errorf("the stream ended after %s, want after about 10s", d)
		}
	})
}

func TestConsumeEndsWhenTheBucketFails(t *testing.T) {
	inBubble(t, 1, Config{}, func(t *testing.T, r *rig) {
		r.write([][]rec{plain(2)}, 0)
		r.bucket.failing.Store(true)
		wantRefusal(t, r.consumer(from(0, offsetAt(0))).end(), refusalv1.Reason_REASON_BUCKET_UNAVAILABLE)
	})
}

func TestSlowConsumerHoldsLittle(t *testing.T) {
	inBubble(t, 1, Config{}, func(t *testing.T, r *rig) {
		const objects = 60
		records := []rec{{value: incompressible(1 << 20)}}
		for range objects {
			r.write([][]rec{records}, 0)
		}
		block := make(chan struct{})
		ctx, cancel := context.WithCancel(r.ctx)
		var sent atomic.Int64
		done := make(chan error)
		req := from(0, offsetAt(0))
		req.Topic = &dataplanev1.ConsumeRequest_TopicName{TopicName: topicName}
		go func() {
			done <- r.consume(ctx, req, func(res *dataplanev1.ConsumeResponse) error {
				if res.GetFetched() != nil {
					sent.Add(1)
					<-block
				}
				return nil
			})
		}()
		time.Sleep(time.Minute)
		if n := r.bucket.gets.Load(); sent.Load() != 1 || n > 16 {
			t.Errorf("%d messages were sent and %d of %d objects read for a caller that takes none", sent.Load(), n, objects)
		}
		cancel()
		close(block)
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("stream ended with %v", err)
		}
	})
}

func TestConsumeReadsAhead(t *testing.T) {
	inBubble(t, 1, Config{}, func(t *testing.T, r *rig) {
		for range 12 {
			r.write([][]rec{{{value: incompressible(1 << 20)}}}, 0)
		}
		c := r.slowConsumer(from(0, offsetAt(0)), time.Second)
		synctest.Wait() // the first message is being sent
		if got := r.bucket.gets.Load(); got != 5 {
			t.Errorf("%d objects were read for the first message, want 4 for the round and 1 ahead", got)
		}
		time.Sleep(20 * time.Second)
		if c.at(0) != 12 || r.bucket.gets.Load() != 12 {
			t.Errorf("read up to %d with %d GETs, want 12 with 12", c.at(0), r.bucket.gets.Load())
		}
		c.hangUp()
	})
}

func TestBusyPartitionDoesNotStarveOthers(t *testing.T) {
	inBubble(t, 2, Config{}, func(t *testing.T, r *rig) {
		big := []rec{{value: incompressible(1 << 20)}}
		for range 50 {
			r.write([][]rec{big}, 0)
		}
		req := from(0, offsetAt(0))
		req.Partitions = append(req.Partitions, from(1, edgeAt(dataplanev1.OffsetEdge_OFFSET_EDGE_LATEST)).GetPartitions()...)
		c := r.slowConsumer(req, time.Second)
		time.Sleep(5 * time.Second)
		r.Committed(r.write([][]rec{plain(1)}, 1)[0])
		time.Sleep(15 * time.Second)
		if c.at(1) != 1 || c.at(0) >= 50 {
			t.Errorf("the quiet partition is read up to %d while the busy one is at %d", c.at(1), c.at(0))
		}
		c.hangUp()
	})
}

// TestSlowConsumerLetsGo: what was loaded for a caller that takes nothing is loaded again when it does.
func TestSlowConsumerLetsGo(t *testing.T) {
	inBubble(t, 2, Config{}, func(t *testing.T, r *rig) {
		for range 3 {
			r.write([][]rec{{{value: incompressible(1 << 20)}}}, 0, 1)
		}
		req := from(0, offsetAt(0))
		req.Partitions = append(req.Partitions, from(1, offsetAt(0)).GetPartitions()...)
		c := r.slowConsumer(req, 3*slowAfter)
		time.Sleep(time.Minute)
		if c.at(0) != 3 || c.at(1) != 3 {
			t.Errorf("read up to %v", c.next)
		}
		c.hangUp()
	})
}

// TestFetchReadsAheadOfSequentialReaders: the first request reads what it answers; then what follows is there before it is asked for.
func TestFetchReadsAheadOfSequentialReaders(t *testing.T) {
	inBubble(t, 1, Config{}, func(t *testing.T, r *rig) {
		const objects = 40
		for range objects {
			r.write([][]rec{{{value: incompressible(512 << 10)}}}, 0)
		}
		req := request(0, 0)
		var seen []int64
		for len(seen) < 24 {
			seen = append(seen, r.bucket.gets.Load()) // each is of another object
			got := r.fetch(req)
			req.Partitions[0].Offset = got.GetNextOffset()
			synctest.Wait() // it does something else meanwhile
		}
		if seen[0] != 0 || seen[1] != 1 {
			t.Errorf("GETs before the requests %v: it reads ahead before it knows the reader", seen)
		}
		for i, n := range seen[3:] {
			if n <= int64(i+3) {
				t.Errorf("GETs before the requests %v: request %d waited for the bucket", seen, i+3)
			}
		}
		if n := r.bucket.gets.Load(); n > 24+9 {
			t.Errorf("%d objects were read for 24, want at most 8 ahead", n)
		}
		random := request(0, 30) // somebody else, who jumps
		before := r.bucket.gets.Load()
		r.fetch(random)
		random.Partitions[0].Offset = 38
		r.fetch(random)
		synctest.Wait()
		if n := r.bucket.gets.Load() - before; n > 2 {
			t.Errorf("%d GETs for two requests that do not follow each other", n)
		}
	})
}

// Readers who go side by side through some partitions of the same objects have each object read once, and only what lies between them beside what they
// want; one alone has nothing read for others.
func TestReadersSideBySideShareGETs(t *testing.T) {
	const (
		objects, partitions = 50, 5
		segment             = 270 << 10 // too much to be read for nothing between two that are wanted
	)
	for _, test := range []struct {
		name    string
		reads   []int32
		perGet  int   // segments of one object that a GET brings, at least, once it is known who reads
		useless int64 // bytes for each byte that is wanted
	}{
		{"all", []int32{0, 1, 2, 3, 4}, 5, 1},
		{"every second", []int32{0, 2, 4}, 3, 2},
		{"two far from each other", []int32{0, 4}, 1, 1},
		{"one", []int32{3}, 1, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, partitions, Config{}, func(t *testing.T, r *rig) {
				all := make([]int32, partitions)
				for p := range all {
					all[p] = int32(p)
				}
				value := incompressible(segment)
				for range objects {
					r.write([][]rec{{{value: value}}}, all...)
				}
				next := make([]int64, partitions)
				round := func() {
					for _, p := range test.reads {
						next[p] = r.fetch(request(p, next[p])).GetNextOffset()
						synctest.Wait()
					}
				}
				for next[test.reads[0]] < 16 { // until the windows are open
					round()
				}
				before, behind := r.Service.cache.Counts(), next[test.reads[0]]
				for next[test.reads[0]] < objects-18 { // not to where there is nothing more to read ahead
					round()
				}
				after := r.Service.cache.Counts()
				read := (next[test.reads[0]] - behind) * int64(len(test.reads)) // segments
				if gets := after.Gets - before.Gets; gets*int64(test.perGet) > read+2*int64(test.perGet) {
					t.Errorf("%d GETs for %d segments, want one for %d", gets, read, test.perGet)
				}
				if got := after.GetBytes - before.GetBytes; got > (read+8)*(segment+1000)*test.useless {
					t.Errorf("%d bytes were read for %d segments of %d", got, read, segment)
				}
			})
		})
	}
}

// A reader of many segments never waits for the catalog after its first request: it is asked before what is known ends.
func TestCatalogIsAskedAhead(t *testing.T) {
	inBubble(t, 1, Config{}, func(t *testing.T, r *rig) {
		const segments = 5 * locatedSegments / 2
		for range segments {
			r.write([][]rec{plain(1)}, 0)
		}
		req := request(0, 0)
		req.MaxBytes = 100 // a segment each time
		for next := int64(0); next < segments; {
			began := time.Now()
			req.Partitions[0].Offset = next
			next = r.fetch(req).GetNextOffset()
			if took := time.Since(began); took > 0 {
				t.Fatalf("waited %v for the segment before offset %d", took, next)
			}
			r.catalog.Delay(time.Second)
			time.Sleep(30 * time.Millisecond) // half of what is known lasts for longer than a lookup takes
		}
		asked := []int64{}
		for _, call := range r.catalog.Calls() {
			for _, p := range call.GetPartitions() {
				if _, forSegments := p.GetPosition().(*controlplanev1.LookupPartition_Offset); forSegments {
					asked = append(asked, p.GetOffset())
				}
			}
		}
		if !slices.Equal(asked, []int64{0, locatedSegments, 2 * locatedSegments}) {
			t.Errorf("segments are looked up from the offsets %d", asked)
		}
	})
}

// A reader who has gone is not read for: others' objects are brought as if it had never been there.
func TestReadersWhoHaveGoneAreNotReadFor(t *testing.T) {
	const segment = 300 << 10
	inBubble(t, 2, Config{}, func(t *testing.T, r *rig) {
		for range 30 {
			r.write([][]rec{{{value: incompressible(segment)}}}, 0, 1)
		}
		next := make([]int64, 2)
		round := func(partitions ...int32) {
			for _, p := range partitions {
				next[p] = r.fetch(request(p, next[p])).GetNextOffset()
				synctest.Wait()
			}
		}
		for range 4 {
			round(0, 1)
		}
		time.Sleep(togetherFor + second) // partition 1's has gone
		round(0)
		before := r.Service.cache.Counts()
		for range 8 {
			round(0)
		}
		after := r.Service.cache.Counts()
		if got := after.GetBytes - before.GetBytes; got > 9*(segment+1000) {
			t.Errorf("%d bytes were read for 8 segments of %d", got, segment)
		}
	})
}

// A stream of a whole topic goes on with partitions that the topic gets; one of chosen partitions keeps to these.
func TestP2_ConsumeGoesOnWithNewPartitions(t *testing.T) {
	inBubble(t, 2, Config{}, func(t *testing.T, r *rig) {
		all, chosen := r.consumer(&dataplanev1.ConsumeRequest{}), r.consumer(from(0, edgeAt(dataplanev1.OffsetEdge_OFFSET_EDGE_EARLIEST)))
		synctest.Wait()
		for n := range int32(2) {
			r.catalog.Add(id(2 + n))
		}
		r.table.Apply(&controlplanev1.Placement{Revision: 2, Topics: []*controlplanev1.PlacedTopic{
			{TopicId: topicID[:], Name: topicName, PartitionCount: 4, Revision: 2},
		}})
		r.write([][]rec{plain(5)}, 0, 1, 2, 3) // by another agent, before the stream has noticed
		time.Sleep(3 * time.Second)
		r.write([][]rec{plain(5)}, 3)
		time.Sleep(2 * time.Second)
		for n, want := range []int64{5, 5, 5, 10} {
			if got := all.at(int32(n)); got != want {
				t.Errorf("partition %d is read up to %d, want %d", n, got, want)
			}
		}
		if chosen.at(0) != 5 || chosen.at(1) != 0 || chosen.at(2) != 0 {
			t.Errorf("who chose partition 0 reads %v", chosen.next)
		}
		all.hangUp()
		chosen.hangUp()
	})
}
