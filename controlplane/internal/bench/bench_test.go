package bench_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/streamhouse/streamhouse/controlplane/internal/bench"
	"github.com/streamhouse/streamhouse/controlplane/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestRun_MeasuresBothAndLeavesNothing(t *testing.T) {
	t.Parallel()
	url := pgtest.EmptyURL(t)
	for _, config := range []bench.Config{
		{Entries: 1, Committers: 1, Duration: 100 * time.Millisecond},
		{Entries: 30, Committers: 3, Producers: 1, Duration: 200 * time.Millisecond},
	} {
		report, err := bench.Run(t.Context(), url, config)
		if err != nil {
			t.Fatal(err)
		}
		for name, m := range map[string]bench.Measure{"raw": report.Raw, "store": report.Store} {
			// An entry is a row of 80 bytes, its place in an index and a change of another row; a commit is a hundredth of a millisecond at least.
			if m.Commits < 10 || m.P50Ms < 0.01 || m.P99Ms < m.P50Ms || m.WALBytesPerEntry < 150 || m.EntriesPerSecond <= 0 || m.ClientCPUUsPerEntry <= 0 {
				t.Errorf("%d entries, %s: %+v", config.Entries, name, m)
			}
			if runtime.GOOS == "linux" && (m.PostgresCPUUsPerEntry == nil || *m.PostgresCPUUsPerEntry < 1) {
				t.Errorf("%d entries, %s: CPU of PostgreSQL %v", config.Entries, name, m.PostgresCPUUsPerEntry)
			}
		}
		checkOutput(t, report)
	}
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	var left int
	if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_database WHERE datname LIKE 'streamhouse_bench_%'").Scan(&left); err != nil || left != 0 {
		t.Errorf("%d scratch databases are left, %v", left, err)
	}
}

func checkOutput(t *testing.T, report *bench.Report) {
	t.Helper()
	var out bytes.Buffer
	var fields map[string]any
	if err := report.Write(&out, "json"); err != nil || json.Unmarshal(out.Bytes(), &fields) != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	for _, name := range []string{"entries", "producers", "committers", "seconds", "raw", "store", "store_to_raw"} {
		if fields[name] == nil {
			t.Errorf("json lacks %s", name)
		}
	}
	out.Reset()
	if err := report.Write(&out, "table"); err != nil || !strings.Contains(out.String(), fmt.Sprintf("%.2f", report.Store.P99Ms)) {
		t.Errorf("%v: %s", err, out.String())
	}
}

func TestConfig_Validate(t *testing.T) {
	t.Parallel()
	err := bench.Config{Entries: 0, Producers: 2, Committers: 33, Duration: time.Millisecond}.Validate()
	for _, name := range []string{"entries", "producers", "committers", "duration"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s is out of bounds, got %v", name, err)
		}
	}
	if err := (bench.Config{Entries: 1, Committers: 1, Duration: time.Second}).Validate(); err != nil {
		t.Error(err)
	}
}
