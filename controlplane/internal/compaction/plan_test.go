package compaction

import (
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

func sum(s string) uint32 { return crc32.Checksum([]byte(s), crc32.MakeTable(crc32.Castagnoli)) }

var config = Config{TargetBytes: 128 << 20, Patience: time.Hour}

func objects(n int, size int64, references int32, age time.Duration) (all []Candidate) {
	for i := range n {
		all = append(all, Candidate{ObjectID: int64(i + 1), Key: fmt.Sprint(i), SizeBytes: size, References: references, Age: age})
	}
	return all
}

// ofWriters has them written by so many, in turn.
func ofWriters(n int, of []Candidate) []Candidate {
	for i := range of {
		of[i].Key = fmt.Sprintf("g/1/%d/%d", i%n, i)
	}
	return of
}

func TestChoose(t *testing.T) {
	t.Parallel()
	at := func(of []Candidate, first, last int) []Candidate {
		for i := range of {
			of[i].First, of[i].Last = PlaceOf(uuid.UUID{}, int32(first)), PlaceOf(uuid.UUID{}, int32(last))
		}
		return of
	}
	for name, test := range map[string]struct {
		level         int
		candidates    []Candidate
		inputs, leave int
	}{
		"nothing there":                          {candidates: nil},
		"few and young wait":                     {candidates: objects(7, 8<<20, 1000, time.Minute)},
		"few and old":                            {candidates: objects(7, 8<<20, 1000, time.Hour), inputs: 7},
		"one alone has nobody to be joined with": {candidates: objects(1, 8<<20, 1000, 24*time.Hour)},
		"bytes for half an object, more is to be rewritten anyway": {candidates: objects(300, 8<<20, 1000, time.Minute), inputs: 8},
		"nobody knows how large they are":                          {candidates: objects(20, 0, 10, time.Minute)},
		"nobody knows it, and they are old":                        {candidates: objects(20, 0, 10, time.Hour), inputs: 20},
		"segments come to 2 MiB":                                   {candidates: objects(300, 8<<20, 200, time.Minute), inputs: 50},
		"they would, but it is no object yet":                      {candidates: objects(20, 1<<20, 10, time.Minute)},
		"small ones, as many as are read whole":                    {candidates: objects(300, 1<<20, 10, time.Minute), inputs: 24},
		"small ones, more make long segments":                      {candidates: objects(300, 1<<20, 64, time.Minute), inputs: 128},
		"small ones that cannot make long segments":                {candidates: objects(300, 1<<20, 640, time.Minute), inputs: 24},
		"enough objects for a job":                                 {candidates: objects(300, 8<<10, 10, time.Minute), inputs: MaxInputs},
		"segments enough for a job":                                {candidates: objects(100, 4<<20, 40_000, time.Minute), inputs: 4},
		"of many writers, none has enough":                         {candidates: ofWriters(12, objects(1200, 8<<10, 10, time.Minute))},
		"of many writers, one has enough":                          {candidates: ofWriters(4, objects(1200, 8<<10, 10, time.Minute)), inputs: MaxInputs},
		"of many writers, and old":                                 {candidates: ofWriters(12, objects(1200, 8<<10, 10, time.Hour)), inputs: MaxInputs},
		"crowded, of few writers":                                  {candidates: ofWriters(20, objects(Page, 8<<10, 10, time.Minute)), inputs: Page / 20},
		"crowded, of many writers":                                 {candidates: ofWriters(1000, objects(Page, 8<<10, 10, time.Minute)), inputs: MaxInputs},
		"long segments are left":                                   {candidates: objects(300, 8<<20, 8, time.Hour), leave: 300},
		"level 1, too few":                                         {level: 1, candidates: at(objects(7, 128<<20, 640, time.Hour), 1, 9)},
		"level 1, not worth it yet":                                {level: 1, candidates: at(objects(9, 128<<20, 640, time.Minute), 1, 9)},
		"level 1, long enough":                                     {level: 1, candidates: at(objects(30, 128<<20, 640, time.Minute), 1, 9), inputs: 10},
		"level 1, deep but tiny":                                   {level: 1, candidates: at(objects(100, 1<<20, 640, time.Hour), 1, 9)},
		"level 1, tiny and old":                                    {level: 1, candidates: at(objects(100, 1<<20, 640, 24*time.Hour), 1, 9), inputs: 100},
		"level 1, waited in vain":                                  {level: 1, candidates: at(objects(1, 1<<20, 640, 24*time.Hour), 1, 9), leave: 1},
		"level 1, segments enough":                                 {level: 1, candidates: at(objects(100, 128<<20, 20_000, 24*time.Hour), 1, 9), inputs: 8},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plan := Choose(test.level, test.candidates, config)
			if len(plan.Inputs) != test.inputs || len(plan.Leave) != test.leave {
				t.Errorf("%d inputs, %d left: want %d and %d", len(plan.Inputs), len(plan.Leave), test.inputs, test.leave)
			}
		})
	}
}

// Outputs of several jobs: those of the same partitions are taken together, not those of one job.
func TestChooseTakesWhatHoldsTheSamePartitions(t *testing.T) {
	t.Parallel()
	var all []Candidate
	for job := range 10 {
		for part := range 8 {
			first, last := PlaceOf(uuid.UUID{1}, int32(part*600)), PlaceOf(uuid.UUID{1}, int32(part*600+599))
			all = append(all, Candidate{ObjectID: int64(job*8 + part), SizeBytes: 128 << 20, References: 640, Age: time.Minute, First: first, Last: last})
		}
	}
	plan := Choose(1, all, config)
	if len(plan.Inputs) != 10 {
		t.Fatalf("%d inputs", len(plan.Inputs))
	}
	for _, c := range plan.Inputs {
		if c.First != plan.Inputs[0].First {
			t.Errorf("object %d begins elsewhere", c.ObjectID)
		}
	}
}

func drawCandidates(t *rapid.T) (all []Candidate) {
	id := int64(0)
	for range rapid.IntRange(0, 60).Draw(t, "n") {
		id += rapid.Int64Range(1, 3).Draw(t, "gap")
		c := Candidate{
			ObjectID: id, Key: fmt.Sprintf("g/1/%d/%d", rapid.IntRange(1, 3).Draw(t, "writer"), id), SizeBytes: rapid.Int64Range(0, 200<<20).Draw(t, "size"), References: rapid.Int32Range(1, 5000).Draw(t, "references"),
			Age: time.Duration(rapid.Int64Range(0, int64(48*time.Hour)).Draw(t, "age")),
		}
		if rapid.Bool().Draw(t, "known") {
			first := rapid.Int32Range(0, 30).Draw(t, "first")
			c.First, c.Last = PlaceOf(uuid.UUID{}, first), PlaceOf(uuid.UUID{}, first+rapid.Int32Range(0, 10).Draw(t, "length"))
		}
		all = append(all, c)
	}
	return all
}

// Bounds, order, no object twice, one place that all inputs span, and no deeper one.
func TestChooseProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		all := drawCandidates(t)
		level := rapid.IntRange(0, Levels-1).Draw(t, "level")
		plan := Choose(level, all, config)
		seen := map[int64]bool{}
		for _, c := range slices.Concat(plan.Inputs, plan.Leave) {
			if seen[c.ObjectID] || !slices.Contains(all, c) {
				t.Fatalf("object %d is there twice, or was never", c.ObjectID)
			}
			seen[c.ObjectID] = true
		}
		if len(plan.Inputs) == 1 || len(plan.Inputs) > MaxInputs {
			t.Fatalf("%d inputs", len(plan.Inputs))
		}
		if !slices.IsSortedFunc(plan.Inputs, func(a, b Candidate) int { return int(a.ObjectID - b.ObjectID) }) {
			t.Fatal("inputs are out of order")
		}
		bytes, segments := int64(0), int64(0)
		for _, c := range plan.Inputs {
			bytes, segments = bytes+c.SizeBytes, segments+int64(c.References)
			if c.SizeBytes/int64(c.References) >= longSegment {
				t.Fatalf("object %d has long segments", c.ObjectID)
			}
		}
		if len(plan.Inputs) > minDepth && bytes > config.jobBytes(level) {
			t.Fatalf("%d inputs of %d bytes", len(plan.Inputs), bytes)
		}
		if len(plan.Inputs) > 2 && segments > maxSegments {
			t.Fatalf("%d inputs of %d segments", len(plan.Inputs), segments)
		}
		if level == 0 && len(plan.Inputs) > 0 && plan.Inputs[0].Age < config.Patience {
			if i := slices.IndexFunc(plan.Inputs, func(c Candidate) bool { return c.kind(0) != plan.Inputs[0].kind(0) }); i >= 0 {
				t.Fatalf("object %d is another writer's, and nobody has waited for long", plan.Inputs[i].ObjectID)
			}
			return
		}
		if level == 0 {
			return
		}
		var common Place
		for _, c := range plan.Inputs {
			common = max(common, c.First)
		}
		for _, c := range plan.Inputs {
			if !c.holds(common) {
				t.Fatalf("object %d does not hold what the others hold", c.ObjectID)
			}
		}
	})
}

func TestDeepestPlaceAgainstEveryPlace(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		all := drawCandidates(t)
		most := 0
		for n := range int32(50) {
			depth := 0
			for _, c := range all {
				if c.holds(PlaceOf(uuid.UUID{}, n)) {
					depth++
				}
			}
			most = max(most, depth)
		}
		if got := len(deepest(all)); got != most {
			t.Fatalf("%d deep, want %d", got, most)
		}
	})
}

// Planning and committing come to an end, no object is an input twice, and no byte is written more often than Levels allows.
func TestCompactionEnds(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	at := map[int]([]Candidate){}
	next, inputs := int64(0), map[int64]bool{}
	ingested, written := int64(0), int64(0)
	for tick := range 400 {
		for range 20 {
			next++
			size := random.Int64N(8<<20) + 1
			ingested += size
			at[0] = append(at[0], Candidate{ObjectID: next, SizeBytes: size, References: 1000})
		}
		ended := tick >= 300
		for level := range Levels {
			for round := 0; ; round++ {
				for i := range at[level] {
					at[level][i].Age = time.Minute
					if ended {
						at[level][i].Age = 48 * time.Hour
					}
				}
				plan := Choose(level, at[level][:min(Page, len(at[level]))], config)
				if len(plan.Inputs)+len(plan.Leave) == 0 {
					break
				}
				if round > 1000 {
					t.Fatal("no end")
				}
				gone := map[int64]bool{}
				bytes := int64(0)
				for _, c := range slices.Concat(plan.Inputs, plan.Leave) {
					gone[c.ObjectID] = true
				}
				for _, c := range plan.Inputs {
					if inputs[c.ObjectID] {
						t.Fatalf("object %d was compacted twice", c.ObjectID)
					}
					inputs[c.ObjectID] = true
					bytes += c.SizeBytes
				}
				written += bytes
				at[level] = slices.DeleteFunc(at[level], func(c Candidate) bool { return gone[c.ObjectID] })
				for part := int32(0); bytes > 0; part++ {
					next++
					size := min(bytes, config.TargetBytes)
					bytes -= size
					at[level+1] = append(at[level+1], Candidate{
						ObjectID: next, SizeBytes: size, References: 600,
						First: PlaceOf(uuid.UUID{}, part*100), Last: PlaceOf(uuid.UUID{}, part*100+99),
					})
				}
			}
		}
	}
	if len(at[0]) >= 2*MaxInputs || len(at[1]) > Page {
		t.Errorf("%d objects of level 0 and %d of level 1 are left", len(at[0]), len(at[1]))
	}
	if written > Levels*ingested {
		t.Errorf("%d bytes were written for %d", written, ingested)
	}
	t.Logf("%.2f bytes rewritten for each; %d, %d, %d objects left", float64(written)/float64(ingested), len(at[0]), len(at[1]), len(at[2]))
}

func TestP2_ReplacesOnlyTheSameOffsetsAndBytes(t *testing.T) {
	t.Parallel()
	rows := []Segment{
		{ObjectID: 1, BaseOffset: 10, RecordCount: 5, SizeBytes: 4, CRC32C: sum("abcd"), Epoch: 3, MaxTimestampMs: 7},
		{ObjectID: 2, BaseOffset: 15, RecordCount: 1, SizeBytes: 3, CRC32C: sum("efg"), Epoch: 3, MaxTimestampMs: 5},
	}
	good := Segment{ObjectID: 9, BaseOffset: 10, RecordCount: 6, SizeBytes: 7, CRC32C: sum("abcdefg"), Epoch: 3, MaxTimestampMs: 7}
	if !Replaces(good, rows) {
		t.Fatal("the copy of two segments was refused")
	}
	for name, change := range map[string]func(with *Segment, rows []Segment) []Segment{
		"no rows":             func(_ *Segment, _ []Segment) []Segment { return nil },
		"the first is gone":   func(_ *Segment, r []Segment) []Segment { return r[1:] },
		"the last is gone":    func(_ *Segment, r []Segment) []Segment { return r[:1] },
		"other bytes":         func(w *Segment, r []Segment) []Segment { w.CRC32C ^= 1; return r },
		"another input":       func(_ *Segment, r []Segment) []Segment { r[1].CRC32C ^= 1; return r },
		"another size":        func(w *Segment, r []Segment) []Segment { w.SizeBytes++; return r },
		"another epoch":       func(_ *Segment, r []Segment) []Segment { r[1].Epoch++; return r },
		"more offsets":        func(w *Segment, r []Segment) []Segment { w.RecordCount++; return r },
		"a gap":               func(w *Segment, r []Segment) []Segment { r[1].BaseOffset++; w.RecordCount++; return r },
		"another timestamp":   func(w *Segment, r []Segment) []Segment { w.MaxTimestampMs++; return r },
		"it is there already": func(w *Segment, r []Segment) []Segment { r[1].ObjectID = w.ObjectID; return r },
		"it begins later":     func(w *Segment, r []Segment) []Segment { w.BaseOffset++; w.RecordCount--; return r },
		"it begins inside":    func(w *Segment, r []Segment) []Segment { w.BaseOffset = 12; w.RecordCount = 4; return r[1:] },
	} {
		with := good
		found := change(&with, slices.Clone(rows))
		if Replaces(with, found) {
			t.Errorf("%s: accepted", name)
		}
	}
}
