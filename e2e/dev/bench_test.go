package dev_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// benchReport is what the bench commands print with -o json.
type benchReport struct {
	Bench   string `json:"bench"`
	Records int64  `json:"records"`
	Errors  int64  `json:"errors"`
	Latency spread `json:"latency"`
	// Delivery by an agent that does not lead.
	Delivery *struct {
		Agent string `json:"agent"`
		spread
	} `json:"delivery"`
	Verified *struct {
		Sent, Read, Lost, Duplicated, Unwanted, Disordered int64
	} `json:"verified"`
	Transactions []struct {
		What    string `json:"what"`
		Entries int    `json:"entries"`
		Latency spread `json:"latency"`
	} `json:"transactions"`
	CPU struct {
		Processes []struct {
			Name string `json:"name"`
		} `json:"processes"`
	} `json:"cpu"`
	Limits *struct {
		Put, Get, Commit, Parts map[string]any
	} `json:"limits"`
	Ratios []struct {
		Name  string  `json:"name"`
		Value float64 `json:"value"`
	} `json:"ratios"`
	Notes []string `json:"notes"`
}

// The bench commands measure a running dev, from the outside and process by process, beside the raw limits, and leave nothing behind.
func TestBenchMeasures(t *testing.T) {
	t.Parallel()
	d, ctx := newDev(t), bounded(t)
	d.args = append(d.args, "--agent-flag", "linger=50ms")
	d.up(ctx, t)
	svg := filepath.Join(t.TempDir(), "times.svg")

	var sdk benchReport
	d.JSON(ctx, t, &sdk, "bench", "produce", "--records", "20000", "--warm-up", "200ms", "--record-bytes", "200", "--partitions", "4",
		"--producers", "2", "--keyed", "--verify", "--limit-time", "200ms", "--svg", svg)
	if sdk.Records != 20000 || sdk.Errors != 0 || sdk.Latency.Samples < 100 || sdk.Latency.P50 <= 0 {
		t.Errorf("produce: %+v", sdk)
	}
	if v := sdk.Verified; v == nil || v.Sent < 20000 || v.Read != v.Sent || v.Lost+v.Duplicated+v.Unwanted+v.Disordered != 0 {
		t.Errorf("produce: read back %+v", v)
	}
	if drawn, err := os.ReadFile(svg); err != nil || !strings.Contains(string(drawn), "<polyline") {
		t.Errorf("--svg: %v, %.200s", err, drawn)
	}
	if runtime.GOOS == "linux" {
		expectLimits(t, sdk)
	}

	var prebuilt benchReport
	d.JSON(ctx, t, &prebuilt, "bench", "produce", "--batch", "prebuilt", "--duration", "500ms", "--warm-up", "100ms", "--no-limits")
	if prebuilt.Records == 0 || prebuilt.Errors != 0 || prebuilt.Limits != nil {
		t.Errorf("prebuilt: %+v", prebuilt)
	}

	var latency benchReport
	d.JSON(ctx, t, &latency, "bench", "latency", "--duration", "1s", "--warm-up", "200ms", "--no-limits")
	if latency.Latency.Samples != 100 || latency.Delivery == nil || latency.Delivery.Samples != 100 || latency.Delivery.P50 <= 0 {
		t.Errorf("latency: %+v, %+v", latency, latency.Delivery)
	}

	for _, how := range []string{"--as=views", "--cold"} {
		var consumed benchReport
		d.JSON(ctx, t, &consumed, "bench", "consume", "--records", "20000", "--consumers", "2", "--no-limits", how)
		if consumed.Records < 40000 || consumed.Records%2 != 0 {
			t.Errorf("consume %s: %+v", how, consumed)
		}
	}

	var commits benchReport
	d.JSON(ctx, t, &commits, "bench", "controlplane", "--entries", "1,50", "--duration", "200ms", "--warm-up", "50ms", "--no-limits")
	if len(commits.Transactions) != 5 || commits.Transactions[0].What != "acquire" || commits.Transactions[4].Latency.P50 <= 0 {
		t.Errorf("controlplane: %+v", commits)
	}

	var left []map[string]any
	if d.JSON(ctx, t, &left, "topic", "list"); len(left) != 0 {
		t.Errorf("topics are left: %v", left)
	}
	if d.JSON(ctx, t, &left, "agent-group", "list"); len(left) != 1 {
		t.Errorf("agent groups are left: %v", left)
	}
	d.down(ctx, t)
}

func expectLimits(t *testing.T, r benchReport) {
	t.Helper()
	if len(r.CPU.Processes) != 5 {
		t.Errorf("CPU time of %+v", r.CPU.Processes)
	}
	if r.Limits == nil || r.Limits.Put == nil || r.Limits.Get == nil || r.Limits.Commit == nil || r.Limits.Parts == nil {
		t.Errorf("limits: %+v, notes %v", r.Limits, r.Notes)
	}
	if len(r.Ratios) != 2 {
		t.Errorf("ratios: %+v, notes %v", r.Ratios, r.Notes)
	}
	for _, ratio := range r.Ratios {
		if ratio.Value <= 0 {
			t.Errorf("%s: %v", ratio.Name, ratio.Value)
		}
	}
}
