package fetch

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"golang.org/x/sync/errgroup"

	"github.com/streamhouse/streamhouse/dataplane/internal/cache"
	"github.com/streamhouse/streamhouse/dataplane/internal/lookup/catalogtest"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore/s3test"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	"github.com/streamhouse/streamhouse/dataplane/internal/route"
	accessv1 "github.com/streamhouse/streamhouse/gen/streamhouse/access/v1"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1/dataplanev1connect"
	"github.com/streamhouse/streamhouse/serve/access"
	"github.com/streamhouse/streamhouse/serve/secret"
)

const consumerEnv = "STREAMHOUSE_BENCH_CONSUMER"

// appetite is what the benchmark's consumer process reads: partitions from the start to the end, again and again.
type appetite struct {
	URL        string
	Partitions int
	MaxBytes   int32
	End        int64
	Seconds    float64
}

// consumeProcess is the other process of BenchmarkReadPath. It prints how many bytes of batches it got.
func consumeProcess(settings string) error {
	var a appetite
	if err := json.Unmarshal([]byte(settings), &a); err != nil {
		return err
	}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{
		Protocols: protocols, ReadBufferSize: 64 << 10, WriteBufferSize: 64 << 10,
		HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: 16 << 20, MaxReceiveBufferPerConnection: 64 << 20, MaxReadFrameSize: 1 << 20},
	}
	client := dataplanev1connect.NewRecordServiceClient(connect.NewClient(
		connecthttp.NewTransport(&http.Client{Transport: transport}, a.URL, connecthttp.WithReadMaxBytes(16<<20), connecthttp.WithCompressors())))
	got := make([]int64, a.Partitions)
	began := time.Now()
	var g errgroup.Group
	for p := range a.Partitions {
		g.Go(func() error {
			for offset := int64(0); time.Since(began).Seconds() < a.Seconds; {
				req := request(int32(p), offset)
				req.MaxBytes = a.MaxBytes
				res, err := client.Fetch(context.Background(), req)
				if err != nil {
					return err
				}
				got[p] += int64(len(res.GetPartitions()[0].GetBatches()))
				if offset = res.GetPartitions()[0].GetNextOffset(); offset >= a.End {
					offset = 0
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	total := int64(0)
	for _, n := range got {
		total += n
	}
	return json.NewEncoder(os.Stdout).Encode(total)
}

// BenchmarkReadPath serves consumers in another process over HTTP/2 and reports the CPU seconds of this process, the agent, for a GiB of
// batches as stored: from the memory of what was just committed, and cold from a bucket.
func BenchmarkReadPath(b *testing.B) {
	for _, cold := range []bool{false, true} {
		b.Run(map[bool]string{false: "memory", true: "cold"}[cold], func(b *testing.B) {
			a := appetite{URL: serveReaders(b, cold), Partitions: 4, MaxBytes: 3 << 20, End: (benchObjects - 2*newSegments) * benchRecords, Seconds: 2}
			var total int64
			var cpu time.Duration
			var allocated uint64
			began := time.Now()
			for b.Loop() {
				before, memory := cpuTime(b), allocations()
				total += consumeFrom(b, a)
				cpu += cpuTime(b) - before
				allocated += allocations() - memory
			}
			b.ReportMetric(cpu.Seconds()*(1<<30)/float64(total), "CPU-s/GiB")
			b.ReportMetric(float64(total)/1e6/time.Since(began).Seconds(), "MB/s")
			b.ReportMetric(float64(allocated)/float64(total), "B-alloc/B")
		})
	}
}

func consumeFrom(b *testing.B, a appetite) (total int64) {
	b.Helper()
	settings, err := json.Marshal(a)
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.CommandContext(b.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), consumerEnv+"="+string(settings))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		b.Fatal(err)
	}
	if err := json.Unmarshal(out, &total); err != nil {
		b.Fatal(err)
	}
	return total
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

const (
	benchObjects = 40
	benchRecords = 8 // a segment; each a batch of 64 KiB
)

// serveReaders serves four partitions of forty objects; cold: of which next to nothing is ever in memory.
func serveReaders(b *testing.B, cold bool) string {
	b.Helper()
	table := route.New("a", newOneTopic(4))
	table.Apply(&controlplanev1.Placement{Revision: 1, Topics: []*controlplanev1.PlacedTopic{
		{TopicId: topicID[:], Name: topicName, PartitionCount: 4, Revision: 1},
	}})
	var store objectstore.Store = &objectstore.Memory{}
	config := Config{}
	if cold {
		server := s3test.Start(b)
		bucket, err := objectstore.NewS3(b.Context(), objectstore.Config{
			Endpoint: server.Endpoint, Bucket: server.Bucket, Region: server.Region, PathStyle: true,
			AccessKey: server.AccessKey, SecretKey: secret.New(server.SecretKey),
		})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(bucket.Close)
		store = bucket
		config.Cache = cache.Config{RecentBytes: 32 << 20, MaxBytes: 1 << 20}
	}
	catalog := &catalogtest.Catalog{}
	s, err := New("group", table, catalog, store, config, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	fillForBench(b, s, catalog, store, cold)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Run(ctx) }()
	b.Cleanup(func() { cancel(); <-done })
	return listenForBench(b, s)
}

func fillForBench(b *testing.B, s *Service, catalog *catalogtest.Catalog, store objectstore.Store, cold bool) {
	b.Helper()
	for n := range int32(4) {
		catalog.Add(id(n))
		s.Led(id(n), 1, 0, 0)
	}
	for o := range int64(benchObjects) {
		body := []byte("head")
		var all []partition.Committed
		for n := range int32(4) {
			c := partition.Committed{
				Partition: id(n), Epoch: 1, BaseOffset: o * benchRecords, NextOffset: (o + 1) * benchRecords,
				ObjectKey: fmt.Sprintf("group/00/%d", o), BytePosition: int64(len(body)),
			}
			for i := range int64(benchRecords) {
				value := make([]byte, 64<<10)
				for j := range value {
					value[j] = byte(rand.Uint32())
				}
				batch := batchOf(b, c.BaseOffset+i, []rec{{value: value}})
				c.Batches, body = append(c.Batches, batch), append(body, batch...)
			}
			c.SizeBytes = int32(int64(len(body)) - c.BytePosition)
			c.CRC32C = objectstore.Checksum(body[c.BytePosition:])
			all = append(all, c)
		}
		if cold {
			if err := store.Put(b.Context(), all[0].ObjectKey, [][]byte{body}, objectstore.Checksum(body)); err != nil {
				b.Fatal(err)
			}
		}
		for _, c := range all {
			catalog.Commit(c.Partition, segmentOf(c))
			if !cold {
				s.Committed(c)
			}
		}
	}
}

func listenForBench(b *testing.B, s *Service) string {
	b.Helper()
	asClient := func(next connect.ServerFunc) connect.ServerFunc {
		return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
			return next(access.With(ctx, access.Principal{Role: accessv1.Role_ROLE_CLIENT, AgentGroup: "group"}), spec, stream)
		}
	}
	server := connect.NewServer(asClient)
	dataplanev1connect.RegisterRecordServiceHandler(server, readers{Service: s})
	mux := http.NewServeMux()
	connecthttp.Mount(mux, server, append([]connecthttp.Option{connecthttp.WithCompressors()}, benchOptions...)...)
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	listener, err := (&net.ListenConfig{}).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	web := &http.Server{Handler: mux, Protocols: protocols, ReadHeaderTimeout: time.Second, HTTP2: &http.HTTP2Config{
		MaxReceiveBufferPerStream: 16 << 20, MaxReceiveBufferPerConnection: 64 << 20, MaxReadFrameSize: 1 << 20,
	}}
	go func() { _ = web.Serve(listener) }()
	b.Cleanup(func() { _ = web.Close() })
	return "http://" + listener.Addr().String()
}

var benchOptions []connecthttp.Option
