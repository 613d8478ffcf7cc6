package cost

import (
	"math"
	"time"
)

// How compaction is done, as control planes and agents are set by default: packages compaction of the one, compact of the other. e2e/cost compares what
// comes of it with what agents count.
const (
	patience     = 12 // times its least age an object waits for others
	longPatience = 24 // times as long those wait that compaction has written
	mostWaiting  = 2000
	mostInputs   = 256
	fewestInputs = mostInputs / 4 // of one agent where more objects wait
	mostSegments = 150_000        // of the inputs of a job
	targetBytes  = 128 << 20
	jobBytes     = 6 * targetBytes // are enough for a job
	longSegment  = 1 << 20         // is left as it is
	joinedBytes  = 2 << 20         // a segment has at most
	smallBytes   = 4 << 20         // an object has at most that is read whole
	wholeBytes   = 24 << 20        // of a job are read so
	roundBytes   = 40 << 20        // are read at a time of other jobs
	spanBytes    = 4 << 20         // a GET brings at most
	partBytes    = 8 << 20
)

// inputs are objects that compaction rewrites.
type inputs struct {
	perSecond float64
	bytes     float64 // of one
	segments  float64 // in one
	atOnce    float64 // in a job
}

// addCompaction adds what agents ask of the bucket to make few large objects of the many small ones.
//
// A job takes objects of one agent as soon as there are enough of them, for an object and, if that can be, for segments so long that they need not be
// rewritten; or objects of all agents, where one has waited for long or too many wait. Small objects it reads whole, as far as memory goes. Of others it
// reads the footer and then a part in each round, but no segment twice. It writes objects in parts, with two requests around them, and those whose
// segments are short are rewritten once more.
func (l Load) addCompaction(r *Requests) {
	agents := float64(l.Zones * l.agentsPerZone())
	size := l.stored() / r.PutsPerSecond
	segment := size / l.partitionsEach()
	if l.CompactionMinAge <= 0 || l.Retention <= l.CompactionMinAge || segment >= longSegment {
		return
	}
	first := inputs{perSecond: r.PutsPerSecond, bytes: size, segments: l.partitionsEach()}
	room := math.Min(mostInputs, math.Min(jobBytes/size, mostSegments/first.segments))
	wanted := targetBytes / 2 / size
	if size <= smallBytes {
		wanted = wholeBytes / size
	}
	if joinedBytes/segment <= room {
		wanted = math.Max(wanted, joinedBytes/segment)
	}
	wanted = math.Min(room, wanted)
	there := math.Min(first.perSecond*l.waits(1).Seconds(), mostWaiting) // of all agents
	alike := 1.0
	switch {
	case there >= wanted*agents:
		first.atOnce = math.Ceil(wanted)
	case there >= mostWaiting && there >= fewestInputs*agents:
		first.atOnce = math.Ceil(there / agents)
	default:
		first.atOnce, alike = math.Ceil(math.Min(room, there)), 1/agents
	}
	first.atOnce = math.Max(2, first.atOnce)
	first.add(r)

	if segment = math.Min(joinedBytes, segment*math.Max(1, first.atOnce*alike)); segment >= longSegment {
		return
	}
	second := inputs{perSecond: first.perSecond / first.atOnce * first.outputs(), bytes: first.outputBytes()}
	second.segments = math.Max(1, second.bytes/segment)
	room = math.Min(mostInputs, math.Min(8*jobBytes/second.bytes, mostSegments/second.segments))
	wanted = math.Min(room, math.Max(targetBytes/second.bytes, joinedBytes/segment))
	second.atOnce = math.Max(2, math.Ceil(math.Min(wanted, second.perSecond*l.waits(longPatience).Seconds())))
	second.add(r)
}

// partitionsEach is how many partitions an agent leads, each of which has a segment in an object.
func (l Load) partitionsEach() float64 {
	return math.Max(1, float64(l.Partitions)/float64(l.Zones*l.agentsPerZone()))
}

// waits is how long a job's oldest object may be compacted already and is not.
func (l Load) waits(times float64) time.Duration {
	return time.Duration((patience*times - 1) * float64(l.CompactionMinAge))
}

// outputs of a job, of whole target size but the last.
func (i inputs) outputs() float64     { return math.Ceil(i.atOnce * i.bytes / targetBytes) }
func (i inputs) outputBytes() float64 { return i.atOnce * i.bytes / i.outputs() }

func (i inputs) add(r *Requests) {
	rounds := math.Min(i.segments, i.outputs()*math.Ceil(i.outputBytes()/roundBytes))
	gets := 1 + rounds*math.Ceil(i.bytes/rounds/spanBytes)
	if i.bytes <= smallBytes {
		whole := math.Min(1, math.Ceil(wholeBytes/i.bytes)/i.atOnce)
		gets = whole + (1-whole)*gets
	}
	puts := i.outputs()
	if i.outputBytes() > partBytes {
		puts *= math.Ceil(i.outputBytes()/partBytes) + 2
	}
	r.CompactionGetsPerSecond += i.perSecond * gets
	r.CompactionPutsPerSecond += i.perSecond / i.atOnce * puts
}
