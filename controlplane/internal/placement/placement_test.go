package placement

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

func partitions(topic uuid.UUID, n int) []Partition {
	all := make([]Partition, n)
	for i := range all {
		all[i] = Partition{topic, int32(i)}
	}
	return all
}

func TestChoose_RotatesZones(t *testing.T) {
	t.Parallel()
	agents := []Agent{{"a1", "a"}, {"a2", "a"}, {"b1", "b"}, {"c1", "c"}}
	got := fmt.Sprint(Choose(agents, Loads{}, partitions(uuid.New(), 8)))
	if want := "[a1 b1 c1 a2 b1 c1 a1 a2]"; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
}

func TestChoose_FillsTheEmptyAgent(t *testing.T) {
	t.Parallel()
	topic := uuid.New()
	loads := Loads{All: map[string]int{"a": 5, "b": 2}, Topics: map[uuid.UUID]map[string]int{topic: {"a": 1, "b": 2}}}
	got := fmt.Sprint(Choose([]Agent{{"b", ""}, {"a", ""}, {"c", ""}}, loads, partitions(topic, 4)))
	if want := "[c c a b]"; got != want { // fewest of the topic; then fewest in all; then the least id
		t.Fatalf("got %s, want %s", got, want)
	}
}

func TestChoose_WithoutCandidates(t *testing.T) {
	t.Parallel()
	if got := Choose(nil, Loads{}, partitions(uuid.New(), 2)); !slices.Equal(got, []string{"", ""}) {
		t.Fatalf("%q", got)
	}
}

// However many topics and agents, each topic of which nothing was assigned before is spread within one; the order of agents is nothing.
func TestChoose_IsEven(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var agents []Agent
		for i := range rapid.IntRange(1, 9).Draw(t, "agents") {
			agents = append(agents, Agent{fmt.Sprint("agent-", i), fmt.Sprint("zone-", rapid.IntRange(0, 2).Draw(t, "zone"))})
		}
		var wanted []Partition
		for range rapid.IntRange(1, 4).Draw(t, "topics") {
			wanted = append(wanted, partitions(uuid.New(), rapid.IntRange(1, 30).Draw(t, "partitions"))...)
		}
		chosen := Choose(agents, Loads{}, wanted)
		counts := map[uuid.UUID]map[string]int{}
		for i, p := range wanted {
			if counts[p.Topic] == nil {
				counts[p.Topic] = map[string]int{}
			}
			counts[p.Topic][chosen[i]]++
		}
		for topic, count := range counts {
			least, most := 1<<30, 0
			for _, a := range agents {
				least, most = min(least, count[a.ID]), max(most, count[a.ID])
			}
			if most-least > 1 {
				t.Fatalf("topic %v: %v", topic, count)
			}
		}
		slices.Reverse(agents)
		if !slices.Equal(Choose(agents, Loads{}, wanted), chosen) {
			t.Fatal("the order of agents matters")
		}
	})
}
