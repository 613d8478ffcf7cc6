package conformance

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/streamhouse/streamhouse/controlplane/internal/scenario"
)

// reset empties the catalog, so that every story has a new one.
const reset = `
TRUNCATE sessions, agents, topics, partitions, tenures, object_keys, segments, producers, api_keys, agent_groups, jobs, upkeep, key_compactions RESTART IDENTITY CASCADE;
INSERT INTO agent_groups (agent_group) VALUES ('default');
UPDATE pulse SET beat_at = to_timestamp(0), quiet_until = to_timestamp(0);
UPDATE producer_ids SET next_id = 1`

// pair tells one story to PostgreSQL and to the reference.
type pair struct {
	real, reference *scenario.World
	catalog         scenario.Catalog // the reference's
	told            []string
	// tally counts the answers that have these words.
	tally map[string]int
}

// rare are words of answers that the stories must reach, or they prove little.
var rare = []string{
	"COMMITTED", "FENCED high", "OFFSET_MISMATCH", "SEQUENCE_GAP", "PRODUCER_FENCED", "UNKNOWN_TOPIC", "WRONG_AGENT_GROUP", "OBJECT_TOMBSTONED",
	"LEASE_HELD", "NOT_ASSIGNED", "AGENT_DRAINING", "SESSION_EXPIRED", "SESSION_SUPERSEDED", "possibly", "released, leader", "released, nobody",
	"suspect", "expired", "is assigned to", "dead: o", "producer 7", "1 log starts raised", "1 segments removed", "begins at", "OUT_OF_RANGE",
}

func newPair(t *rapid.T, catalog *scenario.OnPostgres, tally map[string]int) *pair {
	if _, err := catalog.Pool.Exec(t.Context(), reset); err != nil {
		t.Fatalf("reset: %v", err)
	}
	p := &pair{tally: tally}
	// Ids are PostgreSQL's choice; the reference takes the same, so that whatever depends on their order agrees, too.
	p.catalog = scenario.NewMemory(func() uuid.UUID { return p.real.LastID() })
	var err error
	if p.real, err = scenario.NewWorld(t.Context(), catalog); err != nil {
		t.Fatal(err)
	}
	if p.reference, err = scenario.NewWorld(t.Context(), p.catalog); err != nil {
		t.Fatal(err)
	}
	return p
}

// do tells a command to both; their answers must agree. It answers what they said.
func (p *pair) do(t *rapid.T, command string) string {
	p.told = append(p.told, command)
	got, err := p.real.Do(t.Context(), command)
	if err != nil {
		t.Fatalf("PostgreSQL: %v, after\n%s", err, p.story())
	}
	want, err := p.reference.Do(t.Context(), command)
	if err != nil {
		t.Fatalf("reference: %v, after\n%s", err, p.story())
	}
	if got != want {
		t.Fatalf("PostgreSQL answers\n%s\nthe reference\n%s\nafter\n%s", got, want, p.story())
	}
	for _, word := range rare {
		p.tally[word] += strings.Count(got, word)
	}
	return got
}

// story is what was told, as a script.
func (p *pair) story() string { return strings.Join(p.told, "\n") }

// TestP2P3P5_PostgresAnswersLikeTheReference tells random stories: registrations, heartbeats, silence, judges, leases, commits (right, wrong,
// repeated, late), tombstones, topics. After each step the rows keep their invariants.
func TestP2P3P5_PostgresAnswersLikeTheReference(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL")
	}
	t.Parallel()
	catalog := scenario.NewPostgres(t)
	steps, tally := 0, map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		teller := &teller{pair: newPair(t, catalog, tally)}
		watchman := NewWatchman(catalog.Pool)
		actions := teller.actions()
		actions[""] = func(t *rapid.T) {
			steps++
			if err := watchman.Check(t.Context()); err != nil {
				t.Fatalf("%v, after\n%s", err, teller.story())
			}
		}
		teller.begin(t)
		t.Repeat(actions)
		for _, w := range []*scenario.World{teller.real, teller.reference} {
			if err := w.CheckWatchers(t.Context()); err != nil {
				t.Fatalf("%v, after\n%s", err, teller.story())
			}
		}
	})
	t.Logf("%d steps, answers: %v", steps, tally)
	for _, word := range rare {
		if tally[word] == 0 && steps > 50_000 { // the long proof
			t.Errorf("no answer ever said %q", word)
		}
	}
}
