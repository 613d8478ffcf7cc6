package fetch

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/cache"
	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/route"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

const (
	// ownerTimeout bounds one question to an owner; then the bucket is asked.
	ownerTimeout = 3 * time.Second
	// ownerRest is how long an owner that did not answer owns nothing.
	ownerRest = 5 * time.Second
)

// zone is the agents of this agent's zone, each the owner of some objects. All agents choose the owner alike (rendezvous hashing), so an
// object is read from the bucket once for all; when an agent comes or goes, only the objects that it owns change hands.
type zone struct {
	self  string
	name  string
	peers Peers
	table Routes

	mu      sync.Mutex
	changed <-chan struct{} // closed when mates are out of date; nil: they were never read
	mates   []route.Agent   // this one included
	resting map[string]time.Time
}

func newZone(self, name string, peers Peers, table Routes) *zone {
	return &zone{self: self, name: name, peers: peers, table: table, resting: make(map[string]time.Time)}
}

// Owner is the address of the agent that reads this object for all; empty: this one does.
func (z *zone) Owner(object string) string {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.refresh()
	now := time.Now()
	owner, best := "", weight(z.self, object)
	for _, a := range z.mates {
		if w := weight(a.ID, object); w > best && a.ID != z.self && !now.Before(z.resting[a.Address]) {
			owner, best = a.Address, w
		}
	}
	return owner
}

// refresh requires mu.
func (z *zone) refresh() {
	select {
	case <-z.changed: // a nil channel: the default
	default:
		if z.changed != nil {
			return
		}
	}
	z.changed = z.table.Changed() // before the agents are read: a change in between is not missed
	z.mates = z.mates[:0]
	for _, a := range z.table.Agents() {
		if a.Zone == z.name && !a.Draining && a.Address != "" {
			z.mates = append(z.mates, a)
		}
	}
	clear(z.resting)
}

// weight is how much an agent wants an object: FNV-1a of both, mixed so that names that differ in one letter are worlds apart.
func weight(agent, object string) uint64 {
	h := uint64(14695981039346656037)
	for _, s := range [...]string{agent, "\x00", object} {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * 1099511628211
		}
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// Read asks an owner for a part of an object.
func (z *zone) Read(ctx context.Context, owner, object string, position int64, size int32, whole bool) ([]byte, error) {
	client, err := z.peers.Bulk(owner)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, ownerTimeout)
	defer cancel()
	res, err := client.ReadObject(ctx, &dataplanev1.ReadObjectRequest{ObjectKey: object, BytePosition: position, SizeBytes: size, Whole: whole})
	if _, answered := refusal.FromError(err); err != nil && !answered && !errors.Is(ctx.Err(), context.Canceled) {
		z.rest(owner)
	}
	return res.GetBytes(), err
}

// rest lets an agent own nothing for a while. The map is bounded by the agents of the zone: each change of them empties it.
func (z *zone) rest(owner string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.resting[owner] = time.Now().Add(ownerRest)
}

// ReadObject reads a part of an object for another agent of the zone; see peer.proto.
func (s *Service) ReadObject(ctx context.Context, req *dataplanev1.ReadObjectRequest) (*dataplanev1.ReadObjectResponse, error) {
	if err := s.authorize(ctx); err != nil {
		return nil, err
	}
	key := req.GetObjectKey()
	if !strings.HasPrefix(key, object.GroupPrefix(s.group)) {
		return nil, refusal.Invalid("object_key", "the object %q is not of the agent group %q", key, s.group)
	}
	if req.GetBytePosition() < 0 || req.GetSizeBytes() < 1 || req.GetSizeBytes() > cache.MaxRangeBytes {
		return nil, refusal.Invalid("size_bytes", "%d bytes at %d: want 1 to %d bytes", req.GetSizeBytes(), req.GetBytePosition(), cache.MaxRangeBytes)
	}
	b, err := s.cache.Range(ctx, key, req.GetBytePosition(), req.GetSizeBytes(), req.GetWhole())
	switch {
	case err == nil:
		if s.config.Traffic != nil {
			s.config.Traffic.Shared(s.config.Zone, len(b))
		}
		return &dataplanev1.ReadObjectResponse{Bytes: b}, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, cache.ErrOutside):
		return nil, refusal.Invalid("byte_position", "%d bytes at %d lie outside of the object %q", req.GetSizeBytes(), req.GetBytePosition(), key)
	case errors.Is(err, cache.ErrMissing):
		return nil, refusal.Newf(refusalv1.Reason_REASON_UNKNOWN_OBJECT, "the object %q is not in the bucket: ask the catalog again", key)
	}
	return nil, refusal.Error(withRetry(refusal.New(refusalv1.Reason_REASON_BUCKET_UNAVAILABLE, "the bucket is out of reach: try again")))
}
