package recovery

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1/controlplanev1connect"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
)

// shardsTogether is how many shards, or parts of a page of segments, are worked on at a time.
const shardsTogether = 8

// Options of a recovery.
type Options struct {
	// RollForward a halted catalog, of the incarnation that was seen; else an empty one is rebuilt.
	RollForward bool
	Incarnation int32
	// AcceptLoss lets the catalog serve though acknowledged records are not in the bucket.
	AcceptLoss bool
	// ProducerWindow: idempotent producers that have written nothing for longer are forgotten. 0: none is.
	ProducerWindow time.Duration
	// Show is told how it goes, by one goroutine at a time. nil: nobody is.
	Show func(Progress)
}

// Progress is how far a recovery, or a check, has come.
type Progress struct {
	// Step for people.
	Step string
	// Done of Total things.
	Done, Total int64
	// Objects and Bytes that were read.
	Objects, Bytes int64
}

// Result of a recovery.
type Result struct {
	Incarnation int32
	Report      *controlplanev1.RecoveryReport
	// DamagedSegments could not be read when producers were replayed.
	DamagedSegments int64
	// ListedObjects were seen in the bucket by this run.
	ListedObjects int64
	Seconds       float64
	// Steps are those that this run took, in their order.
	Steps []Step
}

// Step of a recovery, and how long it took.
type Step struct {
	Name    string
	Seconds float64
}

// LossError says that acknowledged records are not in the bucket, and nothing serves yet.
type LossError struct {
	Report *controlplanev1.RecoveryReport
}

func (e *LossError) Error() string {
	return fmt.Sprintf("%d acknowledged records in %d partitions or more are not in the bucket: the catalog stays halted; look for their objects "+
		"and run this again, or give --accept-loss", e.Report.GetLostRecordCount(), len(e.Report.GetLost()))
}

// run is one run of a recovery.
type run struct {
	*Cluster
	Options
	id      string
	mu      sync.Mutex // guards shown
	shown   Progress
	steps   []Step
	since   time.Time // when the last step began
	listed  atomic.Int64
	damaged atomic.Int64
}

// Recover does what is left to do, to the end. A *LossError is not the end.
func Recover(ctx context.Context, c *Cluster, options Options) (*Result, error) {
	began := time.Now()
	r := &run{Cluster: c, Options: options}
	begun, err := r.begin(ctx)
	if err != nil {
		return nil, err
	}
	if begun.GetStep() == controlplanev1.RecoveryStep_RECOVERY_STEP_INVENTORY {
		if err := r.inventory(ctx, begun); err != nil {
			return nil, err
		}
	}
	if err := r.build(ctx); err != nil {
		return nil, err
	}
	if err := r.replay(ctx); err != nil {
		return nil, err
	}
	result, err := r.finish(ctx)
	if err != nil {
		return nil, err
	}
	r.endStep()
	result.Seconds, result.Steps = time.Since(began).Seconds(), r.steps
	return result, nil
}

func (r *run) begin(ctx context.Context) (*controlplanev1.BeginRecoveryResponse, error) {
	request := &controlplanev1.BeginRecoveryRequest{Kind: controlplanev1.RecoveryKind_RECOVERY_KIND_REBUILD}
	if r.RollForward {
		request.Kind, request.Incarnation = controlplanev1.RecoveryKind_RECOVERY_KIND_ROLL_FORWARD, r.Incarnation
	}
	begun, err := ask(ctx, r.Cluster, func(ctx context.Context, s controlplanev1connect.RecoveryServiceClient) (*controlplanev1.BeginRecoveryResponse, error) {
		return s.BeginRecovery(ctx, request)
	})
	if err != nil {
		return nil, fmt.Errorf("begin: %w", err)
	}
	if missing := r.lacking(begun.GetAgentGroups()); len(missing) > 0 {
		return nil, fmt.Errorf("no agent of agent group %s can be reached, and it alone sees what its part of the bucket has: start one", strings.Join(missing, ", "))
	}
	r.id = begun.GetRecoveryId()
	return begun, nil
}

// show tells of progress; change may be called by several goroutines.
func (r *run) show(change func(*Progress)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.shown)
	if r.Show != nil {
		r.Show(r.shown)
	}
}

func (r *run) step(name string, total int64) {
	r.endStep()
	r.steps, r.since = append(r.steps, Step{Name: name}), time.Now()
	r.show(func(p *Progress) { p.Step, p.Done, p.Total = name, 0, total })
}

func (r *run) endStep() {
	if n := len(r.steps); n > 0 {
		r.steps[n-1].Seconds = time.Since(r.since).Seconds()
	}
}

// inventory brings in topics, then objects, shard by shard.
func (r *run) inventory(ctx context.Context, begun *controlplanev1.BeginRecoveryResponse) error {
	done := map[string]map[int32]bool{}
	for _, shard := range begun.GetDone() {
		if done[shard.GetAgentGroup()] == nil {
			done[shard.GetAgentGroup()] = map[int32]bool{}
		}
		done[shard.GetAgentGroup()][shard.GetShard()] = true
	}
	groups := r.AgentGroups()
	r.step("topics", int64(len(groups)))
	for _, group := range groups {
		if err := r.bringTopics(ctx, group); err != nil {
			return err
		}
		r.show(func(p *Progress) { p.Done++ })
	}
	r.step("objects", int64(len(groups)*shards))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(shardsTogether)
	for _, group := range groups {
		for shard := range int32(shards) {
			if done[group][shard] {
				r.show(func(p *Progress) { p.Done++ })
				continue
			}
			g.Go(func() error {
				if err := r.bringShard(ctx, group, shard); err != nil {
					return err
				}
				r.show(func(p *Progress) { p.Done++ })
				return nil
			})
		}
	}
	return g.Wait()
}

func (r *run) bringTopics(ctx context.Context, group string) error {
	return r.topics(ctx, group, func(page *dataplanev1.ReadTopicsResponse) error {
		_, err := ask(ctx, r.Cluster, func(ctx context.Context, s controlplanev1connect.RecoveryServiceClient) (*controlplanev1.AddTopicsResponse, error) {
			return s.AddTopics(ctx, &controlplanev1.AddTopicsRequest{
				RecoveryId: r.id, AgentGroup: group, Checkpoint: page.GetCheckpoint(), Incarnation: page.GetIncarnation(),
				Topics: page.GetTopics(), Partitions: page.GetPartitions(),
			})
		})
		if err != nil {
			return fmt.Errorf("bring topics of agent group %s: %w", group, err)
		}
		return nil
	})
}

// bringShard brings all objects of a shard; of a roll-forward, those that the catalog does not know.
func (r *run) bringShard(ctx context.Context, group string, shard int32) error {
	err := r.objects(ctx, group, shard, !r.RollForward, func(objects []*controlplanev1.StoredObject) error {
		r.listed.Add(int64(len(objects)))
		if r.RollForward {
			var err error
			if objects, err = r.unknown(ctx, group, objects); err != nil {
				return err
			}
		}
		err := inBatches(objects, func(batch []*controlplanev1.StoredObject) error { return r.bring(ctx, batch, nil) })
		r.show(func(p *Progress) {
			for _, o := range objects {
				p.Objects++
				p.Bytes += o.GetSizeBytes()
			}
		})
		return err
	})
	if err != nil {
		return err
	}
	return r.bring(ctx, nil, &controlplanev1.RecoveryShard{AgentGroup: group, Shard: shard})
}

func (r *run) bring(ctx context.Context, objects []*controlplanev1.StoredObject, done *controlplanev1.RecoveryShard) error {
	_, err := ask(ctx, r.Cluster, func(ctx context.Context, s controlplanev1connect.RecoveryServiceClient) (*controlplanev1.AddObjectsResponse, error) {
		return s.AddObjects(ctx, &controlplanev1.AddObjectsRequest{RecoveryId: r.id, Objects: objects, Done: done})
	})
	if err != nil {
		return fmt.Errorf("bring objects: %w", err)
	}
	return nil
}

// unknown reads the footers of those objects that the catalog does not know.
func (r *run) unknown(ctx context.Context, group string, objects []*controlplanev1.StoredObject) ([]*controlplanev1.StoredObject, error) {
	keys := make([]string, len(objects))
	for i, o := range objects {
		keys[i] = o.GetKey()
	}
	found, err := ask(ctx, r.Cluster, func(ctx context.Context, s controlplanev1connect.RecoveryServiceClient) (*controlplanev1.FindUnknownKeysResponse, error) {
		return s.FindUnknownKeys(ctx, &controlplanev1.FindUnknownKeysRequest{RecoveryId: r.id, Keys: keys})
	})
	if err != nil {
		return nil, fmt.Errorf("find unknown objects: %w", err)
	}
	if len(found.GetKeys()) == 0 {
		return nil, nil
	}
	return r.footers(ctx, group, found.GetKeys())
}

// build has the logs made.
func (r *run) build(ctx context.Context) error {
	r.step("logs", 0)
	for {
		built, err := ask(ctx, r.Cluster, func(ctx context.Context, s controlplanev1connect.RecoveryServiceClient) (*controlplanev1.BuildLogsResponse, error) {
			return s.BuildLogs(ctx, &controlplanev1.BuildLogsRequest{RecoveryId: r.id, AcceptLoss: r.AcceptLoss})
		})
		if err != nil {
			return fmt.Errorf("make logs: %w", err)
		}
		r.show(func(p *Progress) { p.Done, p.Total = built.GetBuiltCount(), built.GetPartitionCount() })
		if built.GetStep() >= controlplanev1.RecoveryStep_RECOVERY_STEP_PRODUCERS {
			return nil
		}
	}
}

// replay has the segments read from which producers go on.
func (r *run) replay(ctx context.Context) error {
	r.step("producers", 0)
	request := &controlplanev1.ReplayProducersRequest{RecoveryId: r.id, WindowMs: r.ProducerWindow.Milliseconds()}
	for {
		page, err := ask(ctx, r.Cluster, func(ctx context.Context, s controlplanev1connect.RecoveryServiceClient) (*controlplanev1.ReplayProducersResponse, error) {
			return s.ReplayProducers(ctx, request)
		})
		if err != nil {
			return fmt.Errorf("replay producers: %w", err)
		}
		if page.GetPageToken() == "" {
			return nil
		}
		request.PageToken = page.GetPageToken()
		if request.Segments, err = r.readProducers(ctx, page.GetSegments()); err != nil {
			return err
		}
		r.show(func(p *Progress) {
			p.Done += int64(len(page.GetSegments()))
			p.Total = p.Done + page.GetLeftCount()
		})
	}
}

// readProducers reads a page of segments, those of each agent group by its agents.
func (r *run) readProducers(ctx context.Context, segments []*controlplanev1.SegmentToReplay) ([]*controlplanev1.SegmentProducers, error) {
	found := make([]*controlplanev1.SegmentProducers, len(segments))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(shardsTogether)
	for first := 0; first < len(segments); {
		end := first
		for end < len(segments) && end-first < len(segments)/shardsTogether+1 && groupOf(segments[end].GetObjectKey()) == groupOf(segments[first].GetObjectKey()) {
			end++
		}
		some, into := segments[first:end], found[first:end]
		g.Go(func() error { return r.readSome(ctx, some, into) })
		first = end
	}
	return found, g.Wait()
}

func (r *run) readSome(ctx context.Context, segments []*controlplanev1.SegmentToReplay, into []*controlplanev1.SegmentProducers) error {
	ranges := make([]*dataplanev1.SegmentRange, len(segments))
	for i, s := range segments {
		ranges[i] = &dataplanev1.SegmentRange{ObjectKey: s.GetObjectKey(), BytePosition: s.GetBytePosition(), SizeBytes: s.GetSizeBytes(), Crc32C: s.GetCrc32C()}
	}
	checked, err := r.check(ctx, groupOf(segments[0].GetObjectKey()), ranges)
	if err != nil {
		return err
	}
	for i, c := range checked {
		if c.GetFault() != "" {
			r.damaged.Add(1)
		}
		into[i] = &controlplanev1.SegmentProducers{PartitionId: segments[i].GetPartitionId(), Batches: c.GetProducerBatches()}
	}
	return nil
}

// finish looks at what was found before it lets the catalog serve.
func (r *run) finish(ctx context.Context) (*Result, error) {
	r.step("ending", 0)
	found, err := ask(ctx, r.Cluster, func(ctx context.Context, s controlplanev1connect.RecoveryServiceClient) (*controlplanev1.GetRecoveryResponse, error) {
		return s.GetRecovery(ctx, &controlplanev1.GetRecoveryRequest{RecoveryId: r.id})
	})
	if err != nil {
		return nil, fmt.Errorf("look at the result: %w", err)
	}
	if found.GetReport().GetLostRecordCount() > 0 && !r.AcceptLoss {
		return nil, &LossError{Report: found.GetReport()}
	}
	ended, err := r.control[0].FinishRecovery(ctx, &controlplanev1.FinishRecoveryRequest{RecoveryId: r.id, AcceptLoss: r.AcceptLoss})
	if err != nil {
		return nil, fmt.Errorf("finish: %w; `streamhouse catalog status` shows what became of it", err)
	}
	return &Result{Incarnation: ended.GetIncarnation(), Report: ended.GetReport(), DamagedSegments: r.damaged.Load(), ListedObjects: r.listed.Load()}, nil
}
