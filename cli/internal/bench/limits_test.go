package bench

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/cli/internal/cputime"
	"github.com/streamhouse/streamhouse/cli/internal/datadir"
	"github.com/streamhouse/streamhouse/cli/internal/histogram"
)

// The S3 server's time is divided where the PUTs ended, counted from when it began to work; what it does afterwards belongs to neither.
func TestServerTimeIsDivided(t *testing.T) {
	t.Parallel()
	var samples []sample
	for i := range 100 { // idle for 1 s, a second of CPU in each of the next two, half of one in the three after, and 9 for the clean-up
		at := time.Duration(i) * 100 * time.Millisecond
		used := min(max(at-time.Second, 0), 2*time.Second) + min(max(at-3*time.Second, 0), 3*time.Second)/2 + 9*max(at-6*time.Second, 0)
		samples = append(samples, sample{at, used})
	}
	put, get := split(samples, storeAnswer{Put: storeNumber{Bytes: 2 * gib, Seconds: 2}, Get: storeNumber{Bytes: 3 * gib, Seconds: 3}})
	if put == nil || get == nil || math.Abs(*put-1) > 0.1 || math.Abs(*get-0.5) > 0.4 || *get > 0.9 {
		t.Errorf("got %v and %v, want 1 and 0.5 s/GiB", put, get)
	}
	if put, get := split(nil, storeAnswer{}); put != nil || get != nil {
		t.Error("what was not seen cannot be told")
	}
}

func program(t *testing.T, name, script string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func quiet(bin string, dev *datadir.Cluster) Target {
	return Target{Bin: bin, Dev: dev, Say: func(string, ...any) {}}
}

func TestProgramsAreAsked(t *testing.T) {
	t.Setenv("STREAMHOUSE_CONFIG", "/not/for/servers")
	bin := program(t, agentProgram, `
[ -z "$STREAMHOUSE_CONFIG" ] && [ "$STREAMHOUSE_S3_SECRET_KEY" = secret ] || { echo "wrong environment" >&2; exit 1; }
case "$*" in *secret*) echo "everyone can read it" >&2; exit 1;; esac
echo '{"object_bytes":7,"concurrency":1,"put":{"bytes":14,"seconds":1,"mb_per_second":1.048576,"p50_ms":2,"p99_ms":3,"cpu_seconds_per_gib":4},"get":{"mb_per_second":2}}'`)
	dev := &datadir.Cluster{S3: datadir.S3{Endpoint: "http://127.0.0.1:1", Bucket: "b", AccessKey: "a", SecretKey: "secret", Region: "r"}}
	put, get, err := quiet(bin, dev).storeLimit(t.Context(), 7, 1)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Store{ObjectBytes: 7, Concurrency: 1, MiBPerSec: 1, P50: 2, P99: 3, ClientPerGiB: 4}); *put != want || get.MiBPerSec < 1.9 {
		t.Errorf("got %+v and %+v", *put, *get)
	}
	t.Setenv("PATH", t.TempDir())
	for name, target := range map[string]Target{
		"bench-store needs the addresses": quiet(bin, nil), "there is no streamhouse-agent": quiet(t.TempDir(), dev),
		"never heard of it": quiet(program(t, agentProgram, "echo never heard of it >&2; exit 2"), dev),
		"no JSON":           quiet(program(t, agentProgram, "echo hello"), dev),
	} {
		if _, _, err := target.storeLimit(t.Context(), 7, 1); !errors.Is(err, errNoLimit) || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want one about %q", err, name)
		}
	}
}

func TestReportPutsNumbersInRelation(t *testing.T) {
	t.Parallel()
	half := 0.5
	r := newReport("produce", ProduceConfig{Batch: BatchSDK}, 2, 4<<20, 4*gib)
	r.StoredRatio, r.StoredMiBPerSec = 2, 1024
	r.cpu([]cputime.Usage{{Name: "producer", Time: 6 * time.Second}, {Name: "agents", Time: 2 * time.Second}})
	r.Limits = &Limits{
		Parts: &Parts{Build: 0.5, Verify: 0.1, Carry: 0.1}, Put: &Store{MiBPerSec: 2048, ClientPerGiB: 0.5, ServerPerGiB: &half},
		Get: &Store{}, Commit: &CommitLimit{Entries: 16, Store: CommitMeasure{PostgresMicros: &half, ClientMicros: 0.5}},
	}
	r.produceRatios(ProduceConfig{Batch: BatchSDK})
	want := map[string]float64{
		"stored bytes/s ÷ PutObject alone":               0.5,
		"CPU of the parts alone ÷ CPU of the whole path": (0.7 + 0.5 + 64*16*1e-6) / 2, // 64 objects of 8 MiB are half a GiB
	}
	for _, ratio := range r.Ratios {
		if w, known := want[ratio.Name]; !known || math.Abs(ratio.Value-w) > 1e-9 {
			t.Errorf("%s is %v, want %v", ratio.Name, ratio.Value, w)
		}
	}
	if len(r.Ratios) != 2 || r.CPU.CoresUsed != 4 || r.CPU.Processes[1].PerGiB != 0.5 || r.RecordsPerSecond != 2<<20 {
		t.Errorf("%+v", r)
	}
	text := r.Text()
	for _, part := range []string{"2097152 records/s", "4.00 cores used", "8.00     2.000", "PutObject", "bare transaction", ">= 0.75"} {
		if !strings.Contains(text, part) {
			t.Errorf("the table lacks %q:\n%s", part, text)
		}
	}
}

func TestTransactionsAreShown(t *testing.T) {
	t.Parallel()
	var h histogram.Histogram
	h.Add(time.Millisecond)
	meter, err := cputime.Start(nil)
	if err != nil {
		t.Fatal(err)
	}
	r := newReport("controlplane", nil, 0, 0, 0)
	r.Transactions = []Transaction{transaction("commit", 1000, 1, &h, meter)}
	if text := r.Text(); !strings.Contains(text, "unknown") || !strings.Contains(text, "1.00") {
		t.Errorf("got\n%s", text)
	}
}
