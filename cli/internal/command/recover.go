package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/streamhouse/streamhouse/client"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/cli/internal/output"
	"github.com/streamhouse/streamhouse/cli/internal/recovery"
)

// reach finds the agents that the control plane knows and those that were named. bucket empty: any.
func (e *env) reach(ctx context.Context, admin *client.Admin, bucket string) (*recovery.Cluster, error) {
	c, err := e.Connection()
	if err != nil {
		return nil, err
	}
	urls := append([]string{}, c.Agent...)
	agents, err := admin.ListAgents(ctx, "")
	if err != nil {
		return nil, fmt.Errorf("list agents: %w", err)
	}
	for _, a := range agents {
		if a.State != client.AgentEnded {
			urls = append(urls, a.Address)
		}
	}
	return recovery.Reach(ctx, recovery.Config{ControlPlanes: c.Server, Agents: urls, APIKey: c.APIKey, Bucket: bucket})
}

type recoverCommand struct {
	Bucket         string        `help:"Name of the bucket; agents that use another one are refused."                                                 placeholder:"NAME"`
	AcceptLoss     bool          `help:"Let the catalog serve though acknowledged records are not in the bucket."`
	ProducerWindow time.Duration `default:"168h" help:"Idempotent producers that have written within this time go on where they were: their segments are read. 0: all are. Default: ${default}."`
}

// Help says what to do before.
func (recoverCommand) Help() string {
	return `The database is lost. Start control planes on a new and empty one, make the agent groups and keys anew, start agents on the old bucket, and ` +
		`run this: topics, records, offsets and idempotent producers come back from the objects alone. Consumer offsets, API keys and settings of agents do not. ` +
		`It may be stopped and run again.`
}

// recovered is the outcome of a recovery. Stable.
type recovered struct {
	Incarnation       int32    `json:"incarnation"`
	Objects           int64    `json:"objects"`
	ReferencedObjects int64    `json:"referenced_objects"`
	FaultyObjects     int64    `json:"faulty_objects"`
	Topics            int64    `json:"topics"`
	Partitions        int64    `json:"partitions"`
	Segments          int64    `json:"segments"`
	Records           int64    `json:"records"`
	Bytes             int64    `json:"bytes"`
	Producers         int64    `json:"producers"`
	DamagedSegments   int64    `json:"damaged_segments"`
	LostRecords       int64    `json:"lost_records"`
	Lost              []lost   `json:"lost"`
	Notes             []string `json:"notes"`
	Seconds           float64  `json:"seconds"`
	Steps             []step   `json:"steps"`
	ObjectsPerSecond  float64  `json:"objects_per_second"`
	GiBPerMinute      float64  `json:"gib_per_minute"`
}

// step of a recovery, and how long it took.
type step struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
}

// lost is a partition that has lost its end.
type lost struct {
	Topic              string `json:"topic"`
	Partition          int32  `json:"partition"`
	HighWatermark      int64  `json:"high_watermark"`
	KnownHighWatermark int64  `json:"known_high_watermark"`
}

func recoveredFrom(r *recovery.Result) recovered {
	report := r.Report
	out := recovered{
		Incarnation: r.Incarnation, Objects: report.GetObjectCount(), ReferencedObjects: report.GetReferencedObjectCount(),
		FaultyObjects: report.GetFaultyObjectCount(), Topics: report.GetTopicCount(), Partitions: report.GetPartitionCount(),
		Segments: report.GetSegmentCount(), Records: report.GetRecordCount(), Bytes: report.GetSizeBytes(), Producers: report.GetProducerCount(),
		DamagedSegments: r.DamagedSegments, LostRecords: report.GetLostRecordCount(), Lost: lostFrom(report), Notes: append([]string{}, report.GetNotes()...),
		Seconds: r.Seconds, Steps: []step{},
	}
	for _, s := range r.Steps {
		out.Steps = append(out.Steps, step{s.Name, s.Seconds})
	}
	if r.Seconds > 0 {
		out.ObjectsPerSecond = float64(r.ListedObjects) / r.Seconds
		out.GiBPerMinute = float64(out.Bytes) / (1 << 30) / r.Seconds * 60
	}
	return out
}

func lostFrom(report *controlplanev1.RecoveryReport) []lost {
	list := []lost{}
	for _, l := range report.GetLost() {
		list = append(list, lost{l.GetTopic(), l.GetPartition(), l.GetHighWatermark(), l.GetKnownHighWatermark()})
	}
	return list
}

func (r recovered) rows() output.Rows {
	return output.Rows{
		Head: []string{"INCARNATION", "OBJECTS", "TOPICS", "PARTITIONS", "RECORDS", "BYTES", "PRODUCERS", "LOST", "SECONDS", "OBJECTS/S", "GIB/MIN"},
		Body: [][]string{{
			strconv.Itoa(int(r.Incarnation)), fmt.Sprint(r.Objects), fmt.Sprint(r.Topics), fmt.Sprint(r.Partitions), fmt.Sprint(r.Records), output.Bytes(r.Bytes),
			fmt.Sprint(r.Producers), fmt.Sprint(r.LostRecords), fmt.Sprintf("%.1f", r.Seconds), fmt.Sprintf("%.0f", r.ObjectsPerSecond),
			fmt.Sprintf("%.2f", r.GiBPerMinute),
		}},
	}
}

// Run recovers.
func (c recoverCommand) Run(ctx context.Context, e *env) error {
	admin, closing, err := e.admin()
	if err != nil {
		return err
	}
	defer closing()
	return e.restore(ctx, admin, c.Bucket, "recover", recovery.Options{AcceptLoss: c.AcceptLoss, ProducerWindow: c.ProducerWindow})
}

// restore runs a recovery, shows how it goes, and prints what came of it.
func (e *env) restore(ctx context.Context, admin *client.Admin, bucket, what string, options recovery.Options) error {
	cluster, err := e.reach(ctx, admin, bucket)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer cluster.Close()
	if err := cluster.Unreached(); err != nil {
		fmt.Fprintf(e.Stderr, "left out: %v\n", err)
	}
	bar := newProgressBar(e.Stderr)
	options.Show = bar.show
	result, err := recovery.Recover(ctx, cluster, options)
	bar.clear()
	if loss, lost := errors.AsType[*recovery.LossError](err); lost {
		for _, l := range loss.Report.GetLost() {
			fmt.Fprintf(e.Stderr, "lost: %s/%d ends at offset %d, and once ended at %d\n", l.GetTopic(), l.GetPartition(), l.GetHighWatermark(),
				l.GetKnownHighWatermark())
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	out := recoveredFrom(result)
	for _, note := range out.Notes {
		fmt.Fprintf(e.Stderr, "note: %s\n", note)
	}
	return e.print(out, out.rows())
}

// progressBar draws progress on one line of a terminal; elsewhere it says a line for each step.
type progressBar struct {
	mu       sync.Mutex
	w        io.Writer
	terminal bool
	step     string
	drawn    time.Time
	width    int
}

func newProgressBar(w io.Writer) *progressBar { return &progressBar{w: w, terminal: isTerminal(w)} }

const (
	drawEvery = 100 * time.Millisecond
	barCells  = 30
)

func (b *progressBar) show(p recovery.Progress) {
	b.mu.Lock()
	defer b.mu.Unlock()
	changed := p.Step != b.step
	if changed && !b.terminal {
		fmt.Fprintf(b.w, "%s …\n", p.Step)
	}
	b.step = p.Step
	if !b.terminal || (!changed && time.Since(b.drawn) < drawEvery && p.Done != p.Total) {
		return
	}
	b.drawn = time.Now()
	line := progressText(p)
	fmt.Fprintf(b.w, "\r%s%s", line, strings.Repeat(" ", max(b.width-len(line), 0)))
	b.width = len(line)
}

func progressText(p recovery.Progress) string {
	line := p.Step
	if p.Total > 0 {
		full := int(min(p.Done, p.Total) * barCells / p.Total)
		line = fmt.Sprintf("%-10s [%s%s] %3d%%", p.Step, strings.Repeat("=", full), strings.Repeat(" ", barCells-full), min(p.Done, p.Total)*100/p.Total)
	}
	if p.Objects > 0 {
		line += fmt.Sprintf("  %d objects, %s", p.Objects, output.Bytes(p.Bytes))
	}
	return line
}

func (b *progressBar) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.terminal {
		fmt.Fprintf(b.w, "\r%s\r", strings.Repeat(" ", b.width))
	}
}
