package dev_test

import (
	"bytes"
	"testing"

	clusters "github.com/streamhouse/streamhouse/e2e/cluster"
	"github.com/streamhouse/streamhouse/e2e/demo"
)

// The demonstration, with fewer lines: it judges itself, by comparing what went in with what came out.
func TestDemo(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	const lines = 20_000
	var said bytes.Buffer
	summary, err := demo.Run(bounded(t), demo.Config{Bin: clusters.Binaries(t), Lines: lines, Rate: 4000, Out: &said})
	if err == nil {
		err = summary.Err()
	}
	if err != nil || summary.Records < lines || summary.Led == 0 {
		t.Errorf("%v\n%s%s", err, said.Bytes(), summary)
	}
	t.Log(summary)
}
