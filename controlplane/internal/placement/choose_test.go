package placement

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/uuid"
)

func wanted(topic uuid.UUID, n int) []Wanted {
	all := make([]Wanted, n)
	for i := range all {
		all[i] = Wanted{topic, int32(i)}
	}
	return all
}

// A zone's share is in proportion to its capacity, a topic's partitions are apart.
func TestChoose_NewTopic(t *testing.T) {
	t.Parallel()
	agents := []Agent{{ID: "a1", Zone: "a"}, {ID: "a2", Zone: "a"}, {ID: "b1", Zone: "b"}, {ID: "c1", Zone: "c"}}
	topic := uuid.New()
	got := Choose(agents, Loads{}, wanted(topic, 8))
	slices.Sort(got)
	if want := "[a1 a1 a2 a2 b1 b1 c1 c1]"; fmt.Sprint(got) != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	// An agent that has just joined does not get all of a new topic, though it is the emptiest.
	loads := Loads{All: map[string]int{"a1": 90, "b1": 90, "c1": 90}, Topics: map[uuid.UUID]map[string]int{}}
	got = Choose(agents, loads, wanted(topic, 4))
	slices.Sort(got)
	if want := "[a1 a2 b1 c1]"; fmt.Sprint(got) != want {
		t.Fatalf("got %s, want %s", got, want)
	}
}

func TestChoose_FillsTheEmptyAgent(t *testing.T) {
	t.Parallel()
	topic := uuid.New()
	loads := Loads{All: map[string]int{"a": 5, "b": 2}, Topics: map[uuid.UUID]map[string]int{topic: {"a": 1, "b": 1}}}
	got := fmt.Sprint(Choose([]Agent{{ID: "b"}, {ID: "a"}, {ID: "c"}}, loads, wanted(topic, 4)))
	if want := "[c c b c]"; got != want { // fewest in all; then fewest of the topic; then the least id
		t.Fatalf("got %s, want %s", got, want)
	}
}

func TestChoose_WithoutCandidates(t *testing.T) {
	t.Parallel()
	if got := Choose(nil, Loads{}, wanted(uuid.New(), 2)); !slices.Equal(got, []string{"", ""}) {
		t.Fatalf("%q", got)
	}
}
