package model_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Sizes of the model, small to large; what each number means is said at the top of the model.
const (
	twoTenures    = "-DTENURES=2"
	threeTenures  = "-DTENURES=3"
	oneSession    = "-DSESSIONS=1"
	oneKey        = "-DKEYS=1"
	threeKeys     = "-DKEYS=3"
	noTimeouts    = "-DTIMEOUTS=0"
	twoFaults     = "-DFAULTS=2"
	noIdempotent  = "-DIDEMPOTENT=0"
	onePlain      = "-DPLAIN=1"
	twoPlain      = "-DPLAIN=2"
	rowsPurged    = "-DPURGE"
	topicRemade   = "-DTOPICS"
	withWitnesses = "-DWITNESS"
)

// configuration is one size in which the protocol must hold.
type configuration struct {
	name  string
	sizes []string
}

var bounded = []configuration{
	{"sessions", []string{twoTenures, rowsPurged}},
	{"hand-offs", []string{threeTenures, oneSession, noTimeouts}},
	{"sessions and hand-offs", []string{threeTenures, oneKey, rowsPurged}},
	{"producer without sequences", []string{twoTenures, oneSession, noIdempotent, twoPlain}},
	{"topic deleted and made anew", []string{twoTenures, topicRemade, noIdempotent, onePlain}},
}

// large are explored with STREAMHOUSE_PROVE=1: minutes, and up to 5 GB.
var large = []configuration{
	{"two faults", []string{twoTenures, noTimeouts, twoFaults, rowsPurged}},
	{"hand-offs of all sessions", []string{threeTenures, noTimeouts, rowsPurged}},
	{"hand-offs and timeouts", []string{threeTenures, oneSession}},
	{"three objects, both producers", []string{twoTenures, oneSession, noTimeouts, threeKeys, onePlain}},
	{"two faults in one session, both producers", []string{twoTenures, oneSession, twoFaults, onePlain}},
}

// Promises, by their names in the model.
const (
	durable      = "P1_DURABLE"
	order        = "P2_ORDER"
	singleWriter = "P3_SINGLE_WRITER"
	noDuplicates = "P5_NO_DUPLICATES"
	definite     = "P6_DEFINITE"
	noLeaks      = "P8_NO_LEAKS"
	oneContent   = "ONE_CONTENT"
	unprovoked   = "UNPROVOKED"
	smooth       = "SMOOTH"
	sayNo        = "SAY_NO"
	sameTopic    = "TOPIC"
	settled      = "SETTLED"
	stored       = "STORED"
)

// number is a promise's bit in the model's OFF.
var number = map[string]int{
	durable: 1, order: 2, singleWriter: 3, noDuplicates: 5, definite: 6, noLeaks: 8, oneContent: 9,
	unprovoked: 10, smooth: 11, sayNo: 12, sameTopic: 13, settled: 14, stored: 15,
}

// mutation is a rule left out, or several, and the promise that breaks.
type mutation struct {
	// without are the model's names of what is done wrong.
	without []string
	// breaks is the promise; "": none, another rule keeps all of them.
	breaks string
	sizes  []string
}

func rule(names ...string) []string { return names }

// mutations with the sizes in which they are found soonest. Where a promise is named, the model looks for that one alone.
var mutations = []mutation{
	{rule("NO_EPOCH_CHECK"), singleWriter, []string{twoTenures, oneSession}},
	{rule("NO_OFFSET_CHECK"), order, []string{twoTenures, oneSession, noIdempotent, twoPlain, noTimeouts}},
	{rule("NO_RESIGNATION"), oneContent, []string{twoTenures, oneSession, noIdempotent, twoPlain}},
	{rule("NO_TOMBSTONE"), noLeaks, []string{twoTenures, oneSession}},
	{rule("TOMBSTONE_DROPPED"), noLeaks, []string{twoTenures, oneSession}},
	{rule("SWEEP_ONCE"), noLeaks, []string{twoTenures, oneSession, twoFaults}},
	{rule("KEY_BY_SELECT"), definite, []string{twoTenures, oneSession}},
	{rule("KEY_REUSED"), durable, []string{twoTenures, oneKey}},
	{rule("ACK_BEFORE_COMMIT"), durable, []string{twoTenures, oneSession}},
	{rule("PRODUCER_OUTSIDE"), noDuplicates, []string{twoTenures, oneSession}},
	{rule("RENEWAL_BUMPS"), unprovoked, []string{twoTenures, oneSession}},
	{rule("ACQUIRE_CACHED"), singleWriter, []string{twoTenures, oneSession}},
	{rule("ACQUIRE_LOWERS"), oneContent, []string{twoTenures, oneSession, noIdempotent, twoPlain, noTimeouts}},
	{rule("ACQUIRE_REPEATS_ENDED"), oneContent, []string{twoTenures, oneSession, noIdempotent, twoPlain, noTimeouts}},
	{rule("RELEASE_UNFLUSHED"), smooth, []string{twoTenures, oneSession}},
	{rule("RELEASE_STILL_USED"), smooth, []string{twoTenures, oneSession}},
	{rule("RELEASE_ANY_EPOCH"), smooth, []string{threeTenures, oneSession}},
	{rule("GAP_FROM_MEMORY"), sayNo, []string{twoTenures, oneSession}},
	{rule("MISSING_SESSION_IS_NO"), definite, []string{twoTenures, rowsPurged}},
	{rule("MISSING_SESSION_SILENT"), settled, []string{twoTenures, rowsPurged}},
	{rule("TOPIC_NAMES"), sameTopic, []string{twoTenures, topicRemade, noIdempotent, onePlain}},

	// Rules that others cover: alone nothing breaks, together the promise does.
	{rule("FAILURES_NOT_STORED"), "", []string{twoTenures, oneSession}},
	{rule("FAILURES_NOT_STORED"), "", []string{twoTenures, oneSession, noTimeouts, threeKeys}},
	{rule("FAILURES_NOT_STORED", "NO_RESIGNATION"), definite, []string{twoTenures, oneSession, noTimeouts, threeKeys}},
	{rule("FAILURES_NOT_STORED", "TWO_IN_FLIGHT"), definite, []string{twoTenures, oneSession, noTimeouts}},
	{rule("FAILURES_NOT_STORED", "TWO_IN_FLIGHT"), stored, []string{twoTenures, oneSession, noTimeouts}},
	{rule("TWO_IN_FLIGHT"), "", []string{twoTenures, oneSession, noTimeouts}},
	{rule("NO_SEQUENCE_CHECK"), "", []string{twoTenures, oneSession}},
	{rule("LEADER_FORGETS", "NO_SEQUENCE_CHECK"), noDuplicates, []string{twoTenures, oneSession}},
}

// proving says that this is the long proof.
var proving = os.Getenv("STREAMHOUSE_PROVE") != ""

func TestP1_P2_P3_P5_P6_P8_HoldInEveryInterleaving(t *testing.T) {
	t.Parallel()
	needSpin(t)
	configurations := bounded
	if proving {
		configurations = slices.Concat(bounded, large)
	}
	var mu sync.Mutex
	reached := map[string]bool{} // guarded by mu
	t.Run("sizes", func(t *testing.T) {
		for _, c := range configurations {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				f := explore(t, "-O1", append(slices.Clone(c.sizes), withWitnesses)...)
				t.Logf("%d states, depth %d: %s", f.states, f.depth, strings.Join(c.sizes, " "))
				if f.broken != "" {
					t.Errorf("%s is broken: %s\n%s", f.broken, f.assertion, replay(append(slices.Clone(c.sizes), withWitnesses)))
				}
				mu.Lock()
				defer mu.Unlock()
				for _, w := range f.reached {
					reached[w] = true
				}
			})
		}
	})
	for _, w := range witnesses(t) {
		if !reached[w] {
			t.Errorf("no run reaches %q: the model proves nothing about it", w)
		}
	}
}

var witnessCall = regexp.MustCompile(`reached\(([^,()]+), `)

// witnesses are the states that the model says should be reachable, or its promises would be kept by nothing happening.
func witnesses(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range witnessCall.FindAllStringSubmatch(string(text), -1) {
		if m[1] != "what" { // the macro itself
			names = append(names, m[1])
		}
	}
	if len(names) < 10 {
		t.Fatalf("only %d witnesses in %s", len(names), source)
	}
	return names
}

func TestLeavingOutARuleBreaksItsPromise(t *testing.T) {
	t.Parallel()
	needSpin(t)
	for _, m := range mutations {
		t.Run(strings.Join(m.without, "+")+breaks(m), func(t *testing.T) {
			t.Parallel()
			args := definitions(m)
			f := explore(t, optimize(m), args...)
			t.Logf("%d states, depth %d: %s", f.states, f.depth, f.assertion)
			if f.broken != m.breaks {
				t.Errorf("breaks %q, want %q: %s\n%s", f.broken, m.breaks, f.assertion, replay(args))
			}
		})
	}
}

func breaks(m mutation) string {
	if m.breaks == "" {
		return " is covered"
	}
	return " breaks " + m.breaks
}

// optimize: what breaks soon is compiled longer than it runs.
func optimize(m mutation) string {
	if m.breaks == "" {
		return "-O1"
	}
	return "-O0"
}

// definitions are a mutation's sizes, rules and, where it must break a promise, all others switched off.
func definitions(m mutation) []string {
	args := slices.Clone(m.sizes)
	for _, name := range m.without {
		args = append(args, "-D"+name)
	}
	if m.breaks != "" {
		args = append(args, fmt.Sprintf("-DOFF=%d", 0xffff&^(1<<number[m.breaks])))
	}
	return args
}

// TestEveryMutationIsTried: a mutation in the model that no test names would prove nothing.
func TestEveryMutationIsTried(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	tried := map[string]bool{}
	for _, m := range mutations {
		for _, name := range m.without {
			tried[name] = true
		}
	}
	sizes := []string{"TENURES", "SESSIONS", "KEYS", "IDEMPOTENT", "PLAIN", "FAULTS", "TIMEOUTS", "OFF", "WITNESS", "PURGE", "TOPICS"}
	inModel := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#(?:ifn?def |elif defined\()([A-Z_]+)`).FindAllStringSubmatch(string(text), -1) {
		inModel[m[1]] = true
		if !tried[m[1]] && !slices.Contains(sizes, m[1]) {
			t.Errorf("%s is in the model, and no test leaves that rule out", m[1])
		}
	}
	for name := range tried {
		if !inModel[name] {
			t.Errorf("the model knows no %s", name)
		}
		if !strings.Contains(string(readme), "`"+name+"`") {
			t.Errorf("README.md does not say what %s breaks", name)
		}
	}
}

// replay tells how to see the run that broke a promise.
func replay(defines []string) string {
	return "to see it, copy " + source + " into an empty folder and there: spin " + strings.Join(defines, " ") + " -a " + source +
		" && cc -w -DSAFETY -DNOREDUCE -DCOLLAPSE -DVECTORSZ=2048 -o pan pan.c && ./pan -m10000; ./pan -r"
}
