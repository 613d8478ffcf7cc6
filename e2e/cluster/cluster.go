// Package cluster runs a whole StreamHouse for a test: PostgreSQL, the S3 server, control planes and agents, each a real process, with proxies
// between them that can be cut. Tests say what to break; nothing here judges (package history does) and nothing here is StreamHouse's own code but
// the Go SDK.
// Read: cluster.go, parts.go, postgres.go, snapshot.go, proxy.go, losses.go, network.go.
package cluster

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/e2e/process"
)

// Options of a cluster. The zero value is three zones, an agent in each, one control plane.
type Options struct {
	// Zones, with AgentsPerZone (1) agents each.
	Zones         []string
	AgentsPerZone int
	// ControlPlanes: 1.
	ControlPlanes int
	// SessionDuration: 6 s.
	SessionDuration time.Duration
	// SuspectAfter: 1 min, so that a slow machine causes no takeover. Tests about suspicion make it short.
	SuspectAfter time.Duration
	// Proxied puts a proxy between each agent and each control plane, and between each agent and the bucket.
	Proxied bool
	// Doubled sends every unary call of an agent to a control plane twice. Not together with Proxied.
	Doubled bool
	// Losses make the ways of agents to the control planes and to the bucket lose calls. Not together with Proxied or Doubled.
	Losses *Losses
	// AgentArgs are added to every agent's command line.
	AgentArgs []string
	// ControlPlaneArgs are added to every control plane's.
	ControlPlaneArgs []string
	// AgentGroups besides "default"; StartAgentOf starts agents of them.
	AgentGroups []string
	// Postgres are settings of the database server, as name=value.
	Postgres []string
	// Bin is the folder with the binaries; empty: that of Binaries.
	Bin string
	// Network has the places where the parts run; nil: all on the loopback interface. Not together with Proxied or Doubled.
	Network Network
}

func (o Options) withDefaults() Options {
	if len(o.Zones) == 0 {
		o.Zones = []string{"az-a", "az-b", "az-c"}
	}
	o.AgentsPerZone = cmp.Or(o.AgentsPerZone, 1)
	o.ControlPlanes = cmp.Or(o.ControlPlanes, 1)
	o.SessionDuration = cmp.Or(o.SessionDuration, 6*time.Second)
	o.SuspectAfter = cmp.Or(o.SuspectAfter, time.Minute)
	if o.Network == nil {
		o.Network = loopback{}
	}
	return o
}

// Cluster is a running StreamHouse.
type Cluster struct {
	Options       Options
	Postgres      *Postgres
	S3            *S3
	ControlPlanes []*ControlPlane
	Agents        []*Agent
	// AdminKey and ClientKey are API keys; the client's is of agent group "default".
	AdminKey, ClientKey string

	dir      string
	bin      string
	agentKey string
	proxies  *proxies
}

// startTimeout bounds the start of one part on a slow and busy machine.
const startTimeout = 60 * time.Second

// Start runs a cluster until the test ends.
func Start(t testing.TB, options Options) *Cluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*startTimeout)
	defer cancel()
	c := &Cluster{Options: options.withDefaults(), dir: process.Folder(t), bin: cmp.Or(options.Bin, Binaries(t)), AdminKey: newKey(t)}
	if c.Options.Proxied {
		c.proxies = newProxies(t)
	}
	c.Postgres = startPostgres(ctx, t, c.dir, c.Options)
	c.S3 = c.startS3(ctx, t)
	for i := range c.Options.ControlPlanes {
		zone := c.Options.Zones[i%len(c.Options.Zones)]
		c.ControlPlanes = append(c.ControlPlanes, c.startControlPlane(ctx, t, fmt.Sprintf("controlplane-%d", i+1), zone))
	}
	c.createKeys(ctx, t)
	for _, zone := range c.Options.Zones {
		for i := range c.Options.AgentsPerZone {
			c.StartAgent(ctx, t, fmt.Sprintf("agent-%s-%d", zone, i+1), zone)
		}
	}
	return c
}

// Binaries is the folder with the built binaries: $STREAMHOUSE_BIN, else bin/ of the checkout. Without them the test fails: "make build" makes them.
func Binaries(t testing.TB) string {
	t.Helper()
	dir := cmp.Or(os.Getenv("STREAMHOUSE_BIN"), filepath.Join("..", "..", "bin"), "bin")
	dir, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"streamhouse-agent", "streamhouse-controlplane", "streamhouse-devs3"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Fatalf("%s is not there (%v): run make build, or set STREAMHOUSE_BIN", name, err)
		}
	}
	return dir
}

// newKey makes an API key as the control plane would.
func newKey(t testing.TB) string {
	t.Helper()
	var b [32]byte
	if _, err := rand.Read(b[:]); err != nil {
		t.Fatal(err)
	}
	return "shk_" + base64.RawURLEncoding.EncodeToString(b[:])
}

func (c *Cluster) createKeys(ctx context.Context, t testing.TB) {
	t.Helper()
	admin := c.Client(t, client.WithAPIKey(c.AdminKey)).Admin()
	c.agentKey = CreateKey(ctx, t, admin, client.RoleAgent, "default")
	c.ClientKey = CreateKey(ctx, t, admin, client.RoleClient, "default")
}

// RenewKeys makes new keys for agents and clients, in a catalog that has lost the old ones. Agents use theirs when they are started again.
func (c *Cluster) RenewKeys(ctx context.Context, t testing.TB) {
	t.Helper()
	c.createKeys(ctx, t)
	for _, a := range c.Agents {
		for i, variable := range a.spec.Env {
			if strings.HasPrefix(variable, agentKeyVariable) {
				a.spec.Env[i] = agentKeyVariable + c.agentKey
			}
		}
	}
}

// CreateKey makes an API key and returns its secret.
func CreateKey(ctx context.Context, t testing.TB, admin *client.Admin, role client.Role, agentGroup string) string {
	t.Helper()
	_, secret, err := admin.CreateKey(ctx, "e2e", role, agentGroup)
	if err != nil {
		t.Fatalf("create key: %v", err)
	}
	return secret
}

// Client is an SDK client of the whole cluster, with the client key unless an option says otherwise. It is closed when the test ends.
func (c *Cluster) Client(t testing.TB, options ...client.Option) *client.Client {
	t.Helper()
	all := append([]client.Option{client.WithAPIKey(cmp.Or(c.ClientKey, c.AdminKey))}, c.From("")...)
	var controlPlanes, agents []string
	for _, p := range c.ControlPlanes {
		controlPlanes = append(controlPlanes, p.URL)
	}
	for _, a := range c.Agents {
		agents = append(agents, a.URL)
	}
	if len(agents) > 0 {
		all = append(all, client.WithAgents(agents...))
	}
	all = append(all, client.WithControlPlane(controlPlanes...))
	sdk, err := client.New(append(all, options...)...)
	if err != nil {
		t.Fatalf("client: %v", err)
	}
	t.Cleanup(func() { _ = sdk.Close() })
	return sdk
}

// Admin administers the cluster.
func (c *Cluster) Admin(t testing.TB) *client.Admin {
	t.Helper()
	return c.Client(t, client.WithAPIKey(c.AdminKey)).Admin()
}

// CreateTopic makes a topic of the agent group "default" and waits until each partition has a leader.
func (c *Cluster) CreateTopic(ctx context.Context, t testing.TB, name string, partitions int32, config client.TopicConfig) {
	t.Helper()
	if _, err := c.Admin(t).CreateTopic(ctx, client.NewTopic{Name: name, PartitionCount: partitions, Config: config}); err != nil {
		t.Fatalf("create topic: %v", err)
	}
	c.AwaitLeaders(ctx, t, name, func(l client.Lease) bool { return l.LeaderAgentID != "" })
}

// AwaitLeaders waits until every lease of the topic is as wanted, and returns them.
func (c *Cluster) AwaitLeaders(ctx context.Context, t testing.TB, topic string, want func(client.Lease) bool) []client.Lease {
	t.Helper()
	admin := c.Admin(t)
	for {
		leases, err := admin.ListLeases(ctx, client.LeaseFilter{Topic: topic})
		if err == nil && all(leases, want) {
			return leases
		}
		select {
		case <-ctx.Done():
			t.Fatalf("leaders of %s: %v; last seen %+v", topic, cmp.Or(err, context.Cause(ctx)), leases)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func all(leases []client.Lease, want func(client.Lease) bool) bool {
	for _, l := range leases {
		if !want(l) {
			return false
		}
	}
	return len(leases) > 0
}

// Agent finds an agent by its id.
func (c *Cluster) Agent(t testing.TB, id string) *Agent {
	t.Helper()
	for _, a := range c.Agents {
		if a.ID == id {
			return a
		}
	}
	t.Fatalf("no agent %q", id)
	return nil
}
