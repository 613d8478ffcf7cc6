package faults_test

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/streamhouse/streamhouse/e2e/history"
)

// trials of each fault: $STREAMHOUSE_TRIALS, 1 by default.
func trials() int {
	n, err := strconv.Atoi(cmp.Or(os.Getenv("STREAMHOUSE_TRIALS"), "1"))
	if err != nil || n < 1 {
		return 1
	}
	return n
}

// row sums up the trials of one fault.
type row struct {
	trials int
	total  history.Report
	pauses []time.Duration
}

var (
	rowsMu sync.Mutex // guards rows
	rows   = map[string]*row{}
)

// record adds a trial to the table.
func record(t *testing.T, report *history.Report, pause time.Duration) {
	t.Helper()
	t.Log(report)
	name, _, _ := strings.Cut(t.Name(), "/")
	rowsMu.Lock()
	defer rowsMu.Unlock()
	if rows[name] == nil {
		rows[name] = &row{}
	}
	r := rows[name]
	r.trials++
	r.pauses = append(r.pauses, pause)
	r.total.Acknowledged += report.Acknowledged
	r.total.Lost += report.Lost
	r.total.Duplicated += report.Duplicated
	r.total.Reordered += report.Reordered
	r.total.RefusedButWritten += report.RefusedButWritten
	r.total.Hidden += report.Hidden
	r.total.Gaps += report.Gaps + report.Phantoms + report.Rewritten + report.Skipped
}

// TestMain prints the table after the tests.
func TestMain(m *testing.M) {
	code := m.Run()
	if len(rows) > 0 {
		printTable(os.Stdout)
	}
	os.Exit(code)
}

func printTable(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 1, ' ', 0)
	fmt.Fprintln(w, "| fault\t| trials\t| acknowledged\t| lost\t| duplicated\t| reordered\t| refused but written\t| hidden\t| other\t| longest pause, median\t|")
	fmt.Fprintln(w, "|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|")
	names := make([]string, 0, len(rows))
	for name := range rows {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		r := rows[name]
		slices.Sort(r.pauses)
		fmt.Fprintf(w, "| %s\t| %d\t| %d\t| %d\t| %d\t| %d\t| %d\t| %d\t| %d\t| %.2f s\t|\n", strings.TrimPrefix(name, "Test"), r.trials, r.total.Acknowledged,
			r.total.Lost, r.total.Duplicated, r.total.Reordered, r.total.RefusedButWritten, r.total.Hidden, r.total.Gaps, r.pauses[len(r.pauses)/2].Seconds())
	}
	_ = w.Flush()
}
