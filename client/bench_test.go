package client

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/connect/v2/connectinprocess"

	"github.com/streamhouse/streamhouse/client/recordbatch"
)

// nullHTTP serves a null leader on a real listener.
func nullHTTP(b testing.TB, partitions int32) *nullLeader {
	b.Helper()
	n := newNullLeader("", partitions)
	mux := http.NewServeMux()
	connecthttp.Mount(mux, n.server(), connecthttp.WithReadMaxBytes(16<<20), connecthttp.WithCompressors())
	s := httptest.NewUnstartedServer(mux)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	b.Cleanup(s.Close)
	n.url = s.URL
	return n
}

// lines are values such as people store: JSON of about n bytes that differ.
func lines(count, n int) [][]byte {
	all := make([][]byte, count)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range all {
		var w bytes.Buffer
		fmt.Fprintf(&w, `{"id":%d,"user":"u%05d","event":"page_view","amount":%d.%02d`, r.IntN(1e9), r.IntN(1e5), r.IntN(1000), r.IntN(100))
		for i := 0; w.Len() < n-2; i++ {
			fmt.Fprintf(&w, `,"f%d":"%x"`, i, r.Uint32())
		}
		all[i] = append(w.Bytes()[:n-1:n-1], '}')
	}
	return all
}

// cpu is the processor time that this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkProduce measures Produce to callback: an iteration is a record. "cpu-ns" is what all of it costs, the server's part included.
func BenchmarkProduce(b *testing.B) {
	inProcess := func(n *nullLeader) []Option {
		n.url = "http://null"
		t := connectinprocess.New(n.server())
		return []Option{WithTransport(func(string) connect.Transport { return t })}
	}
	for _, size := range []int{100, 1000} {
		for _, codec := range []string{"none", "lz4"} {
			b.Run(fmt.Sprintf("%dB/%s/in-process", size, codec), func(b *testing.B) {
				n := newNullLeader("", 16)
				benchProduce(b, n, size, codec, inProcess(n)...)
			})
			b.Run(fmt.Sprintf("%dB/%s/http", size, codec), func(b *testing.B) { benchProduce(b, nullHTTP(b, 16), size, codec) })
		}
	}
}

func benchProduce(b *testing.B, n *nullLeader, size int, codec string, options ...Option) {
	c, err := New(append(options, WithAgents(n.url), WithZone(""))...)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	var config []ProducerOption
	if codec == "none" {
		config = append(config, WithoutCompression())
	}
	p, err := c.NewProducer(config...)
	if err != nil {
		b.Fatal(err)
	}
	keys, values := lines(1000, 100), lines(4096, size)
	for i := range keys {
		keys[i] = keys[i][:12]
	}
	records := make([]Record, 1<<19)
	var failed atomic.Int64
	done := func(_ *Record, err error) {
		if err != nil {
			failed.Add(1)
		}
	}
	b.ReportAllocs()
	began := cpu()
	i := 0
	for b.Loop() {
		r := &records[i&(1<<19-1)] // its turn comes again long after it was answered: the producer's buffer is smaller
		r.Topic, r.Key, r.Value, r.Timestamp = "orders", keys[i%1000], values[i&4095], time.Time{}
		p.Produce(context.Background(), r, done)
		i++
	}
	if err := p.Close(context.Background()); err != nil || failed.Load() > 0 {
		b.Fatal(err, failed.Load())
	}
	b.ReportMetric(float64(cpu()-began)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(n.bytes.Load())/float64(max(n.requests.Load(), 1)), "B/request")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "Mrec/s")
}

// BenchmarkConsume measures what is read of a server that has everything in memory: an iteration is a record of 100 bytes.
func BenchmarkConsume(b *testing.B) {
	for _, as := range []string{"views", "structs"} {
		b.Run(as, func(b *testing.B) { benchConsume(b, as == "views") })
	}
}

func benchConsume(b *testing.B, views bool) {
	n := nullHTTP(b, 16)
	n.stock(b, recordbatch.LZ4, lines(4096, 100))
	c, err := New(WithAgents(n.url), WithZone(""))
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	k, err := c.NewConsumer(b.Context(), "orders", From(Beginning()))
	if err != nil {
		b.Fatal(err)
	}
	defer k.Close()
	b.ReportAllocs()
	began := cpu()
	var read, bytes int
	for read < b.N {
		if views {
			batch, err := k.PollBatch(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			for v := (View{}); batch.Next(&v); read++ {
				bytes += len(v.Value)
			}
			continue
		}
		rs, err := k.Poll(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		for _, r := range rs {
			bytes += len(r.Value)
		}
		read += len(rs)
	}
	b.ReportMetric(float64(cpu()-began)/float64(read), "cpu-ns/op")
	b.ReportMetric(float64(read)/b.Elapsed().Seconds()/1e6, "Mrec/s")
	b.ReportMetric(float64(n.bytes.Load())/float64(n.requests.Load()), "B/request")
}
