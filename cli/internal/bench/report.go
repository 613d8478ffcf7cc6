package bench

import (
	"context"
	"time"

	"github.com/streamhouse/streamhouse/cli/internal/cputime"
	"github.com/streamhouse/streamhouse/cli/internal/histogram"
)

// Report is what was measured. Its JSON form is stable: a release may add fields.
type Report struct {
	Bench  string    `json:"bench"` // produce, consume, latency, controlplane
	At     time.Time `json:"at"`
	Config any       `json:"config"`
	// Seconds that were measured, by the wall clock, and what was done in them; ValueBytes are of records' values alone.
	Seconds          float64 `json:"seconds"`
	Records          int64   `json:"records"`
	ValueBytes       int64   `json:"value_bytes"`
	RecordsPerSecond float64 `json:"records_per_second"`
	ValueMiBPerSec   float64 `json:"value_mib_per_second"`
	// StoredMiBPerSec is after compression, by the ratio that the same values have in batches of that size.
	StoredMiBPerSec float64 `json:"stored_mib_per_second,omitempty"`
	StoredRatio     float64 `json:"value_to_stored,omitempty"`
	// Objects that were stored meanwhile, where the bucket is a dev's.
	Objects *Objects `json:"objects,omitempty"`
	Retries int64    `json:"retries"`
	Errors  int64    `json:"errors"`
	// Latency of acknowledgements; from when a record was meant to be sent (with a rate), else from when it was handed over.
	Latency *histogram.Distribution `json:"latency,omitempty"`
	// Delivery is from when a record was meant to be sent until a consumer had it.
	Delivery *Delivery `json:"delivery,omitempty"`
	// Transactions, of bench controlplane.
	Transactions []Transaction `json:"transactions,omitempty"`
	Verified     *Verified     `json:"verified,omitempty"`
	CPU          CPU           `json:"cpu"`
	// Limits that were measured in the same run, and what was measured in relation to them.
	Limits *Limits  `json:"limits,omitempty"`
	Ratios []Ratio  `json:"ratios"`
	Notes  []string `json:"notes"`
}

// CPU time by process.
type CPU struct {
	CoresUsed float64   `json:"cores_used"`
	Processes []Process `json:"processes"`
}

// Process is one, or several of a kind.
type Process struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
	// PerGiB is CPU seconds per GiB of record values; 0: there were none.
	PerGiB float64 `json:"seconds_per_gib"`
}

// Ratio is what was measured divided by its limit, or, where Unit is "ms", the difference.
type Ratio struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"` // "": a ratio
	// Aim in words; empty: there is none.
	Aim string `json:"aim"`
}

const (
	mib = 1 << 20
	gib = 1 << 30
)

func newReport(bench string, config any, seconds float64, records int64, valueBytes int64) Report {
	r := Report{
		Bench: bench, At: time.Now().UTC().Truncate(time.Second), Config: config, Seconds: seconds, Records: records, ValueBytes: valueBytes,
		Ratios: []Ratio{}, Notes: []string{},
	}
	if seconds > 0 {
		r.RecordsPerSecond = float64(records) / seconds
		r.ValueMiBPerSec = float64(valueBytes) / mib / seconds
	}
	return r
}

func (r *Report) note(text string) {
	if text != "" {
		r.Notes = append(r.Notes, text)
	}
}

func (r *Report) ratio(name string, value float64, unit, aim string) {
	r.Ratios = append(r.Ratios, Ratio{Name: name, Value: value, Unit: unit, Aim: aim})
}

func (r *Report) cpu(usage []cputime.Usage) {
	r.CPU.Processes = []Process{}
	for _, u := range usage {
		p := Process{Name: u.Name, Seconds: u.Time.Seconds()}
		if r.ValueBytes > 0 {
			p.PerGiB = p.Seconds / (float64(r.ValueBytes) / gib)
		}
		if r.Seconds > 0 {
			r.CPU.CoresUsed += p.Seconds / r.Seconds
		}
		r.CPU.Processes = append(r.CPU.Processes, p)
	}
}

// perGiB of a process, and whether it is known.
func (r *Report) perGiB(name string) (float64, bool) {
	for _, p := range r.CPU.Processes {
		if p.Name == name {
			return p.PerGiB, true
		}
	}
	return 0, false
}

// wholePerGiB is that of all processes.
func (r *Report) wholePerGiB() float64 {
	var sum float64
	for _, p := range r.CPU.Processes {
		sum += p.PerGiB
	}
	return sum
}

func produceReport(c ProduceConfig, found produced, t *tally, values *payload, sending traffic) Report {
	r := newReport("produce", c, found.seconds, found.records, found.records*int64(c.RecordBytes))
	if batch, records, err := values.batch(c.BatchBytes, c.Keyed); err == nil {
		r.StoredRatio = float64(records*c.RecordBytes) / float64(len(batch))
		r.StoredMiBPerSec = r.ValueMiBPerSec / r.StoredRatio
	}
	r.Objects = found.objects
	r.Retries, r.Errors = sending.retries(), t.failed.Load()
	latency := t.latency.Distribution()
	r.Latency = &latency
	r.cpu(found.usage)
	r.note(found.note)
	return r
}

// Objects of a busy agent, and how many entries a commit of one has: one a partition.
const (
	objectBytes   = 8 << 20
	objectUploads = 4
)

// addLimits measures the parts alone, and puts what was measured in relation to them.
func (r *Report) addLimits(ctx context.Context, target Target, c ProduceConfig, values *payload) {
	r.Limits = &Limits{}
	var err error
	target.Say("measuring the parts in this process")
	r.Limits.Parts, err = measureParts(ctx, target.LimitTime, values, c.BatchBytes, c.Keyed)
	r.fault(err)
	r.Limits.Put, r.Limits.Get, err = target.storeLimit(ctx, objectBytes, objectUploads)
	r.fault(err)
	r.Limits.Commit, err = target.commitLimit(ctx, min(c.Topics*c.Partitions, 1000), 1)
	r.fault(err)
	r.produceRatios(c)
}

func (r *Report) fault(err error) {
	if err != nil {
		r.note(err.Error())
	}
}

func (r *Report) produceRatios(c ProduceConfig) {
	l := r.Limits
	if l.Put != nil && r.StoredMiBPerSec > 0 {
		aim := ""
		if c.Batch == BatchPrebuilt {
			aim = ">= 0.9 with MD5 in the S3 server, >= 0.35 without"
		}
		r.ratio("stored bytes/s ÷ PutObject alone", r.StoredMiBPerSec/l.Put.MiBPerSec, "", aim)
	}
	if parts, ok := r.partsPerGiB(c); ok && r.wholePerGiB() > 0 && len(r.CPU.Processes) > 1 {
		r.ratio("CPU of the parts alone ÷ CPU of the whole path", parts/r.wholePerGiB(), "", ">= 0.75 (1 KiB JSON, one SDK producer)")
	}
}

// partsPerGiB is the sum of what the parts alone need for a GiB of values: what the SDK does with them, the way to the agent, the check
// there, the upload and what the bucket does with it, and the commits of full objects.
func (r *Report) partsPerGiB(c ProduceConfig) (float64, bool) {
	l := r.Limits
	if l.Parts == nil || l.Put == nil || l.Put.ServerPerGiB == nil || r.StoredRatio == 0 {
		return 0, false
	}
	sum := l.Parts.Carry + l.Parts.Verify + (l.Put.ClientPerGiB+*l.Put.ServerPerGiB)/r.StoredRatio
	if c.Batch == BatchSDK {
		sum += l.Parts.Build
	}
	if l.Commit != nil && l.Commit.Store.PostgresMicros != nil {
		entries := gib / r.StoredRatio / objectBytes * float64(l.Commit.Entries)
		sum += entries * (*l.Commit.Store.PostgresMicros + l.Commit.Store.ClientMicros) / 1e6
	}
	return sum, true
}
