package bench

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1/dataplanev1connect"

	"github.com/streamhouse/streamhouse/cli/internal/cputime"
)

// Parts are the steps of a record's way that need no other process, one after the other in this one: CPU seconds per GiB of values.
type Parts struct {
	Build  float64 `json:"encode_and_compress"`
	Verify float64 `json:"verify_in_full"`
	// Carry is a batch's way over HTTP on this machine, both ends, to a handler that drops it.
	Carry float64 `json:"carry"`
}

// measureParts measures them with these values.
func measureParts(ctx context.Context, long time.Duration, values *payload, batchBytes int, keyed bool) (*Parts, error) {
	batch, records, err := values.batch(batchBytes, keyed)
	if err != nil {
		return nil, err
	}
	bytes := records * len(values.scratch)
	var p Parts
	builder := recordbatch.NewBuilder(recordbatch.LZ4, recordbatch.Limits{})
	var into []byte
	if p.Build, err = cost(ctx, long, bytes, func(n int64) error { return build(builder, &into, values, n*int64(records), records, keyed) }); err != nil {
		return nil, err
	}
	scratch := recordbatch.AcquireScratch()
	defer scratch.Release()
	if p.Verify, err = cost(ctx, long, bytes, func(int64) error {
		_, err := recordbatch.Verify(batch, recordbatch.Limits{}, scratch)
		return err
	}); err != nil {
		return nil, err
	}
	p.Carry, err = carry(ctx, long, batch, bytes)
	return &p, err
}

func build(b *recordbatch.Builder, into *[]byte, values *payload, from int64, records int, keyed bool) (err error) {
	b.Reset()
	for n := from; n < from+int64(records); n++ {
		var key []byte
		if keyed {
			key = values.key(n)
		}
		if err := b.Append(batchTime, key, values.value(n), nil); err != nil {
			return err
		}
	}
	*into, err = b.AppendBatch((*into)[:0], recordbatch.NoProducer())
	return err
}

// cost repeats a step on so many bytes of values for so long, and returns its CPU seconds per GiB of them.
func cost(ctx context.Context, long time.Duration, bytes int, step func(n int64) error) (float64, error) {
	for n := range int64(3) { // buffers grow
		if err := step(n); err != nil {
			return 0, err
		}
	}
	before, err := cputime.Self()
	if err != nil {
		return 0, err
	}
	var n int64
	for until := time.Now().Add(long); ctx.Err() == nil && time.Now().Before(until); n++ {
		if err := step(n); err != nil {
			return 0, err
		}
	}
	after, err := cputime.Self()
	if err != nil || n == 0 {
		return 0, ctx.Err()
	}
	return (after - before).Seconds() / (float64(n) * float64(bytes) / gib), nil
}

// dropper is an agent that drops what it gets.
type dropper struct {
	dataplanev1connect.UnimplementedRecordServiceHandler
}

// Produce drops it.
func (dropper) Produce(context.Context, *dataplanev1.ProduceRequest) (*dataplanev1.ProduceResponse, error) {
	return &dataplanev1.ProduceResponse{}, nil
}

// carry sends requests of about 1 MiB to a server in this process.
func carry(ctx context.Context, long time.Duration, batch []byte, bytes int) (float64, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("listen: %w", err)
	}
	rpc, mux := connect.NewServer(), http.NewServeMux()
	dataplanev1connect.RegisterRecordServiceHandler(rpc, dropper{})
	connecthttp.Mount(mux, rpc, connecthttp.WithReadMaxBytes(16<<20), connecthttp.WithCompressors())
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) }) // ends with Close
	defer serving.Wait()
	defer server.Close()
	caller := httpClient()
	defer caller.CloseIdleConnections()
	agent := agentClient(caller, "", "http://"+l.Addr().String())
	entries := max(requestBytes/len(batch), 1)
	request := &dataplanev1.ProduceRequest{}
	for range entries {
		request.Entries = append(request.Entries, &dataplanev1.ProduceEntry{Payload: &dataplanev1.ProduceEntry_Batch{Batch: batch}})
	}
	return cost(ctx, long, bytes*entries, func(int64) error {
		_, err := agent.Produce(ctx, request)
		return err
	})
}
