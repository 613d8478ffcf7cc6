package failover

import (
	"fmt"
	"strings"
	"time"
)

// Round is one hit.
type Round struct {
	Agent      string    `json:"agent"`
	At         time.Time `json:"at"`
	Partitions int       `json:"partitions"`
	// Acknowledged and Failed are probes.
	Acknowledged int64     `json:"acknowledged"`
	Failed       int64     `json:"failed"`
	NoLeader     Quantiles `json:"no_leader"`
	FirstAck     Quantiles `json:"first_ack"`
	LongestWait  Quantiles `json:"longest_wait"`
	LongestGap   Quantiles `json:"longest_gap"`

	noLeader, firstAck, longestWait, longestGap []time.Duration
}

// Report is what was measured: a sample for each hit and partition of the agent that was hit. Its JSON form is stable.
type Report struct {
	Signal     Signal  `json:"signal"`
	Agents     int     `json:"agents"`
	Partitions int     `json:"partitions"`
	EveryMS    float64 `json:"probe_every_ms"`
	// NoLeader is from the hit until another agent says that it leads the partition, and accepts; each is asked every 20 ms. FirstAck is from
	// the hit until a probe is durably acknowledged by the new leader. LongestWait and LongestGap are what a client saw: the longest that
	// one record waited for its durable acknowledgement, and the longest time between two of them, around the hit. The gap has in it the
	// time between two probes.
	NoLeader    Spread  `json:"no_leader"`
	FirstAck    Spread  `json:"first_ack"`
	LongestWait Spread  `json:"longest_wait"`
	LongestGap  Spread  `json:"longest_gap"`
	Rounds      []Round `json:"rounds"`
}

func newReport(c Config) Report {
	return Report{Signal: c.Signal, Partitions: c.Partitions, EveryMS: millis(c.Every), Rounds: []Round{}}
}

// finished has the distributions over all rounds.
func (r Report) finished() Report {
	var noLeader, firstAck, longestWait, longestGap []time.Duration
	for _, round := range r.Rounds {
		noLeader = append(noLeader, round.noLeader...)
		firstAck = append(firstAck, round.firstAck...)
		longestWait = append(longestWait, round.longestWait...)
		longestGap = append(longestGap, round.longestGap...)
	}
	r.NoLeader, r.FirstAck, r.LongestWait, r.LongestGap = spread(noLeader), spread(firstAck), spread(longestWait), spread(longestGap)
	return r
}

// barWidth is that of the longest bar.
const barWidth = 50

// Text is the report for people.
func (r Report) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d hits (%s), %d agents, %d partitions, a probe every %v ms to each partition that the victim led\n",
		len(r.Rounds), r.Signal, r.Agents, r.Partitions, r.EveryMS)
	for _, s := range []struct {
		title  string
		spread Spread
	}{
		{"no leader that accepts", r.NoLeader},
		{"hit to first durable acknowledgement", r.FirstAck},
		{"longest wait of a record for its acknowledgement, around the hit", r.LongestWait},
		{"longest gap between acknowledgements that a client saw", r.LongestGap},
	} {
		s.spread.write(&b, s.title)
	}
	return b.String()
}

func (s Spread) write(b *strings.Builder, title string) {
	fmt.Fprintf(b, "\n%s: p50 %.0f ms, p90 %.0f ms, p99 %.0f ms, max %.0f ms (%d samples)\n", title, s.P50, s.P90, s.P99, s.Max, s.Samples)
	most := 1
	for _, bucket := range s.Buckets {
		most = max(most, bucket.Count)
	}
	for _, bucket := range s.Buckets {
		bound := fmt.Sprintf("<= %v ms", bucket.UpTo)
		if bucket.UpTo == 0 {
			bound = "more"
		}
		fmt.Fprintf(b, "%12s %6d %s\n", bound, bucket.Count, strings.Repeat("#", (bucket.Count*barWidth+most-1)/most))
	}
}
