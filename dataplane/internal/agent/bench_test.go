package agent_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/connect/v2/connectinprocess"
	"golang.org/x/sync/errgroup"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	"github.com/streamhouse/streamhouse/dataplane/internal/agent"
	"github.com/streamhouse/streamhouse/dataplane/internal/catalog"
	"github.com/streamhouse/streamhouse/dataplane/internal/controltest"
	"github.com/streamhouse/streamhouse/dataplane/internal/fetch"
	"github.com/streamhouse/streamhouse/dataplane/internal/flush"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore/s3test"
	"github.com/streamhouse/streamhouse/dataplane/internal/produce"
	"github.com/streamhouse/streamhouse/dataplane/internal/session"
	accessv1 "github.com/streamhouse/streamhouse/gen/streamhouse/access/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1/controlplanev1connect"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1/dataplanev1connect"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/access"
	"github.com/streamhouse/streamhouse/serve/listen"
	"github.com/streamhouse/streamhouse/serve/refusal"
	"github.com/streamhouse/streamhouse/serve/secret"
	"github.com/streamhouse/streamhouse/serve/tracing"
)

// load is what the benchmark's producer process is asked to do.
type load struct {
	URL                              string
	Partitions, BatchBytes, InFlight int
	RecordBytes                      int
	Seconds                          float64
	Overload                         bool // go on after OVERLOADED, as soon as one may
	Plain                            bool // one plain record a call
}

// sent is what it did: bytes of values and of batches, calls turned away, and all calls.
type sent struct{ Values, Stored, Overloaded, Calls int64 }

const producerEnv = "STREAMHOUSE_BENCH_PRODUCER"

// producer is the other process of BenchmarkWritePath: it sends the same prebuilt batches again and again, one to each partition.
func producer(settings string) error {
	var l load
	if err := json.Unmarshal([]byte(settings), &l); err != nil {
		return err
	}
	if l.Plain {
		return call(l)
	}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols, ReadBufferSize: 64 << 10, WriteBufferSize: 64 << 10}
	client := dataplanev1connect.NewRecordServiceClient(connect.NewClient(connecthttp.NewTransport(&http.Client{Transport: transport}, l.URL, connecthttp.WithCompressors())))
	batches, values := prebuilt(l)
	done := make([]sent, l.InFlight)
	began := time.Now()
	var group errgroup.Group
	for i := range done {
		group.Go(func() error {
			for time.Since(began).Seconds() < l.Seconds {
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
				info := bearer(ctx)
				res, err := client.Produce(info, requestOf(batches))
				cancel()
				if r, ok := refusal.Of(err); ok && l.Overload && r.GetReason() == refusalv1.Reason_REASON_OVERLOADED {
					done[i].Overloaded++
					time.Sleep(time.Duration(r.GetRetryAfterMs()) * time.Millisecond / 4) // in a hurry
					continue
				}
				if err != nil {
					return err
				}
				for _, o := range res.GetOutcomes() {
					if r := o.GetRefusal(); l.Overload && r.GetReason() == refusalv1.Reason_REASON_OVERLOADED {
						done[i].Overloaded++
					} else if r != nil {
						return refusal.Error(r)
					}
				}
				done[i].Calls++
				done[i].Values += values
				for _, b := range batches {
					done[i].Stored += int64(len(b))
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	var total sent
	for _, d := range done {
		total = sent{total.Values + d.Values, total.Stored + d.Stored, total.Overloaded + d.Overloaded, total.Calls + d.Calls}
	}
	return json.NewEncoder(os.Stdout).Encode(total)
}

func bearer(ctx context.Context) context.Context {
	ctx, info := connect.NewClientContext(ctx)
	info.RequestHeader().Set("Authorization", "Bearer "+benchKey)
	return ctx
}

var benchKey = "shk_" + string(bytes.Repeat([]byte("A"), 43))

func requestOf(batches [][]byte) *dataplanev1.ProduceRequest {
	req := &dataplanev1.ProduceRequest{}
	for p, b := range batches {
		req.Entries = append(req.Entries, &dataplanev1.ProduceEntry{
			Topic: &dataplanev1.ProduceEntry_TopicName{TopicName: "orders"}, Partition: new(int32(p)),
			Payload: &dataplanev1.ProduceEntry_Batch{Batch: b},
		})
	}
	return req
}

// prebuilt makes a batch for each partition, of JSON-like records.
func prebuilt(l load) (batches [][]byte, values int64) {
	r := rand.New(rand.NewPCG(1, 2))
	for range l.Partitions {
		b := recordbatch.NewBuilder(recordbatch.LZ4, recordbatch.Limits{})
		for i, n := int64(0), 0; n < l.BatchBytes; i++ {
			v := fmt.Appendf(nil, `{"id":%d,"user":"user-%d","level":"info"`, r.Uint64N(1e9), r.IntN(5000))
			for len(v) < l.RecordBytes-20 {
				v = fmt.Appendf(v, `,"f%d":"%x"`, r.IntN(20), r.Uint32N(1024))
			}
			if err := b.Append(1_700_000_000_000+i, nil, v, nil); err != nil {
				panic(err)
			}
			n += len(v)
			values += int64(len(v))
		}
		batch, err := b.AppendBatch(nil, recordbatch.NoProducer())
		if err != nil {
			panic(err)
		}
		batches = append(batches, batch)
	}
	return batches, values
}

// BenchmarkWritePath is a whole agent behind its listener, with a real bucket and a catalog in memory; producers are another process. It
// reports the agent's CPU seconds per GiB of record values, the catalog's in it.
func BenchmarkWritePath(b *testing.B) {
	for _, test := range []struct {
		recordBytes int
		level       produce.Level
	}{{1024, produce.Full}, {1024, produce.Checksum}, {100, produce.Full}} {
		recordBytes, level := test.recordBytes, test.level
		b.Run(fmt.Sprintf("%dB-%s", recordBytes, level), func(b *testing.B) {
			url := serveAgent(b, level)
			l := load{URL: url, Partitions: 16, BatchBytes: 128 << 10, InFlight: 24, RecordBytes: recordBytes, Seconds: 2}
			var total sent
			var cpu time.Duration
			var allocated uint64
			began := time.Now()
			for b.Loop() {
				before, memory := cpuTime(b), allocations()
				s := produceFrom(b, l)
				cpu += cpuTime(b) - before
				allocated += allocations() - memory
				total.Values, total.Stored = total.Values+s.Values, total.Stored+s.Stored
			}
			b.ReportMetric(cpu.Seconds()*(1<<30)/float64(total.Values), "CPU-s/GiB")
			b.ReportMetric(float64(total.Values)/1e6/time.Since(began).Seconds(), "MB/s")
			b.ReportMetric(float64(allocated)/float64(total.Stored), "B-alloc/B-stored")
			b.ReportMetric(float64(total.Values)/float64(total.Stored), "ratio")
		})
	}
}

func allocations() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func produceFrom(b testing.TB, l load) (s sent) {
	b.Helper()
	settings, err := json.Marshal(l)
	if err != nil {
		b.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.CommandContext(b.Context(), self)
	cmd.Env = append(os.Environ(), producerEnv+"="+string(settings))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		b.Fatal(err)
	}
	if err := json.Unmarshal(out, &s); err != nil {
		b.Fatal(err)
	}
	return s
}

// serveAgent runs an agent with a real bucket until the benchmark ends.
func serveAgent(b *testing.B, level produce.Level) (url string) {
	b.Helper()
	server := s3test.Start(b)
	store, err := objectstore.NewS3(b.Context(), objectstore.Config{
		Bucket: server.Bucket, Endpoint: server.Endpoint, Region: server.Region, PathStyle: true,
		AccessKey: server.AccessKey, SecretKey: secret.New(server.SecretKey),
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(store.Close)
	return serve(b, store, func(c *agent.Config) { c.Verify = level })
}

// serve runs an agent behind a real listener, with a catalog in memory, until the test ends.
func serve(b testing.TB, store objectstore.Store, change func(*agent.Config)) (url string) {
	b.Helper()
	return serveTraced(b, store, nil, change)
}

// serveTraced is serve for an agent that makes spans.
func serveTraced(b testing.TB, store objectstore.Store, tracer *tracing.Tracer, change func(*agent.Config)) (url string) {
	b.Helper()
	control := controltest.New()
	control.CreateTopic("orders", 16, nil)
	plane := connect.NewServer()
	controlplanev1connect.RegisterAgentServiceHandler(plane, control)
	log := slog.New(slog.DiscardHandler)
	ready := make(chan struct{})
	config := agent.Config{
		Session:        session.Config{AgentID: "a", AgentGroup: "default", Zone: "z", Address: func() string { return "http://a" }},
		MaxObjectBytes: 8 << 20, MaxBufferedBytes: 256 << 20, MaxRequestBytes: 4 << 20,
		Flush: flush.Config{Linger: 250 * time.Millisecond, MaxUploads: 6, PutsPerSecond: 4, PutBurst: 8},
		Fetch: fetch.Config{}, ProduceTimeout: 30 * time.Second, DrainDeadline: 5 * time.Second, DrainLinger: time.Second,
	}
	change(&config)
	a, err := agent.New(config, agent.Deps{Replicas: []catalog.Replica{{Calls: connectinprocess.New(plane)}}, Store: store, Log: log, Tracer: tracer, Ready: func() { close(ready) }})
	if err != nil {
		b.Fatal(err)
	}
	front, err := listen.New(listen.Options{
		Config: listen.Config{Listen: "127.0.0.1:0", StopTimeout: time.Second}, Logger: log, Register: a.Register, Writes: agent.Writes, Admit: a.Admit,
		Tracer: tracer, BeginsTrace: agent.BeginsTrace,
		Authenticator: access.AuthenticatorFunc(func(context.Context, access.KeyHash) (access.Principal, error) {
			return access.Principal{KeyID: "key", Role: accessv1.Role_ROLE_CLIENT, AgentGroup: "default"}, nil
		}),
		Transport: []connecthttp.Option{connecthttp.WithReadMaxBytes(4 << 20), connecthttp.WithCompressors()},
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { control.Run(ctx); return nil })
	group.Go(func() error { return a.Run(ctx, ctx.Done()) })
	group.Go(func() error { return front.Run(ctx) })
	b.Cleanup(func() {
		cancel()
		_ = group.Wait()
	})
	<-ready
	return front.URL()
}
