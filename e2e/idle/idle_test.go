// Package idle counts what an idle cluster asks of PostgreSQL: the same, however many leases there are. A lease is renewed by the one
// heartbeat of its agent's session, never by itself. Tests alone live here.
//
// Promises: none. Read: idle_test.go.
package idle

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/e2e/cluster"
)

// partitionsOfTopic keeps single topics small; their number is not the point.
const partitionsOfTopic = 1000

// How far two counts may lie apart. Over the short windows a busy machine skips ticks; one statement a lease and minute, the least that a renewal would be,
// is still found. Over the long ones: one more or less of what happens once a second, at both ends.
const toleratedShort, toleratedLong = 0.25, 0.10

// suspectAfter is more than the default, for slow machines, and little enough that the judges have begun to look for suspects.
const suspectAfter = 3 * time.Second

// The database server's own log of statements is counted. Of an agent's heartbeats, the polls of the hub and the ticks of the judges none
// depends on the number of leases. With STREAMHOUSE_PROVE=1 up to 10,000 leases, over longer windows.
func TestStatementsDoNotDependOnLeases(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	sizes, window, tolerated := []int{10, 1000}, 5*time.Second, toleratedShort
	if os.Getenv("STREAMHOUSE_PROVE") != "" {
		sizes, window, tolerated = []int{10, 1000, 10_000}, 20*time.Second, toleratedLong
	}
	c := cluster.Start(t, cluster.Options{
		SessionDuration: 30 * time.Second, // the default
		SuspectAfter:    suspectAfter,
		AgentArgs:       []string{"--no-jobs"}, // an agent asks for jobs every five seconds, give or take: once or twice in a window
		Postgres:        []string{"log_statement=all", "autovacuum=off"},
	})
	var rates []float64
	leases := 0
	for _, size := range sizes {
		for leases < size {
			n := min(partitionsOfTopic, size-leases)
			c.CreateTopic(t.Context(), t, fmt.Sprintf("topic-%d", leases), int32(n), client.TopicConfig{})
			leases += n
		}
		rate, transactions, kinds := measure(t, c, window)
		t.Logf("%6d leases, 3 agents: %.1f statements/s, of these %.1f to begin or end a transaction\n%s", leases, rate, transactions, kinds)
		rates = append(rates, rate)
	}
	least, most := slices.Min(rates), slices.Max(rates)
	if least == 0 || (most-least)/least > tolerated {
		t.Errorf("statements a second: %.1f", rates)
	}
}

// measure counts statements a second while nothing happens.
func measure(t *testing.T, c *cluster.Cluster, window time.Duration) (all, transactions float64, kinds string) {
	t.Helper()
	wait(t, suspectAfter+time.Second) // what the new topics caused
	before := logged(t, c)
	wait(t, window)
	lines := logged(t, c)[len(before):]
	counts := map[string]int{}
	total, bounds := 0, 0
	for line := range bytes.Lines(lines) {
		what, is := statement(string(line))
		if !is {
			continue
		}
		total++
		if what == "begin" || what == "commit" || what == "rollback" {
			bounds++
		}
		counts[what]++
	}
	seconds := window.Seconds()
	return float64(total) / seconds, float64(bounds) / seconds, table(counts, seconds)
}

func wait(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	case <-time.After(d):
	}
}

func logged(t *testing.T, c *cluster.Cluster) []byte {
	t.Helper()
	content, err := os.ReadFile(c.Postgres.Log())
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// statement tells what a line of the log says was executed: the query's name, else its first word.
func statement(line string) (what string, is bool) {
	_, rest, found := strings.Cut(line, "LOG:  execute ")
	if !found {
		_, rest, found = strings.Cut(line, "LOG:  statement: ")
		return first(rest), found
	}
	_, query, _ := strings.Cut(rest, ": ")
	if _, name, named := strings.Cut(query, "-- name: "); named {
		query = name
	}
	return first(strings.TrimPrefix(query, "-- ")), true // "-- ping" is pgx's
}

func first(text string) string {
	word, _, _ := strings.Cut(strings.TrimSpace(text), " ")
	return strings.ToLower(strings.TrimSuffix(word, ";"))
}

// table lists statements by name.
func table(counts map[string]int, seconds float64) string {
	lines := make([]string, 0, len(counts))
	for what, n := range counts {
		lines = append(lines, fmt.Sprintf("    %-28s %5.1f/s", what, float64(n)/seconds))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
