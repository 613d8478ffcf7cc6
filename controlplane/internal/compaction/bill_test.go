package compaction

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
)

// An agent's copying, as far as its requests depend on what is planned: rounds, spans, parts (packages compact and object of the agent).
const (
	roundBytes, spanBytes, gapBytes = 40 << 20, 4 << 20, 64 << 10
	footerBytes, partBytes          = 64 << 10, 8 << 20
)

// piece is a segment in the model: flushes [from, to) of a partition.
type piece struct {
	partition, from, to int
	position, bytes     int64
}

type model struct {
	objects    map[int64][]piece
	candidates [Levels + 1][]Candidate
	next       int64

	whole map[int64]bool // inputs of the job that are in memory

	ingested, rewritten, gets, puts int64
}

func (m *model) store(level int, key string, pieces []piece) {
	m.next++
	size := int64(0)
	for i := range pieces {
		pieces[i].position = size
		size += pieces[i].bytes
	}
	m.objects[m.next] = pieces
	m.candidates[level] = append(m.candidates[level], Candidate{
		ObjectID: m.next, Key: fmt.Sprintf("%s/%d", key, m.next), SizeBytes: size, References: int32(len(pieces)),
		First: PlaceOf(uuid.UUID{}, int32(pieces[0].partition)), Last: PlaceOf(uuid.UUID{}, int32(pieces[len(pieces)-1].partition)),
	})
}

type copied struct {
	piece
	input int64
}

// run does a job.
func (m *model) run(level int, inputs []Candidate) {
	var all []copied
	m.whole = map[int64]bool{}
	left := int64(24 << 20)
	for _, c := range inputs {
		if c.SizeBytes <= min(left, smallBytes) {
			m.whole[c.ObjectID] = true
			left -= c.SizeBytes
		}
		m.rewritten += c.SizeBytes
		m.gets++
		for _, p := range m.objects[c.ObjectID] {
			all = append(all, copied{p, c.ObjectID})
		}
		delete(m.objects, c.ObjectID)
	}
	slices.SortFunc(all, func(a, b copied) int {
		return cmp.Or(cmp.Compare(a.partition, b.partition), cmp.Compare(a.from, b.from))
	})
	for len(all) > 0 {
		n, size := 0, int64(0)
		var pieces []piece
		for n < len(all) && size < config.TargetBytes {
			p := all[n].piece
			for n++; n < len(all) && all[n].partition == p.partition && all[n].from == p.to && p.bytes+all[n].bytes <= joinedBytes; n++ {
				p.to, p.bytes = all[n].to, p.bytes+all[n].bytes
			}
			size += p.bytes
			pieces = append(pieces, p)
		}
		m.read(all[:n])
		m.puts += (size+partBytes-1)/partBytes + 2
		m.store(level+1, fmt.Sprintf("job/%d", m.next), pieces)
		all = all[n:]
	}
}

// round is what memory has left beside inputs that are kept.
func (m *model) round() int64 {
	if len(m.whole) > 0 {
		return 16 << 20
	}
	return roundBytes
}

// read counts GETs: in each round neighbours in an object come with one.
func (m *model) read(all []copied) {
	for len(all) > 0 {
		n, size := 0, int64(0)
		for n < len(all) && (n == 0 || size+all[n].bytes <= m.round()) {
			size += all[n].bytes
			n++
		}
		round := slices.Clone(all[:n])
		slices.SortFunc(round, func(a, b copied) int {
			return cmp.Or(cmp.Compare(a.input, b.input), cmp.Compare(a.position, b.position))
		})
		for i := 0; i < len(round); {
			begin, end := round[i].position, int64(0)
			input := round[i].input
			for ; i < len(round) && round[i].input == input && (end == 0 || round[i].position-end <= gapBytes) && round[i].position+round[i].bytes-begin <= max(spanBytes, round[i].bytes); i++ {
				end = round[i].position + round[i].bytes
			}
			if !m.whole[input] {
				m.gets++
			}
		}
		all = all[n:]
	}
}

// compact does what is due.
func (m *model) compact(now map[int64]time.Duration, clock time.Duration) {
	for level := range Levels {
		for {
			for i, c := range m.candidates[level] {
				if _, known := now[c.ObjectID]; !known {
					now[c.ObjectID] = clock
				}
				m.candidates[level][i].Age = clock - now[c.ObjectID] + 5*time.Minute
			}
			plan := Choose(level, m.candidates[level][:min(Page, len(m.candidates[level]))], config)
			if len(plan.Inputs)+len(plan.Leave) == 0 {
				break
			}
			gone := map[int64]bool{}
			for _, c := range slices.Concat(plan.Inputs, plan.Leave) {
				gone[c.ObjectID] = true
			}
			m.candidates[level] = slices.DeleteFunc(m.candidates[level], func(c Candidate) bool { return gone[c.ObjectID] })
			if len(plan.Inputs) > 0 {
				m.run(level, plan.Inputs)
			}
		}
	}
}

// What compaction asks of the bucket for a GiB, and how long segments become, in clusters of several agents whose objects come in turn. The bounds are a
// fifth above what the model came to when they were written; taking objects as they come, whoever wrote them, it is beyond all of the first four.
func TestCompactionsBill(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		agents, partitions int
		objectBytes        int64
		puts               float64 // of an agent a second
		flushes            int

		rewritten, dollars float64 // at most: bytes for each that came, and dollars a TiB
		segmentKiB         int64   // at least, in the end
	}{
		{agents: 6, partitions: 30, objectBytes: 174 << 10, puts: 4, flushes: 4000, rewritten: 1, dollars: 4.6, segmentKiB: 1400},
		{agents: 6, partitions: 30, objectBytes: 1740 << 10, puts: 4, flushes: 1500, rewritten: 1, dollars: 1.9, segmentKiB: 1500},
		{agents: 6, partitions: 3000, objectBytes: 1740 << 10, puts: 4, flushes: 600, rewritten: 2, dollars: 3.4, segmentKiB: 850},
		{agents: 12, partitions: 3000, objectBytes: 8 << 20, puts: 4, flushes: 600, rewritten: 1.5, dollars: 2.3, segmentKiB: 800},
		{agents: 6, partitions: 600, objectBytes: 30 << 10, puts: 4, flushes: 3000, rewritten: 2, dollars: 23, segmentKiB: 700},
	} {
		t.Run(fmt.Sprintf("%d agents, %d partitions, %d KiB", c.agents, c.partitions, c.objectBytes>>10), func(t *testing.T) {
			t.Parallel()
			m := &model{objects: map[int64][]piece{}}
			seen := map[int64]time.Duration{}
			clock := time.Duration(0)
			each := c.partitions / c.agents
			for flush := range c.flushes {
				clock += time.Duration(float64(time.Second) / c.puts)
				for agent := range c.agents {
					var pieces []piece
					for i := range each {
						pieces = append(pieces, piece{partition: i*c.agents + agent, from: flush, to: flush + 1, bytes: c.objectBytes / int64(each)})
					}
					m.store(0, fmt.Sprintf("g/1/%d", agent), pieces)
					m.ingested += c.objectBytes
				}
				if flush%20 == 0 {
					m.compact(seen, clock)
				}
			}
			left := 0
			for level := range Levels {
				left += len(m.candidates[level])
			}
			for range 30 { // what is left waits as long as anything does
				clock += time.Hour
				m.compact(seen, clock)
			}
			segments := 0
			for _, pieces := range m.objects {
				segments += len(pieces)
			}
			gib := float64(m.ingested) / (1 << 30)
			dollars := 1024 * (float64(m.gets)*0.4e-6 + float64(m.puts)*5e-6) / gib
			t.Logf("%.1f GiB: %.2f bytes rewritten for each, %.0f GETs and %.0f PUTs a GiB, $%.2f a TiB; segments of %d KiB in the end, %d objects were waiting",
				gib, float64(m.rewritten)/float64(m.ingested), float64(m.gets)/gib, float64(m.puts)/gib, dollars, m.ingested/int64(segments)>>10, left)
			if rewritten := float64(m.rewritten) / float64(m.ingested); rewritten > c.rewritten+0.01 {
				t.Errorf("%.2f bytes were rewritten for each", rewritten)
			}
			if dollars > c.dollars {
				t.Errorf("$%.2f a TiB", dollars)
			}
			if length := m.ingested / int64(segments) >> 10; length < c.segmentKiB {
				t.Errorf("segments are %d KiB long", length)
			}
		})
	}
}
