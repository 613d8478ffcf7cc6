package performance

import (
	"os"
	"strings"
	"testing"
)

// The document shows every row with its command and its aim, so that its numbers can be measured again.
func TestEveryRowIsDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range Rows() {
		found := false
		for line := range strings.Lines(string(text)) {
			found = found || (strings.Contains(line, "| "+row.What+" |") && strings.Contains(line, "`"+row.Command()+"`") && strings.Contains(line, "| "+row.Aim+" |"))
		}
		if !found {
			t.Errorf("docs/performance.md lacks | %s | %s | … | `%s` |", row.What, row.Aim, row.Command())
		}
	}
}

func TestEveryRowHasItsCluster(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, c := range Clusters() {
		known[c.Name] = true
	}
	commands := map[string]bool{}
	for _, row := range Rows() {
		if !known[row.Cluster] || commands[row.Cluster+row.Command()] || row.Value(Report{}) == "" {
			t.Errorf("%s: no such cluster %s, or a command that stands there twice", row.What, row.Cluster)
		}
		commands[row.Cluster+row.Command()] = true
	}
}
