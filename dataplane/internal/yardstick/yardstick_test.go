package yardstick

import (
	"context"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore/s3test"
	"github.com/streamhouse/streamhouse/serve/secret"
)

func TestStoreMeasuresAndLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	store, err := objectstore.NewS3(t.Context(), objectstore.Config{
		Bucket: server.Bucket, Endpoint: server.Endpoint, Region: server.Region, PathStyle: true,
		AccessKey: server.AccessKey, SecretKey: secret.New(server.SecretKey),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	config := StoreConfig{AgentGroup: "g", Bytes: 64 << 10, Concurrency: 2, Duration: 200 * time.Millisecond, MaxTotalBytes: 1 << 20}
	r, err := Store(t.Context(), store, config)
	if err != nil {
		t.Fatal(err)
	}
	if r.Put.Operations < 1 || r.Put.Operations > 16 || r.Put.Bytes != r.Put.Operations*64<<10 {
		t.Errorf("put %+v: want 1 to 16 objects", r.Put)
	}
	for name, rate := range map[string]Rate{"put": r.Put, "get": r.Get} {
		if rate.MBPerSecond <= 0 || rate.P50MS <= 0 || rate.P99MS < rate.P50MS || rate.CPUSecondsPerGiB <= 0 {
			t.Errorf("%s %+v", name, rate)
		}
	}
	page, err := store.List(context.Background(), "", "", 10)
	if err != nil || len(page.Objects) != 0 {
		t.Errorf("left behind: %v, %v", page.Objects, err)
	}
	config.Concurrency = 0
	if _, err := Store(t.Context(), store, config); err == nil {
		t.Error("a concurrency of 0 was accepted")
	}
}

func TestCPUMeasures(t *testing.T) {
	r, err := CPU(CPUConfig{RecordBytes: 1024, BatchBytes: 256 << 10, Duration: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if r.Ratio < 1.5 || r.StoredBytes <= 0 || r.BatchBytes < 256<<10 {
		t.Errorf("%+v", r)
	}
	for name, s := range map[string]Speed{
		"compress": r.Compress, "decompress": r.Decompress, "crc": r.CRC, "verify": r.Verify, "verify_frame": r.VerifyFrame,
	} {
		if s.GBPerSecond <= 0 || s.CPUSecondsPerGiB <= 0 {
			t.Errorf("%s: %+v", name, s)
		}
	}
	if r.Verify.GBPerSecond > r.VerifyFrame.GBPerSecond {
		t.Errorf("full verification is quicker than the frame's alone: %+v", r)
	}
	if _, err := CPU(CPUConfig{}); err == nil {
		t.Error("zero was accepted")
	}
}
