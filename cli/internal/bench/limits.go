package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/streamhouse/streamhouse/cli/internal/cputime"
)

// Limits is what the parts can do alone, on the same machine and in the same run.
type Limits struct {
	// Put and Get are of whole objects, by the agents' own S3 client; nil: not measured.
	Put *Store `json:"put,omitempty"`
	Get *Store `json:"get,omitempty"`
	// Commit is of one PostgreSQL transaction, by the control plane's own code and beside it a bare one.
	Commit *CommitLimit `json:"commit,omitempty"`
	// CommitPlain is of entries without producers.
	CommitPlain *CommitLimit `json:"commit_plain,omitempty"`
	// Codec and transport, measured in this process with the values that were sent.
	Parts *Parts `json:"parts,omitempty"`
}

// Store is what PutObject or GetObject can do.
type Store struct {
	ObjectBytes int64   `json:"object_bytes"`
	Concurrency int     `json:"concurrency"`
	MiBPerSec   float64 `json:"mib_per_second"`
	P50         float64 `json:"p50_ms"`
	P99         float64 `json:"p99_ms"`
	// CPU seconds per GiB of object: of the client, and of the S3 server where it is a dev's.
	ClientPerGiB float64  `json:"client_cpu_seconds_per_gib"`
	ServerPerGiB *float64 `json:"server_cpu_seconds_per_gib"`
}

// CommitLimit is what bench-commit of the control plane's program says.
type CommitLimit struct {
	Entries   int           `json:"entries"`
	Producers int           `json:"producers"`
	Raw       CommitMeasure `json:"raw"`
	Store     CommitMeasure `json:"store"`
}

// CommitMeasure of the bare transaction, or of ours.
type CommitMeasure struct {
	P50              float64  `json:"p50_ms"`
	P99              float64  `json:"p99_ms"`
	EntriesPerSecond float64  `json:"entries_per_second"`
	WALBytesPerEntry float64  `json:"wal_bytes_per_entry"`
	PostgresMicros   *float64 `json:"postgres_cpu_us_per_entry"`
	ClientMicros     float64  `json:"client_cpu_us_per_entry"`
}

// Programs that measure.
const (
	agentProgram        = "streamhouse-agent"
	controlPlaneProgram = "streamhouse-controlplane"

	limitGrace = 60 * time.Second // on top of the time that is measured
)

// errNoLimit says why a limit is not known.
var errNoLimit = errors.New("not measured")

// ask runs a program's measurement and reads the JSON object that it prints. Secrets go by the environment.
func (t Target) ask(ctx context.Context, into any, env []string, program string, args ...string) error {
	path := filepath.Join(t.Bin, program)
	if t.Bin == "" || t.Dev == nil {
		return fmt.Errorf("%w: %s %s needs the addresses of a dev on this machine", errNoLimit, program, args[0])
	}
	if _, err := os.Stat(path); err != nil {
		if path, err = exec.LookPath(program); err != nil {
			return fmt.Errorf("%w: there is no %s in %s, nor in PATH", errNoLimit, program, t.Bin)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 3*t.LimitTime+limitGrace)
	defer cancel()
	command := exec.CommandContext(ctx, path, args...)
	command.Env = append(foreignEnvironment(), env...)
	var out, complaints bytes.Buffer
	command.Stdout, command.Stderr = &out, &complaints
	if err := command.Run(); err != nil {
		line, _, _ := strings.Cut(strings.TrimSpace(complaints.String()), "\n")
		return fmt.Errorf("%w: %s %s: %w: %s", errNoLimit, program, args[0], err, line)
	}
	if err := json.Unmarshal(out.Bytes(), into); err != nil {
		return fmt.Errorf("%w: %s %s printed no JSON: %w", errNoLimit, program, args[0], err)
	}
	return nil
}

// foreignEnvironment is this process's, less what is meant for programs of this project.
func foreignEnvironment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "STREAMHOUSE_") })
}

// commitLimit measures commits of that shape in a scratch database on the same server.
func (t Target) commitLimit(ctx context.Context, entries, producers int) (*CommitLimit, error) {
	var found CommitLimit
	var env []string
	if t.Dev != nil {
		env = []string{"STREAMHOUSE_DATABASE_URL=" + t.Dev.Postgres.URL}
	}
	t.Say("measuring commits of %d entries by themselves", entries)
	err := t.ask(ctx, &found, env, controlPlaneProgram,
		"bench-commit", "--entries", fmt.Sprint(entries), "--producers", fmt.Sprint(producers),
		"--duration", t.LimitTime.String(), "--every", t.Every.String(), "-o", "json")
	if err != nil {
		return nil, err
	}
	return &found, nil
}

// storeAnswer is what bench-store of the agent's program says.
type storeAnswer struct {
	ObjectBytes int64       `json:"object_bytes"`
	Concurrency int         `json:"concurrency"`
	Put         storeNumber `json:"put"`
	Get         storeNumber `json:"get"`
}

type storeNumber struct {
	Bytes       int64   `json:"bytes"` // moved in all
	Seconds     float64 `json:"seconds"`
	MBPerSecond float64 `json:"mb_per_second"`
	P50         float64 `json:"p50_ms"`
	P99         float64 `json:"p99_ms"`
	CPUPerGiB   float64 `json:"cpu_seconds_per_gib"`
}

// storeLimit measures PutObject and GetObject of objects of that size.
func (t Target) storeLimit(ctx context.Context, size int64, concurrency int) (put, get *Store, err error) {
	var found storeAnswer
	args := []string{
		"bench-store", "--bytes", fmt.Sprint(size), "--concurrency", fmt.Sprint(concurrency),
		"--duration", t.LimitTime.String(), "--every", t.Every.String(), "-o", "json",
	}
	var env []string
	var server []cputime.Group
	if t.Dev != nil {
		s3 := t.Dev.S3
		args = append(args, "--s3-endpoint", s3.Endpoint, "--s3-bucket", s3.Bucket, "--s3-region", s3.Region, "--s3-path-style")
		env = []string{"STREAMHOUSE_S3_ACCESS_KEY=" + s3.AccessKey, "STREAMHOUSE_S3_SECRET_KEY=" + s3.SecretKey}
		if s3.PID != 0 {
			server = []cputime.Group{{Name: "s3", PIDs: []int{s3.PID}}}
		}
	}
	t.Say("measuring PutObject and GetObject of %d bytes by themselves", size)
	watch := watchCPU(ctx, server)
	err = t.ask(ctx, &found, env, agentProgram, args...)
	samples := watch()
	if err != nil {
		return nil, nil, err
	}
	put, get = found.Put.store(found), found.Get.store(found)
	put.ServerPerGiB, get.ServerPerGiB = split(samples, found)
	return put, get, nil
}

// sample is the CPU time that had been used at a moment, both since the beginning.
type sample struct{ at, used time.Duration }

// sampleTime is between two looks at the CPU time of the S3 server.
const sampleTime = 20 * time.Millisecond

// watchCPU looks at a group's CPU time until the function that it returns is called.
func watchCPU(ctx context.Context, groups []cputime.Group) func() []sample {
	meter, err := cputime.Start(groups)
	if err != nil || len(groups) == 0 {
		return func() []sample { return nil }
	}
	var samples []sample
	var watching sync.WaitGroup
	ctx, stop := context.WithCancel(ctx)
	watching.Go(func() {
		for again := true; again; again = pause(ctx, sampleTime) {
			if usage, at := meter.Read("self"); len(usage) == 2 {
				samples = append(samples, sample{at, usage[1].Time})
			}
		}
	})
	return func() []sample {
		stop()
		watching.Wait()
		return samples
	}
}

// split divides the server's CPU time between the PUTs and the GETs that followed them: the PUTs began when the server began to work.
func split(samples []sample, a storeAnswer) (put, get *float64) {
	first := slices.IndexFunc(samples, func(s sample) bool { return s.used > 0 })
	if first < 0 || a.Put.Bytes == 0 || a.Get.Bytes == 0 {
		return nil, nil
	}
	began := samples[first].at
	turn, end := began+seconds(a.Put.Seconds), began+seconds(a.Put.Seconds+a.Get.Seconds)
	perGiB := func(from, to time.Duration, bytes int64) *float64 {
		value := (usedAt(samples, to) - usedAt(samples, from)).Seconds() / (float64(bytes) / gib)
		return &value
	}
	return perGiB(0, turn, a.Put.Bytes), perGiB(turn, end, a.Get.Bytes)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// usedAt is what the last sample until then says.
func usedAt(samples []sample, at time.Duration) time.Duration {
	var used time.Duration
	for _, s := range samples {
		if s.at <= at {
			used = s.used
		}
	}
	return used
}

func (n storeNumber) store(a storeAnswer) *Store {
	return &Store{
		ObjectBytes: a.ObjectBytes, Concurrency: a.Concurrency, MiBPerSec: n.MBPerSecond * 1e6 / mib, P50: n.P50, P99: n.P99, ClientPerGiB: n.CPUPerGiB,
	}
}

func (l *Limits) write(b *strings.Builder) {
	if l.Put != nil {
		table(b, "THE BUCKET ALONE|OBJECT|IN FLIGHT|MiB/s|P50 ms|P99 ms|CLIENT CPU s/GiB|SERVER CPU s/GiB", func(w *tabwriter.Writer) {
			l.Put.write(w, "PutObject")
			l.Get.write(w, "GetObject")
		})
	}
	for _, c := range []*CommitLimit{l.CommitPlain, l.Commit} {
		if c == nil {
			continue
		}
		head := fmt.Sprintf("THE DATABASE ALONE, %d entries, %d producers|P50 ms|P99 ms|ENTRIES/S|WAL B/ENTRY|PG CPU us/ENTRY|CLIENT CPU us/ENTRY",
			c.Entries, c.Producers)
		table(b, head, func(w *tabwriter.Writer) {
			c.Raw.write(w, "bare transaction")
			c.Store.write(w, "commit")
		})
	}
	if p := l.Parts; p != nil {
		table(b, "PARTS IN THIS PROCESS|CPU s/GiB of values", func(w *tabwriter.Writer) {
			fmt.Fprintf(w, "encode and compress\t%.3f\nverify in full\t%.3f\ncarry batches over HTTP, both ends\t%.3f\n", p.Build, p.Verify, p.Carry)
		})
	}
}

func (s *Store) write(w *tabwriter.Writer, name string) {
	server := "unknown"
	if s.ServerPerGiB != nil {
		server = fmt.Sprintf("%.3f", *s.ServerPerGiB)
	}
	fmt.Fprintf(w, "%s\t%d\t%d\t%.1f\t%.2f\t%.2f\t%.3f\t%s\n", name, s.ObjectBytes, s.Concurrency, s.MiBPerSec, s.P50, s.P99, s.ClientPerGiB, server)
}

func (c CommitMeasure) write(w *tabwriter.Writer, name string) {
	fmt.Fprintf(w, "%s\t%.2f\t%.2f\t%.0f\t%.0f\t%s\t%.1f\n", name, c.P50, c.P99, c.EntriesPerSecond, c.WALBytesPerEntry, known(c.PostgresMicros), c.ClientMicros)
}
