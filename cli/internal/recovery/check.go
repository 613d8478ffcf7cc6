package recovery

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1/controlplanev1connect"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
)

// Kind of a finding.
type Kind string

// The kinds.
const (
	// Missing: the catalog refers to an object that is not in the bucket.
	Missing Kind = "missing"
	// Orphan: an object in the bucket that the catalog does not know, and that is old enough that somebody should have removed it.
	Orphan Kind = "orphan"
	// Differs: an object's footer or size is not what the catalog says, or its references are miscounted.
	Differs Kind = "differs"
	// Corrupt: the bytes of a segment are not what they were.
	Corrupt Kind = "corrupt"
	// Log: a partition's segments do not follow each other from its log start to its high watermark.
	Log Kind = "log"
	// Unchecked: an agent group's part of the bucket that nobody could look at.
	Unchecked Kind = "unchecked"
)

// Finding is something wrong.
type Finding struct {
	Kind   Kind
	Object string // its key; empty: it is not of one object
	Detail string
	Age    time.Duration // of an orphan, by the bucket's and this machine's clocks
}

// CheckOptions of a check.
type CheckOptions struct {
	// Deep reads every byte that the catalog refers to.
	Deep bool
	// OrphanAge: an object that the catalog does not know is an upload under way until it is so old.
	OrphanAge time.Duration
	// AgentGroups whose objects are to be checked: those of which no agent was reached are findings.
	AgentGroups []string
	// MaxFindings that are kept; all are counted.
	MaxFindings int
	// Show as in Options.
	Show func(Progress)
}

// Checked is what a check has found.
type Checked struct {
	Findings []Finding
	// Counts of all findings, by kind.
	Counts map[Kind]int64
	// Objects that were looked at, of these: Referenced; Waiting to be deleted; Young ones that the catalog does not know (yet).
	Objects, Referenced, Waiting, Young int64
	Partitions, Segments, BytesRead     int64
	Seconds                             float64
}

// Clean says that nothing is wrong.
func (c *Checked) Clean() bool { return len(c.Counts) == 0 }

// checking is one run of a check.
type checking struct {
	*Cluster
	CheckOptions
	began time.Time
	mu    sync.Mutex // guards what is below
	found Checked
	seen  seen
	shown Progress
}

// Check compares the catalog with the bucket. What goes on meanwhile is no finding: whatever looks wrong is looked at again.
func Check(ctx context.Context, c *Cluster, options CheckOptions) (*Checked, error) {
	k := &checking{Cluster: c, CheckOptions: options, began: time.Now(), found: Checked{Counts: map[Kind]int64{}}}
	for _, group := range c.lacking(options.AgentGroups) {
		k.add(Finding{Kind: Unchecked, Detail: fmt.Sprintf("no agent of agent group %s can be reached: its objects were not looked at", group)})
	}
	if err := k.partitions(ctx); err != nil {
		return nil, err
	}
	if err := k.bucket(ctx); err != nil {
		return nil, err
	}
	if err := k.missing(ctx); err != nil {
		return nil, err
	}
	k.found.Seconds = time.Since(k.began).Seconds()
	return &k.found, nil
}

func (k *checking) add(f Finding) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.found.Counts[f.Kind]++
	if len(k.found.Findings) < k.MaxFindings {
		k.found.Findings = append(k.found.Findings, f)
	}
}

func (k *checking) show(change func(*Progress)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change(&k.shown)
	if k.Show != nil {
		k.Show(k.shown)
	}
}

func (k *checking) partitions(ctx context.Context) error {
	k.show(func(p *Progress) { *p = Progress{Step: "partitions"} })
	for token := ""; ; {
		page, err := ask(ctx, k.Cluster, func(ctx context.Context, s controlplanev1connect.RecoveryServiceClient) (*controlplanev1.AuditPartitionsResponse, error) {
			return s.AuditPartitions(ctx, &controlplanev1.AuditPartitionsRequest{PageToken: token})
		})
		if err != nil {
			return fmt.Errorf("check partitions: %w", err)
		}
		k.found.Partitions += page.GetPartitionCount()
		k.found.Segments += page.GetSegmentCount()
		for _, problem := range page.GetProblems() {
			k.add(Finding{Kind: Log, Detail: problem})
		}
		k.show(func(p *Progress) { p.Done += page.GetPartitionCount() })
		if token = page.GetNextPageToken(); token == "" {
			return nil
		}
	}
}

func (k *checking) bucket(ctx context.Context) error {
	groups := k.Cluster.AgentGroups()
	k.show(func(p *Progress) { *p = Progress{Step: "objects", Total: int64(len(groups) * shards)} })
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(shardsTogether)
	for _, group := range groups {
		for shard := range int32(shards) {
			g.Go(func() error {
				err := k.objects(ctx, group, shard, true, func(objects []*controlplanev1.StoredObject) error {
					return inBatches(objects, func(batch []*controlplanev1.StoredObject) error { return k.compare(ctx, group, batch) })
				})
				k.show(func(p *Progress) { p.Done++ })
				return err
			})
		}
	}
	return g.Wait()
}

// compare holds a batch against the catalog. The footers were read before, and the catalog may have moved on: it only ever refers to fewer of an
// object's segments, or to an object that it did not know.
func (k *checking) compare(ctx context.Context, group string, objects []*controlplanev1.StoredObject) error {
	audited, err := k.audit(ctx, objects)
	if err != nil {
		return err
	}
	for i, a := range audited {
		o := objects[i]
		k.count(o, a)
		for _, problem := range a.GetProblems() {
			k.add(Finding{Kind: Differs, Object: o.GetKey(), Detail: problem})
		}
		if k.Deep {
			if err := k.readObject(ctx, group, o, a); err != nil {
				return err
			}
		}
	}
	return nil
}

func (k *checking) count(o *controlplanev1.StoredObject, a *controlplanev1.AuditedObject) {
	orphan := time.Duration(-1)
	k.mu.Lock()
	k.found.Objects++
	switch a.GetFate() {
	case controlplanev1.ObjectFate_OBJECT_FATE_REFERENCED:
		k.found.Referenced++
		k.seen.add(a.GetObjectId())
	case controlplanev1.ObjectFate_OBJECT_FATE_UNKNOWN:
		if age := time.Since(o.GetModifiedAt().AsTime()); age >= k.OrphanAge {
			orphan = max(age, 0)
		} else {
			k.found.Young++
		}
	default:
		k.found.Waiting++
	}
	k.mu.Unlock()
	if orphan >= 0 {
		detail := "the catalog does not know it"
		if o.GetFault() != "" {
			detail += ", and its footer cannot be read: " + o.GetFault()
		}
		k.add(Finding{Kind: Orphan, Object: o.GetKey(), Detail: detail, Age: orphan})
	}
}

// readObject reads the segments that the catalog refers to.
func (k *checking) readObject(ctx context.Context, group string, o *controlplanev1.StoredObject, a *controlplanev1.AuditedObject) error {
	ranges := make([]*dataplanev1.SegmentRange, 0, len(a.GetReferenced()))
	for _, i := range a.GetReferenced() {
		s := o.GetSegments()[i]
		ranges = append(ranges, &dataplanev1.SegmentRange{
			ObjectKey: o.GetKey(), BytePosition: s.GetBytePosition(), SizeBytes: s.GetSizeBytes(), Crc32C: s.GetCrc32C(),
		})
	}
	checked, err := k.check(ctx, group, ranges)
	if err != nil {
		return err
	}
	for i, c := range checked {
		k.show(func(p *Progress) { p.Bytes += int64(ranges[i].GetSizeBytes()) })
		if c.GetFault() == "" || c.GetMissing() { // what is missing is found out at the end
			continue
		}
		k.add(Finding{Kind: Corrupt, Object: o.GetKey(), Detail: fmt.Sprintf("segment at byte %d: %s", ranges[i].GetBytePosition(), c.GetFault())})
	}
	k.mu.Lock()
	k.found.BytesRead = k.shown.Bytes
	k.mu.Unlock()
	return nil
}

// missing walks over what the catalog refers to, and looks again for what was not seen.
func (k *checking) missing(ctx context.Context) error {
	k.show(func(p *Progress) { *p = Progress{Step: "references", Bytes: p.Bytes} })
	for after := int64(0); ; {
		request := &controlplanev1.ListReferencedObjectsRequest{AfterObjectId: after}
		page, err := ask(ctx, k.Cluster, func(ctx context.Context, s controlplanev1connect.RecoveryServiceClient) (
			*controlplanev1.ListReferencedObjectsResponse, error,
		) {
			return s.ListReferencedObjects(ctx, request)
		})
		if err != nil {
			return fmt.Errorf("list objects: %w", err)
		}
		if len(page.GetObjects()) == 0 {
			return nil
		}
		for _, o := range page.GetObjects() {
			after = o.GetObjectId()
			if k.seen.has(o.GetObjectId()) || len(k.agents[groupOf(o.GetKey())]) == 0 {
				continue
			}
			if err := k.lookAgain(ctx, o); err != nil {
				return err
			}
		}
		k.show(func(p *Progress) { p.Done += int64(len(page.GetObjects())) })
	}
}

// lookAgain: the object may have come after its shard was listed, or gone since it was referred to.
func (k *checking) lookAgain(ctx context.Context, o *controlplanev1.ReferencedObject) error {
	there, err := k.check(ctx, groupOf(o.GetKey()), []*dataplanev1.SegmentRange{{ObjectKey: o.GetKey()}})
	if err != nil {
		return err
	}
	if !there[0].GetMissing() {
		objects, err := k.footers(ctx, groupOf(o.GetKey()), []string{o.GetKey()})
		if err != nil || len(objects) == 0 {
			return err
		}
		return k.compare(ctx, groupOf(o.GetKey()), objects)
	}
	audited, err := k.audit(ctx, []*controlplanev1.StoredObject{{Key: o.GetKey(), SizeBytes: max(o.GetSizeBytes(), 1), Fault: "missing"}})
	if err != nil {
		return err
	}
	if audited[0].GetFate() == controlplanev1.ObjectFate_OBJECT_FATE_REFERENCED {
		k.add(Finding{Kind: Missing, Object: o.GetKey(), Detail: "the catalog refers to it, and it is not in the bucket"})
	}
	return nil
}

// Unreached says which agents did not answer; nil: all did.
func (c *Cluster) Unreached() error {
	if len(c.Unreachable) == 0 {
		return nil
	}
	texts := make([]string, len(c.Unreachable))
	for i, err := range c.Unreachable {
		texts[i] = err.Error()
	}
	return errors.New(strings.Join(texts, "; "))
}
