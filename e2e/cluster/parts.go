package cluster

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/streamhouse/streamhouse/e2e/process"
)

// agentKeyVariable begins what tells an agent its key.
const agentKeyVariable = "STREAMHOUSE_AGENT_KEY="

// S3 is the bucket's server.
type S3 struct {
	*process.Process
	Endpoint             string
	Bucket               string
	AccessKey, SecretKey string
	// Dir has the bucket's objects as files.
	Dir string

	place
	spec process.Spec
}

// ControlPlane is one replica.
type ControlPlane struct {
	*process.Process
	ID, Zone string
	URL      string

	place
	spec process.Spec
}

// Agent is one agent. Control and Bucket are its ways to the control planes and to the bucket, if the cluster is proxied.
type Agent struct {
	*process.Process
	ID, Zone, URL string
	Control       []*Proxy
	Bucket        *Proxy

	place
	spec process.Spec
}

func (c *Cluster) startS3(ctx context.Context, t testing.TB) *S3 {
	t.Helper()
	address := c.address(t, "")
	s := &S3{place: c.place(""), Endpoint: "http://" + address, Bucket: "streamhouse", Dir: process.Subfolder(t, c.dir, "s3", false)}
	s.AccessKey, s.SecretKey = "e2e", "e2e-secret-key" // of a server that lives as long as the test
	s.spec = process.Spec{
		Name: "s3", Path: filepath.Join(c.bin, "streamhouse-devs3"), Log: filepath.Join(c.dir, "s3.log"),
		Args: []string{"serve", "--listen", address, "--data-dir", s.Dir}, Enter: s.enter,
		Env: []string{"STREAMHOUSE_DEVS3_BUCKET=" + s.Bucket, "STREAMHOUSE_DEVS3_ACCESS_KEY=" + s.AccessKey, "STREAMHOUSE_DEVS3_SECRET_KEY=" + s.SecretKey},
	}
	s.Start(ctx, t)
	return s
}

// Start runs the server, again after it has ended.
func (s *S3) Start(ctx context.Context, t testing.TB) {
	t.Helper()
	s.Process = process.Start(t, s.spec)
	ready(ctx, t, s.Process, func(ctx context.Context) error { return s.answers(ctx, s.Endpoint+"/healthz") })
}

func (c *Cluster) startControlPlane(ctx context.Context, t testing.TB, id, zone string) *ControlPlane {
	t.Helper()
	address := c.address(t, zone)
	p := &ControlPlane{ID: id, Zone: zone, URL: "http://" + address, place: c.place(zone)}
	p.spec = process.Spec{
		Name: id, Path: filepath.Join(c.bin, "streamhouse-controlplane"), Log: filepath.Join(c.dir, id+".log"),
		Args: append([]string{
			"serve", "--listen", address, "--session-duration", c.Options.SessionDuration.String(),
			"--suspect-after", c.Options.SuspectAfter.String(), "--agent-groups", strings.Join(append([]string{"default"}, c.Options.AgentGroups...), ","),
		}, c.Options.ControlPlaneArgs...),
		Enter: p.enter,
		Env:   []string{"STREAMHOUSE_DATABASE_URL=" + c.Postgres.URL, "STREAMHOUSE_BOOTSTRAP_ADMIN_KEY=" + c.AdminKey},
	}
	p.Start(ctx, t)
	return p
}

// Use takes the binary from another folder at the next Start: another release.
func (p *ControlPlane) Use(bin string) { p.spec.Path = filepath.Join(bin, filepath.Base(p.spec.Path)) }

// Launch runs the replica as Start does, with this added to its environment, and waits for nothing: it may end before it serves.
func (p *ControlPlane) Launch(t testing.TB, env ...string) {
	t.Helper()
	p.Process = process.Start(t, with(p.spec, env))
}

// with is the spec with something added to the environment.
func with(spec process.Spec, env []string) process.Spec {
	spec.Env = slices.Concat(spec.Env, env)
	return spec
}

// Start runs the replica, again after it has ended, under the same address, with this added to its environment.
func (p *ControlPlane) Start(ctx context.Context, t testing.TB, env ...string) {
	t.Helper()
	p.Launch(t, env...)
	ready(ctx, t, p.Process, func(ctx context.Context) error { return p.answers(ctx, p.URL+"/readyz") })
}

// StartAgent adds an agent to the cluster and waits until it serves.
func (c *Cluster) StartAgent(ctx context.Context, t testing.TB, id, zone string) *Agent {
	t.Helper()
	a := c.newAgent(t, id, zone, "default", c.agentKey)
	c.Agents = append(c.Agents, a)
	a.Start(ctx, t)
	return a
}

// StartAgentOf is StartAgent for an agent group other than "default", with an agent key of that group. It is not added to Agents.
func (c *Cluster) StartAgentOf(ctx context.Context, t testing.TB, id, zone, agentGroup, key string) *Agent {
	t.Helper()
	a := c.newAgent(t, id, zone, agentGroup, key)
	a.Start(ctx, t)
	return a
}

// newAgent describes an agent without starting it.
func (c *Cluster) newAgent(t testing.TB, id, zone, agentGroup, key string) *Agent {
	t.Helper()
	address := c.address(t, zone)
	a := &Agent{ID: id, Zone: zone, URL: "http://" + address, place: c.place(zone)}
	bucket := c.S3.Endpoint
	controlPlanes := c.controlPlanesFrom(zone)
	if c.Options.Doubled {
		for i, p := range controlPlanes {
			controlPlanes[i] = newDoubler(t, p)
		}
	}
	if c.Options.Losses != nil {
		for i, p := range controlPlanes {
			controlPlanes[i] = newWay(t, c.Options.Losses, p, true)
		}
		bucket = newWay(t, c.Options.Losses, bucket, false)
	}
	if c.proxies != nil {
		for i, p := range controlPlanes {
			proxy := c.proxies.add(t, fmt.Sprintf("%s-control-%d", id, i), p)
			a.Control = append(a.Control, proxy)
			controlPlanes[i] = proxy.URL
		}
		a.Bucket = c.proxies.add(t, id+"-bucket", bucket)
		bucket = a.Bucket.URL
	}
	a.spec = process.Spec{
		Name: id, Path: filepath.Join(c.bin, "streamhouse-agent"), Log: filepath.Join(c.dir, id+".log"),
		Args: append([]string{
			"serve", "--agent-id", id, "--zone", zone, "--agent-group", agentGroup, "--listen", address,
			"--advertised-address", a.URL, "--control-plane", strings.Join(controlPlanes, ","), "--s3-endpoint", bucket, "--s3-path-style",
			"--s3-bucket", c.S3.Bucket, "--s3-region", "us-east-1",
			"--puts-per-second", "1000", "--put-burst", "1000", // these tests wait for each acknowledgement, and nobody pays
		}, c.Options.AgentArgs...),
		Enter: a.enter,
		Env:   []string{agentKeyVariable + key, "STREAMHOUSE_S3_ACCESS_KEY=" + c.S3.AccessKey, "STREAMHOUSE_S3_SECRET_KEY=" + c.S3.SecretKey},
	}
	return a
}

// Use takes the binary from another folder at the next Start: another release.
func (a *Agent) Use(bin string) { a.spec.Path = filepath.Join(bin, filepath.Base(a.spec.Path)) }

// Launch runs the agent as Start does, with this added to its environment, and waits for nothing: it may end before it serves.
func (a *Agent) Launch(t testing.TB, env ...string) {
	t.Helper()
	a.Process = process.Start(t, with(a.spec, env))
}

// Start runs the agent, again after it has ended, under the same id and address.
func (a *Agent) Start(ctx context.Context, t testing.TB) {
	t.Helper()
	a.Launch(t)
	ready(ctx, t, a.Process, func(ctx context.Context) error { return a.answers(ctx, a.URL+"/readyz") })
}

func ready(ctx context.Context, t testing.TB, p *process.Process, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := p.Ready(ctx, check); err != nil {
		t.Fatal(err)
	}
}
