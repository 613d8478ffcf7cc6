package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/streamhouse/streamhouse/client"

	"github.com/streamhouse/streamhouse/cli/internal/cputime"
	"github.com/streamhouse/streamhouse/cli/internal/datadir"
)

// Target is the cluster that is measured.
type Target struct {
	// ControlPlanes and Agents are base URLs.
	ControlPlanes, Agents []string
	// APIKey must be an admin's.
	APIKey string
	// AgentGroup of topics that are made.
	AgentGroup string
	// Dev is what runs on this machine; nil: the processes are elsewhere, and their CPU time is not known.
	Dev *datadir.Cluster
	// Bin is the folder of the servers' programs, which measure the raw limits. Empty: none are measured.
	Bin string
	// LimitTime is how long each of them is measured.
	LimitTime time.Duration
	// Every is the least time from one call of such a measurement to the next; 0: back to back.
	Every time.Duration
	// Objects is the folder in which the dev's S3 server keeps the bucket; empty: objects are not counted.
	Objects string
	// Say is told what is being done.
	Say func(format string, args ...any)
}

// connect returns an SDK of its own, with connections of its own.
func (t Target) connect() (*client.Client, error) {
	return client.New(client.WithControlPlane(t.ControlPlanes...), client.WithAgents(t.Agents...), client.WithAPIKey(t.APIKey))
}

// How long steps around a measurement may take; far beyond what they take in a cluster that works.
const (
	prepareTime = 60 * time.Second
	flushTime   = 60 * time.Second
	cleanUpTime = 30 * time.Second
	pollEvery   = 20 * time.Millisecond
)

// topics made for a measurement.
type topics struct {
	target Target
	sdk    *client.Client
	names  []string
	keep   bool
}

// makeTopics makes topics with that many partitions each, and waits until each partition has a leader.
func makeTopics(ctx context.Context, target Target, sdk *client.Client, kind string, count, partitions int, config client.TopicConfig) (*topics, error) {
	ctx, cancel := context.WithTimeout(ctx, prepareTime)
	defer cancel()
	t := &topics{target: target, sdk: sdk}
	for range count {
		name := "bench-" + kind + "-" + strings.ToLower(rand.Text()[:10])
		_, err := sdk.Admin().CreateTopic(ctx, client.NewTopic{
			Name: name, PartitionCount: int32(partitions), AgentGroup: target.AgentGroup, Config: config,
		})
		if err != nil {
			return t, fmt.Errorf("create topic: %w", err)
		}
		t.names = append(t.names, name)
	}
	for _, name := range t.names {
		if err := t.await(ctx, name); err != nil {
			return t, err
		}
	}
	return t, nil
}

// await waits until an agent knows a leader for each partition.
func (t *topics) await(ctx context.Context, name string) error {
	for {
		leaders, err := leadersOf(ctx, t.sdk, name)
		led := err == nil
		for _, l := range leaders {
			led = led && l.AgentID != ""
		}
		if led {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("wait until every partition of %s has a leader: %w", name, ctx.Err()), err)
		case <-time.After(pollEvery):
		}
	}
}

func leadersOf(ctx context.Context, sdk *client.Client, topic string) ([]client.Leader, error) {
	m, err := metadataOf(ctx, sdk, topic)
	return m.Leaders, err
}

func metadataOf(ctx context.Context, sdk *client.Client, topic string) (client.TopicMetadata, error) {
	m, err := sdk.Metadata(ctx, topic)
	if err != nil {
		return client.TopicMetadata{}, err
	}
	return m.Topics[0], nil
}

// remove deletes the topics, unless they are to be kept.
func (t *topics) remove(ctx context.Context) error {
	if t.keep {
		t.target.Say("kept: %s", strings.Join(t.names, " "))
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime)
	defer cancel()
	var faults []error
	for _, name := range t.names {
		if _, err := t.sdk.Admin().DeleteTopic(ctx, name); err != nil && !errors.Is(err, client.ReasonUnknownTopic) {
			faults = append(faults, fmt.Errorf("delete topic %s: %w", name, err))
		}
	}
	return errors.Join(faults...)
}

// groups are the processes whose CPU time is told apart.
func (t Target) groups() []cputime.Group {
	if t.Dev == nil {
		return nil
	}
	var agents, planes []int
	for _, a := range t.Dev.Agents {
		agents = append(agents, a.PID)
	}
	for _, p := range t.Dev.ControlPlanes {
		planes = append(planes, p.PID)
	}
	groups := []cputime.Group{{Name: "agents", PIDs: agents}, {Name: "control planes", PIDs: planes}}
	if pid := t.Dev.Postgres.PID; pid != 0 {
		groups = append(groups, cputime.Group{Name: "postgres", PIDs: []int{pid}, Children: true})
	}
	if pid := t.Dev.S3.PID; pid != 0 {
		groups = append(groups, cputime.Group{Name: "s3", PIDs: []int{pid}})
	}
	return groups
}

// meter starts to count CPU time; the sentence says what cannot be told.
func (t Target) meter() (*cputime.Meter, string) {
	if t.Dev == nil {
		m, _ := cputime.Start(nil)
		return m, "CPU time of the cluster is not known: it is not a dev on this machine"
	}
	m, err := cputime.Start(t.groups())
	if err != nil {
		return m, "some CPU time is not known: " + err.Error()
	}
	return m, ""
}

// Objects are what was added to the bucket while it was measured.
type Objects struct {
	Count     int64   `json:"count"`
	Bytes     int64   `json:"bytes"`
	PerSecond float64 `json:"per_second"`
}

// bucket counts what is in the bucket now; nil: it cannot be seen.
func (t Target) bucket() *Objects {
	if t.Objects == "" {
		return nil
	}
	var o Objects
	err := filepath.WalkDir(t.Objects, func(_ string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // no object yet, or one that has just been removed
			return nil
		}
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		if info, err := entry.Info(); err == nil {
			o.Count++
			o.Bytes += info.Size()
		}
		return nil
	})
	if err != nil {
		return nil
	}
	return &o
}

// since is what was added after an earlier count.
func (o *Objects) since(before *Objects, seconds float64) *Objects {
	if o == nil || before == nil {
		return nil
	}
	return &Objects{Count: o.Count - before.Count, Bytes: o.Bytes - before.Bytes, PerSecond: float64(o.Count-before.Count) / seconds}
}

// pause waits; false: ctx ended first.
func pause(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
