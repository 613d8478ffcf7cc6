package cost

import (
	"math"
	"strings"
	"testing"
	"time"
)

// ordinary is a load that nothing is special about.
func ordinary() Load {
	return Load{
		WriteBytesPerSecond: 10e6, Compression: 2.4, Retention: 7 * 24 * time.Hour, Zones: 3, AgentsPerZone: 1, Consumers: 1, Partitions: 30,
		PutsPerSecond: 4, Linger: 250 * time.Millisecond, ObjectBytes: 8 << 20,
	}
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 0.005*math.Abs(want)+1e-9 {
		t.Errorf("%s is %v, not %v", what, got, want)
	}
}

// The numbers of this table can be checked by hand.
func TestRequests(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change     func(*Load)
		puts, gets float64
	}{
		"the budget decides":              {func(*Load) {}, 12, 24},
		"half the budget":                 {func(l *Load) { l.PutsPerSecond = 2 }, 6, 12},
		"nobody reads":                    {func(l *Load) { l.Consumers = 0 }, 12, 0},
		"ten read what one reads":         {func(l *Load) { l.Consumers = 10 }, 12, 24},
		"full objects need no budget":     {func(l *Load) { l.WriteBytesPerSecond = 2.4 * 3 * 80 * (8 << 20) }, 240, 480},
		"two agents a zone":               {func(l *Load) { l.AgentsPerZone = 2 }, 24, 60},
		"one zone, one agent: no GETs":    {func(l *Load) { l.Zones = 1 }, 4, 0},
		"small segments wait to grow":     {func(l *Load) { l.PutsPerSecond, l.Partitions = 100, 3000 }, 12, 24},
		"few segments do not":             {func(l *Load) { l.PutsPerSecond, l.Partitions = 100, 3 }, 300, 600},
		"a budget below the linger rules": {func(l *Load) { l.PutsPerSecond, l.Partitions = 1, 3000 }, 3, 6},
	} {
		l := ordinary()
		c.change(&l)
		r := l.Requests()
		near(t, name+": PUTs", r.PutsPerSecond, c.puts)
		near(t, name+": GETs", r.GetsPerSecond, c.gets)
	}
}

// Also by hand. One agent in each of three zones, each with 10 of 30 partitions, 12 objects a second.
func TestCompactionRequests(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change     func(*Load)
		puts, gets float64
	}{
		// Objects of 347,222 bytes, 73 of which are 24 MiB; joined they have segments of 2.5 MB. 4 parts and 2 requests.
		"small objects are read whole, once": {func(*Load) {}, 12.0 / 73 * 6, 12},
		"nothing is compacted":               {func(l *Load) { l.CompactionMinAge = 0 }, 0, 0},
		"everything goes before":             {func(l *Load) { l.Retention = 5 * time.Minute }, 0, 0},
		"segments are long already": {func(l *Load) {
			l.WriteBytesPerSecond = 2.4 * 12 * (8 << 20)
			l.ObjectBytes = 16 << 20
			l.Partitions = 3
		}, 0, 0},
		// 20 objects a second of 8 MiB: a footer and, of 64 MiB in two rounds, one GET in each. 10 segments of 839 KB, joined 2 MiB.
		"large objects in rounds": {func(l *Load) { l.WriteBytesPerSecond = 2.4 * 20 * (8 << 20) }, 20.0 / 8 * 10, 60},
		// Objects of 347,222 bytes with 1,000 segments; 73 of them make one of 25 MB with segments of 25 kB. 83 of these have enough for long segments; they make
		// 16 of 131 MB, each in 4 rounds and 16 parts.
		"rewritten twice": {func(l *Load) { l.Partitions = 3000 }, 12.0/73*6 + 12.0/73/83*16*18, 12 + 12.0/73*65},
	} {
		l := ordinary()
		l.CompactionMinAge = 5 * time.Minute
		c.change(&l)
		r := l.Requests()
		near(t, name+": PUTs", r.CompactionPutsPerSecond, c.puts)
		near(t, name+": GETs", r.CompactionGetsPerSecond, c.gets)
	}
}

func TestBillAddsUp(t *testing.T) {
	t.Parallel()
	l := ordinary()
	for name, b := range map[string]Bill{"StreamHouse": StreamHouse(l, List()), "Kafka": Kafka(l, List()), "WarpStream": WarpStream(l, List())} {
		sum := 0.0
		for _, line := range b.Lines {
			near(t, name+": "+line.Name, line.Dollars, line.Quantity*line.Price.Dollars)
			if line.Price.Source == "" || line.Price.Read == "" || line.Unit == "" {
				t.Errorf("%s: %s has no source or no date: %+v", name, line.Name, line.Price)
			}
			sum += line.Dollars
		}
		near(t, name, b.Dollars, sum)
	}
}

// Bills that were added up by hand: 12 PUTs a second for 2,628,000 seconds at 5 dollars a million, and so on.
func TestBillsByHand(t *testing.T) {
	t.Parallel()
	l, p := ordinary(), List()
	l.CompactionMinAge = 5 * time.Minute
	byHand(t, StreamHouse(l, p), map[string]float64{
		"PUTs of compaction": 12.96, "GETs of compaction": 12.61, "PUTs": 157.68, "GETs": 25.23, "stored": 53.98, "agents, cores": 177.30, "agents, memory": 38.94,
		"control plane, cores": 88.65, "control plane, memory": 19.47, "PostgreSQL, with its standby": 94.90, "PostgreSQL, disk": 23, "keyed records across zones": 0,
	})
	byHand(t, Kafka(l, p), map[string]float64{
		"brokers": 357.41, "disks": 804.66, "replication across zones": 407.92, "records to leaders in other zones": 135.97,
	})
	byHand(t, WarpStream(l, p), map[string]float64{
		"PUTs of compaction": 12.96, "GETs of compaction": 12.61, "fee for the cluster": 503.70, "fee for what is written": 244.75, "fee for what is stored": 56.33,
		"PUTs": 157.68, "GETs": 25.23, "stored": 53.98, "agents, cores": 177.30, "agents, memory": 38.94,
	})
}

func byHand(t *testing.T, b Bill, want map[string]float64) {
	t.Helper()
	if len(b.Lines) != len(want) {
		t.Errorf("%d lines, not %d", len(b.Lines), len(want))
	}
	for _, line := range b.Lines {
		dollars, known := want[line.Name]
		if !known {
			t.Errorf("nobody has added up %q", line.Name)
		}
		near(t, line.Name, line.Dollars, dollars)
	}
}

func TestKeysCostWhatCrossesZones(t *testing.T) {
	t.Parallel()
	l := ordinary()
	l.Keyed = 1
	without, with := StreamHouse(ordinary(), List()), StreamHouse(l, List())
	near(t, "keys", with.Dollars-without.Dollars, 10e6/2.4*2/3*2_628_000/(1<<30)*0.02)
}

func TestEveryFaultIsNamed(t *testing.T) {
	t.Parallel()
	err := Load{Keyed: 2, AgentsPerZone: -1, Consumers: -1, Linger: -1}.Validate()
	for _, name := range []string{
		"write-mb", "compression", "retention", "zones", "agents-per-zone", "consumers", "keyed", "partitions", "puts-per-second", "linger", "max-object-bytes",
	} {
		if err == nil || !strings.Contains(err.Error(), name+":") {
			t.Errorf("%s is not named: %v", name, err)
		}
	}
	if err := ordinary().Validate(); err != nil {
		t.Error(err)
	}
}
