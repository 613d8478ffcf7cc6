package agent_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"golang.org/x/sync/errgroup"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	"github.com/streamhouse/streamhouse/dataplane/internal/agent"
	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1/dataplanev1connect"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

// call is the other process of BenchmarkPlainCallers, and of a flood: each caller sends one record of JSON at a time, as it is, and waits for the answer.
func call(l load) error {
	transport := &http.Transport{MaxIdleConnsPerHost: l.InFlight}
	client := dataplanev1connect.NewRecordServiceClient(connect.NewClient(connecthttp.NewTransport(&http.Client{Transport: transport}, l.URL, connecthttp.WithCompressors())))
	done := make([]sent, l.InFlight)
	same := event(rand.New(rand.NewPCG(1, 2)), l.RecordBytes)
	began := time.Now()
	var group errgroup.Group
	for i := range done {
		group.Go(func() error {
			random, value := rand.New(rand.NewPCG(uint64(i), 2)), same
			for time.Since(began).Seconds() < l.Seconds {
				if !l.Overload { // else this would be what takes long
					value = event(random, l.RecordBytes)
				}
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
				_, err := client.Produce(bearer(ctx), &dataplanev1.ProduceRequest{Entries: []*dataplanev1.ProduceEntry{{
					Topic: &dataplanev1.ProduceEntry_TopicName{TopicName: "orders"}, Partition: new(int32(i % l.Partitions)),
					Payload: &dataplanev1.ProduceEntry_Records{Records: &dataplanev1.PlainRecords{Records: []*dataplanev1.Record{{Value: value}}}},
				}}})
				cancel()
				if r, ok := refusal.Of(err); ok && l.Overload && r.GetReason() == refusalv1.Reason_REASON_OVERLOADED {
					done[i].Overloaded++
					time.Sleep(time.Duration(r.GetRetryAfterMs()) * time.Millisecond / 4) // in a hurry
					continue
				}
				if err != nil {
					return err
				}
				done[i].Calls++
				done[i].Values += int64(len(value))
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	var total sent
	for _, d := range done {
		total = sent{total.Values + d.Values, 0, total.Overloaded + d.Overloaded, total.Calls + d.Calls}
	}
	return json.NewEncoder(os.Stdout).Encode(total)
}

// event is a value of JSON.
func event(r *rand.Rand, size int) []byte {
	v := fmt.Appendf(nil, `{"id":%d,"user":"user-%d","level":"info"`, r.Uint64N(1e9), r.IntN(5000))
	for len(v) < size-20 {
		v = fmt.Appendf(v, `,"f%d":"%x"`, r.IntN(20), r.Uint32N(1024))
	}
	return append(v, '}')
}

// scale is a bucket that knows how many bytes, batches and objects of records it has taken.
type scale struct {
	objectstore.Memory

	mu                      sync.Mutex
	bytes, batches, objects int
	segments                [][]byte
}

func (s *scale) Put(ctx context.Context, key string, body [][]byte, crc32c uint32) error {
	if data := bytes.Join(body, nil); len(data) > 0 {
		if footer, err := object.Parse(data); err == nil {
			s.mu.Lock()
			s.objects++
			for _, g := range footer.Segments {
				s.bytes += int(g.SizeBytes)
				segment := data[g.BytePosition : g.BytePosition+int64(g.SizeBytes)]
				s.segments = append(s.segments, segment)
				for range recordbatch.Split(segment) {
					s.batches++
				}
			}
			s.mu.Unlock()
		}
	}
	return s.Memory.Put(ctx, key, body, crc32c)
}

// read reads everything as a consumer does, and says how long that took.
func (s *scale) read(b *testing.B) (records int, took time.Duration) {
	b.Helper()
	var scratch recordbatch.Scratch
	began := time.Now()
	for _, segment := range s.segments {
		for batch := range recordbatch.Split(segment) {
			info, err := recordbatch.Open(batch, recordbatch.Limits{}, &scratch)
			if err != nil {
				b.Fatal(err)
			}
			var v recordbatch.View
			for r := recordbatch.NewReader(info); r.Next(&v); records++ {
			}
		}
	}
	return records, time.Since(began)
}

// BenchmarkPlainCallers is a whole agent behind its listener, with bucket and catalog in memory, and 100 callers in another process who each send
// a plain record of 1 KiB at a time. It reports what is stored for a record, the agent's CPU for it, the catalog's in it, and what
// decoding it costs.
func BenchmarkPlainCallers(b *testing.B) {
	for _, partitions := range []int{1, 16} {
		b.Run(fmt.Sprintf("%d-partitions", partitions), func(b *testing.B) {
			store := new(scale)
			url := serve(b, store, func(*agent.Config) {})
			l := load{URL: url, Partitions: partitions, InFlight: 100, RecordBytes: 1024, Seconds: 5, Plain: true}
			var calls, cpu float64
			for b.Loop() {
				before := cpuTime(b)
				s := produceFrom(b, l)
				cpu += float64((cpuTime(b) - before).Microseconds())
				calls += float64(s.Calls)
			}
			store.mu.Lock()
			defer store.mu.Unlock()
			if records, took := store.read(b); records != int(calls) {
				b.Errorf("%d records are stored, %.0f were acknowledged", records, calls)
			} else {
				b.ReportMetric(float64(took.Nanoseconds())/calls, "ns-reading/record")
			}
			b.ReportMetric(float64(store.bytes)/calls, "B-stored/record")
			b.ReportMetric(float64(store.batches)/calls, "batches/record")
			b.ReportMetric(cpu/calls, "CPU-us/record")
			b.ReportMetric(calls/float64(store.objects), "records/PUT")
			b.ReportMetric(0, "ns/op")
		})
	}
}
