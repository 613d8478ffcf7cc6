package objectstore_test

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore/s3test"
	"github.com/streamhouse/streamhouse/serve/secret"
)

// 8 MiB through the client to a real server, and what the emptiest request to it costs.
func BenchmarkS3(b *testing.B) {
	server := s3test.Start(b)
	store, err := objectstore.NewS3(b.Context(), objectstore.Config{
		Bucket: server.Bucket, Endpoint: server.Endpoint, Region: server.Region, PathStyle: true,
		AccessKey: server.AccessKey, SecretKey: secret.New(server.SecretKey),
	})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	body := bytes.Repeat([]byte("0123456789abcdef"), 8<<16)
	sum := objectstore.Checksum(body)
	b.Run("put 8 MiB", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		start := time.Now().UnixNano()
		for i := 0; b.Loop(); i++ {
			if err := store.Put(b.Context(), fmt.Sprintf("bench/%d-%d", start, i), [][]byte{body}, sum); err != nil {
				b.Fatal(err)
			}
		}
	})
	if err := store.Put(b.Context(), "bench/get", [][]byte{body}, sum); err != nil {
		b.Fatal(err)
	}
	dst := make([]byte, len(body))
	b.Run("get 8 MiB", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			if err := store.GetRange(b.Context(), "bench/get", 0, dst); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("health", func(b *testing.B) { // the least that a request costs
		transport := &http.Transport{}
		defer transport.CloseIdleConnections()
		for b.Loop() {
			resp, err := (&http.Client{Transport: transport}).Get(server.Endpoint + "/healthz")
			if err != nil {
				b.Fatal(err)
			}
			_ = resp.Body.Close()
		}
	})
}
