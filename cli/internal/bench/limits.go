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
	"strings"
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

	limitTime  = 3 * time.Second // of each measurement
	limitGrace = 60 * time.Second
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
	ctx, cancel := context.WithTimeout(ctx, limitGrace)
	defer cancel()
	command := exec.CommandContext(ctx, path, args...)
	command.Env = append(os.Environ(), env...)
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

// commitLimit measures commits of that shape in a scratch database on the same server.
func (t Target) commitLimit(ctx context.Context, entries, producers int) (*CommitLimit, error) {
	var found CommitLimit
	var env []string
	if t.Dev != nil {
		env = []string{"STREAMHOUSE_DATABASE_URL=" + t.Dev.Postgres.URL}
	}
	t.Say("measuring commits of %d entries by themselves", entries)
	err := t.ask(ctx, &found, env, controlPlaneProgram,
		"bench-commit", "--entries", fmt.Sprint(entries), "--producers", fmt.Sprint(producers), "--duration", limitTime.String(), "-o", "json")
	if err != nil {
		return nil, err
	}
	return &found, nil
}

// storeAnswer is what bench-store of the agent's program says.
type storeAnswer struct {
	Bytes       int64       `json:"bytes"`
	Concurrency int         `json:"concurrency"`
	Put         storeNumber `json:"put"`
	Get         storeNumber `json:"get"`
}

type storeNumber struct {
	Bytes       int64   `json:"bytes"` // moved in all
	MBPerSecond float64 `json:"mb_per_second"`
	P50         float64 `json:"p50_ms"`
	P99         float64 `json:"p99_ms"`
	CPUPerGiB   float64 `json:"cpu_seconds_per_gib"`
}

// storeLimit measures PutObject and GetObject of objects of that size.
func (t Target) storeLimit(ctx context.Context, size int64, concurrency int) (put, get *Store, err error) {
	var found storeAnswer
	args := []string{"bench-store", "--bytes", fmt.Sprint(size), "--concurrency", fmt.Sprint(concurrency), "--duration", limitTime.String(), "-o", "json"}
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
	meter, meterErr := cputime.Start(server)
	if err := t.ask(ctx, &found, env, agentProgram, args...); err != nil {
		return nil, nil, err
	}
	put, get = found.Put.store(found), found.Get.store(found)
	if usage, _ := meter.Read("self"); meterErr == nil && len(usage) == 2 && found.Put.Bytes+found.Get.Bytes > 0 {
		both := usage[1].Time.Seconds() / (float64(found.Put.Bytes+found.Get.Bytes) / gib)
		put.ServerPerGiB, get.ServerPerGiB = &both, &both
	}
	return put, get, nil
}

func (n storeNumber) store(a storeAnswer) *Store {
	return &Store{
		ObjectBytes: a.Bytes, Concurrency: a.Concurrency, MiBPerSec: n.MBPerSecond * 1e6 / mib, P50: n.P50, P99: n.P99, ClientPerGiB: n.CPUPerGiB,
	}
}

func (l *Limits) write(b *strings.Builder) {
	if l.Put != nil {
		table(b, "THE BUCKET ALONE|OBJECT|IN FLIGHT|MiB/s|P50 ms|P99 ms|CLIENT CPU s/GiB|SERVER CPU s/GiB", func(w *tabwriter.Writer) {
			l.Put.write(w, "PutObject")
			l.Get.write(w, "GetObject")
		})
	}
	if c := l.Commit; c != nil {
		head := fmt.Sprintf("THE DATABASE ALONE, %d entries, %d producers|P50 ms|P99 ms|ENTRIES/S|WAL B/ENTRY|PG CPU us/ENTRY|CLIENT CPU us/ENTRY", c.Entries, c.Producers)
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
