// Package callers knows whose API key a caller sent: it asks the control plane and remembers the answer for a while.
// Nothing here decides what a caller may do.
//
// Promises: a revoked key is refused after 30 s at the latest, after 60 s while the control plane is out of reach; one that was just made
// works after 5 s at the latest.
// Read: callers.go.
package callers

import (
	"context"
	"sync"
	"time"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/access"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

const (
	knownFor     = 30 * time.Second
	unknownFor   = 5 * time.Second
	staleFor     = 30 * time.Second // beyond knownFor, while the control plane is out of reach
	askTimeout   = 5 * time.Second
	catalogRetry = 500 * time.Millisecond
	// maxKeys bounds the keys remembered; beyond it those that ran out go, then any.
	maxKeys = 10_000
)

// Catalog knows all keys; package catalog's Client is one.
type Catalog interface {
	Authenticate(context.Context, *controlplanev1.AuthenticateRequest) (*controlplanev1.AuthenticateResponse, error)
}

// Cache is an access.Authenticator.
type Cache struct {
	catalog Catalog

	mu   sync.Mutex
	keys map[access.KeyHash]*key
}

// key is what is remembered of one API key. turn is held by whoever asks; the other fields are guarded by the cache's mutex.
type key struct {
	turn      chan struct{} // capacity 1
	principal access.Principal
	unknown   bool
	at        time.Time // zero: never answered
	failed    error     // why the last question was not answered; nil: it was
	asked     int       // questions that have ended
}

// New returns an empty cache.
func New(catalog Catalog) *Cache { return &Cache{catalog: catalog, keys: map[access.KeyHash]*key{}} }

// Authenticate says whose key it is. Errors: access.ErrUnknownKey, CATALOG_UNAVAILABLE, or that of ctx.
func (c *Cache) Authenticate(ctx context.Context, hash access.KeyHash) (access.Principal, error) {
	k := c.entry(hash)
	if p, err, fresh := c.remembered(k, 0); fresh {
		return p, err
	}
	failing, asked := c.state(k)
	select { // one at a time asks; the others find its answer, or its failure
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	default:
		if failing {
			return c.makeDo(k)
		}
		select {
		case k.turn <- struct{}{}:
			defer func() { <-k.turn }()
		case <-ctx.Done():
			return access.Principal{}, ctx.Err()
		}
	}
	if p, err, fresh := c.remembered(k, 0); fresh {
		return p, err
	}
	if failing, now := c.state(k); failing && now > asked {
		return c.makeDo(k)
	}
	return c.ask(ctx, hash, k)
}

func (c *Cache) ask(ctx context.Context, hash access.KeyHash, k *key) (access.Principal, error) {
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	res, err := c.catalog.Authenticate(asking, &controlplanev1.AuthenticateRequest{KeySha256: hash[:]})
	switch {
	case err == nil:
		p := access.Principal{KeyID: res.GetKeyId(), Name: res.GetName(), Role: res.GetRole(), AgentGroup: res.GetAgentGroup()}
		c.remember(k, p, false)
		return p, nil
	case refusal.Is(err, refusalv1.Reason_REASON_UNKNOWN_KEY):
		c.remember(k, access.Principal{}, true)
		return access.Principal{}, access.ErrUnknownKey
	case ctx.Err() != nil: // says nothing to the others
		return access.Principal{}, ctx.Err()
	}
	c.mu.Lock()
	k.failed, k.asked = err, k.asked+1
	c.mu.Unlock()
	return c.makeDo(k)
}

// state tells whether the last question about the key failed, and how many have ended.
func (c *Cache) state(k *key) (failing bool, asked int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return k.failed != nil, k.asked
}

// makeDo answers while the control plane is out of reach: from memory that is not too old. So that an outage costs each caller one timeout at most, and
// most of them none: one asks, the others make do.
func (c *Cache) makeDo(k *key) (access.Principal, error) {
	if p, err, fresh := c.remembered(k, staleFor); fresh {
		return p, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return access.Principal{}, refusal.CatalogUnavailable(catalogRetry, k.failed)
}

func (c *Cache) remember(k *key, p access.Principal, unknown bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k.principal, k.unknown, k.at = p, unknown, time.Now()
	k.failed, k.asked = nil, k.asked+1
}

// remembered is what is known of a key, if that is not too old; slack is allowed beyond its time.
func (c *Cache) remembered(k *key, slack time.Duration) (access.Principal, error, bool) { //nolint:revive // the error is an answer here
	c.mu.Lock()
	defer c.mu.Unlock()
	age := time.Since(k.at)
	switch {
	case k.at.IsZero():
		return access.Principal{}, nil, false
	case k.unknown:
		return access.Principal{}, access.ErrUnknownKey, age < unknownFor
	default:
		return k.principal, nil, age < knownFor+slack
	}
}

func (c *Cache) entry(hash access.KeyHash) *key {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.keys[hash]; k != nil {
		return k
	}
	if len(c.keys) >= maxKeys {
		c.evict()
	}
	k := &key{turn: make(chan struct{}, 1)}
	c.keys[hash] = k
	return k
}

// evict makes room: all that ran out, else an arbitrary one, which costs its owner one more question.
func (c *Cache) evict() {
	for hash, k := range c.keys {
		if time.Since(k.at) > knownFor || (k.unknown && time.Since(k.at) > unknownFor) {
			delete(c.keys, hash)
		}
	}
	for hash := range c.keys {
		if len(c.keys) < maxKeys {
			return
		}
		delete(c.keys, hash)
	}
}

// Admit refuses callers whose key belongs to another agent group (P7), and those who are nobody.
func Admit(ctx context.Context, agentGroup string) error {
	if p, ok := access.From(ctx); ok && p.MayUse(agentGroup) {
		return nil
	}
	return refusal.WrongAgentGroup("this agent serves the agent group %q, the key belongs to another: call an agent of your group", agentGroup)
}
