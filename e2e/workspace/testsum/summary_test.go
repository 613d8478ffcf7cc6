package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	start = `{"Action":"start",` + inB + "}\n"
	runX  = `{"Action":"run",` + inX + "}\n" + `{"Action":"output",` + inX + `,"Output":"=== RUN   TestX\n"}` + "\n" +
		`{"Action":"output",` + inX + `,"Output":"from x\n"}` + "\n"
	passX   = `{"Action":"pass",` + inX + `,"Elapsed":2}` + "\n"
	saysX   = `{"Action":"output",` + inX + `,"Output":"    x_test.go:7: lost 1\n"}` + "\n" + `{"Action":"output",` + inX + `,"Output":"        time=1 of a process\n"}` + "\n"
	failX   = `{"Action":"fail",` + inX + `,"Elapsed":2}` + "\n"
	skipX   = `{"Action":"skip",` + inX + `,"Elapsed":0}` + "\n"
	panicB  = `{"Action":"output",` + inB + `,"Output":"panic: outside\n"}` + "\n"
	passB   = `{"Action":"pass",` + inB + `,"Elapsed":2.5}` + "\n"
	failB   = `{"Action":"fail",` + inB + `,"Elapsed":2.5}` + "\n"
	brokenB = `{"ImportPath":"` + pkgB + `","Action":"build-output","Output":"b.go:1: undefined\n"}` + "\n" +
		`{"ImportPath":"` + pkgB + `","Action":"build-fail"}` + "\n" + start +
		`{"Action":"fail",` + inB + `,"Elapsed":0,"FailedBuild":"` + pkgB + `"}` + "\n"

	pkgB = "github.com/streamhouse/streamhouse/a/b"
	inB  = `"Package":"` + pkgB + `"`
	inX  = inB + `,"Test":"TestX"`
)

func TestSummary(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		stream string
		ok     bool
		want   string // in the output
		last   string // the last line
	}{
		"pass":               {start + runX + passX + passB, true, "ok       2.5s a/b", "1 passed, 0 failed, 0 skipped"},
		"slow":               {start + runX + passX + passB, true, "slow     2.0s a/b TestX", "1 passed, 0 failed, 0 skipped"},
		"fail":               {start + runX + failX + failB, false, "--- FAIL a/b TestX\nfrom x\n", "0 passed, 1 failed, 0 skipped"},
		"fail, at the end":   {start + runX + saysX + failX + failB, false, "failed: a/b TestX\n    x_test.go:7: lost 1\n", "0 passed, 1 failed, 0 skipped"},
		"skip":               {start + runX + skipX + passB, true, "skipped: a/b TestX", "0 passed, 0 failed, 1 skipped"},
		"build":              {brokenB, false, "--- FAIL a/b\nb.go:1: undefined\n", "0 passed, 1 failed, 0 skipped"},
		"cut off":            {start + runX + failB, false, "--- FAIL a/b TestX\nfrom x\n", "0 passed, 1 failed, 0 skipped"},
		"outside":            {start + runX + passX + panicB + failB, false, "panic: outside", "1 passed, 1 failed, 0 skipped"},
		"outside and inside": {start + runX + failX + panicB + failB, false, "panic: outside", "0 passed, 1 failed, 0 skipped"},
		"warning":            {"go: warning\n" + start + runX + passX + passB, true, "go: warning\n", "1 passed, 0 failed, 0 skipped"},
		"nothing":            {"", false, "", "0 passed, 0 failed, 0 skipped"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			err := run(strings.NewReader(c.stream), &out, "")
			if (err == nil) != c.ok {
				t.Errorf("error = %v", err)
			}
			if !strings.Contains(out.String(), c.want) {
				t.Errorf("%q is not in:\n%s", c.want, out.String())
			}
			if !strings.HasSuffix(out.String(), c.last+"\n") {
				t.Errorf("last line is not %q:\n%s", c.last, out.String())
			}
			if c.ok && strings.Contains(out.String(), "from x") {
				t.Errorf("the output of a test that passed is shown:\n%s", out.String())
			}
		})
	}
}

func TestRecordIsTheStream(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "stream.json")
	stream := "go: warning\n" + start + runX + passX + passB
	if err := run(strings.NewReader(stream), &strings.Builder{}, file); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != stream {
		t.Errorf("recorded %q", got)
	}
}
