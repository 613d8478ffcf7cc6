package failover

import (
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestQuantiles(t *testing.T) {
	t.Parallel()
	var hundred []time.Duration
	for i := 100; i > 0; i-- {
		hundred = append(hundred, time.Duration(i)*time.Millisecond)
	}
	for name, c := range map[string]struct {
		samples []time.Duration
		want    Quantiles
	}{
		"none":    {nil, Quantiles{}},
		"one":     {hundred[:1], Quantiles{1, 100, 100, 100, 100}},
		"two":     {hundred[:2], Quantiles{2, 99, 100, 100, 100}},
		"hundred": {hundred, Quantiles{100, 50, 90, 99, 100}},
	} {
		if got := quantiles(c.samples); got != c.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	r := newReport(Config{Signal: Kill, Partitions: 3, Every: 200 * time.Millisecond})
	r.Agents = 3
	samples := []time.Duration{50 * time.Millisecond, 51 * time.Millisecond, 90 * time.Millisecond, time.Minute}
	r.Rounds = []Round{
		{Agent: "a", noLeader: samples[:1], firstAck: samples[1:3], longestWait: samples[2:], longestGap: samples[3:]},
		{Agent: "b", noLeader: samples[1:2]},
	}
	want := `2 hits (kill), 3 agents, 3 partitions, a probe every 200 ms to each partition that the victim led

no leader that accepts: p50 50 ms, p90 51 ms, p99 51 ms, max 51 ms (2 samples)
    <= 50 ms      1 ##################################################
   <= 100 ms      1 ##################################################

hit to first durable acknowledgement: p50 51 ms, p90 90 ms, p99 90 ms, max 90 ms (2 samples)
   <= 100 ms      2 ##################################################

longest wait of a record for its acknowledgement, around the hit: p50 90 ms, p90 60000 ms, p99 60000 ms, max 60000 ms (2 samples)
   <= 100 ms      1 ##################################################
        more      1 ##################################################

longest gap between acknowledgements that a client saw: p50 60000 ms, p90 60000 ms, p99 60000 ms, max 60000 ms (1 samples)
        more      1 ##################################################
`
	if got := r.finished().Text(); got != want {
		t.Errorf("got\n%s", got)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	good := Config{Partitions: 1000, Kills: 20, Signal: Kill, Every: 200 * time.Millisecond}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*Config){
		"no partitions":   func(c *Config) { c.Partitions = 0 },
		"too many":        func(c *Config) { c.Partitions = maxPartitions + 1 },
		"no kills":        func(c *Config) { c.Kills = 0 },
		"unknown signal":  func(c *Config) { c.Signal = "hup" },
		"too fast probes": func(c *Config) { c.Every = time.Millisecond },
	} {
		c := good
		spoil(&c)
		if err := c.Validate(); err == nil {
			t.Errorf("%s accepted", name)
		}
	}
}

// What the old leader still had on its way is no proof of a new one; the gap that it ends began before the hit.
func TestProbes(t *testing.T) {
	t.Parallel()
	p := newProbes(nil, "t", []int32{4, 7}, time.Second)
	four, seven := p.parts[0], p.parts[1]
	began := time.Now()
	p.acknowledged(four, began, nil)
	if p.flowing() {
		t.Error("one acknowledgement of one partition")
	}
	at := p.mark()
	four.last = at.Add(-time.Second)
	p.acknowledged(four, at.Add(-time.Second), nil)
	if four.first != 0 || four.gap < time.Second || four.wait < time.Second {
		t.Errorf("right after the hit: %+v", four)
	}
	p.hit = at.Add(-time.Minute) // it was a minute ago
	p.acknowledged(four, time.Now(), nil)
	if four.first < time.Minute || p.recovered() {
		t.Errorf("a minute after the hit: %+v", four)
	}
	seven.last = at
	p.acknowledged(seven, at, nil)
	if !p.recovered() {
		t.Error("both have acknowledged")
	}
	if p.led(map[int32]bool{4: true, 5: true}) || !p.led(map[int32]bool{7: true}) || four.led < time.Minute {
		t.Errorf("led %v and %v after the hit", four.led, seven.led)
	}
	p.acknowledged(four, at, errors.New("lost"))
	if p.failure() == nil || p.round("a", at).Failed != 1 {
		t.Error("a probe that failed is not told")
	}
}
