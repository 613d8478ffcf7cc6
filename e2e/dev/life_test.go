package dev_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"syscall"
	"testing"
)

// One dev from its first start through everything that may happen to it.
func TestLife(t *testing.T) {
	t.Parallel()
	d, ctx := newDev(t, "--controlplanes", "2", "--session-duration", "5s"), bounded(t)
	first := d.up(ctx, t)
	first.check(t)
	d.checkStatus(ctx, t, first)
	if r := d.Run(ctx, t, nil, append(d.args, "--detach")...); r.Status != 1 || !strings.Contains(string(r.Stderr), "dev") {
		t.Errorf("a second dev in the same data dir: %s", r)
	}
	d.Must(ctx, t, "topic", "create", "orders", "--partitions", "6")
	d.produce(ctx, t, "orders", 0, 1000)
	d.agentKilled(ctx, t, first)
	d.expectLines(ctx, t, "orders", 1000)
	d.down(ctx, t)
	if r := d.Run(ctx, t, nil, "dev", "down"); r.Status != 0 {
		t.Errorf("down once more: %s", r)
	}
	if r := d.Run(ctx, t, nil, "dev", "status"); r.Status != 1 {
		t.Errorf("status when nothing runs: %s", r)
	}
	d.restarted(ctx, t, first)
	d.everythingKilled(ctx, t, first)
	d.down(ctx, t)
}

// check looks at what cli.md promises of dev.json.
func (c *cluster) check(t *testing.T) {
	t.Helper()
	if len(c.ControlPlanes) != 2 || len(c.Agents) != 3 || c.Postgres.PID == 0 || c.S3.PID == 0 || c.S3.Bucket == "" || c.S3.AccessKey == "" ||
		c.S3.SecretKey == "" || c.S3.Region == "" || !strings.HasPrefix(c.APIKey, "shk_") ||
		c.ConsoleURL == nil || *c.ConsoleURL != c.ControlPlanes[0].URL+"/console/#key="+c.APIKey {
		t.Errorf("dev.json lacks something: %+v", c)
	}
	addresses := []string{c.Postgres.URL, c.S3.Endpoint}
	pids := map[int]bool{c.Postgres.PID: true, c.S3.PID: true}
	for _, p := range append(c.ControlPlanes, c.Agents...) {
		addresses = append(addresses, p.URL)
		pids[p.PID] = true
		if p.ID == "" || p.PID == 0 {
			t.Errorf("dev.json has the part %+v", p)
		}
	}
	if len(pids) != 7 {
		t.Errorf("not every part is a process of its own: %v", pids)
	}
	for _, address := range addresses {
		if u, err := url.Parse(address); err != nil || u.Hostname() != "127.0.0.1" || u.Port() == "" {
			t.Errorf("%q is beyond loopback", address)
		}
	}
	for i, zone := range []string{"az-a", "az-b", "az-c"} {
		if a := c.Agents[i]; a.Zone != zone || a.AgentGroup != "default" {
			t.Errorf("agent %d is %+v", i, a)
		}
	}
}

// checkStatus compares `dev status` with dev.json.
func (d *dev) checkStatus(ctx context.Context, t *testing.T, c cluster) {
	t.Helper()
	status := d.status(ctx, t)
	for _, p := range append(c.ControlPlanes, c.Agents...) {
		if s := status[p.ID]; s.State != "running" || s.PID != p.PID || s.URL != p.URL {
			t.Errorf("%+v has the status %+v", p, s)
		}
	}
	if len(status) != 7 || status["postgres"].PID != c.Postgres.PID || status["s3"].PID != c.S3.PID {
		t.Errorf("the status is %+v", status)
	}
}

// agentKilled kills an agent: that is told, nobody restarts it, and it comes back under its id and address when asked for.
func (d *dev) agentKilled(ctx context.Context, t *testing.T, c cluster) {
	t.Helper()
	victim := c.Agents[1]
	kill(t, victim.PID)
	await(ctx, t, "the death is in the status", func() bool { return d.status(ctx, t)[victim.ID].State == "exited" })
	if s := d.status(ctx, t)[victim.ID]; !strings.Contains(s.Reason, "kill") || s.PID != 0 {
		t.Errorf("the status of the dead is %+v", s)
	}
	await(ctx, t, "the dead one is not in dev.json", func() bool { return len(d.read(t).Agents) == 2 })
	var back part
	d.JSON(ctx, t, &back, "dev", "agent", "start", "--id", victim.ID)
	if back.ID != victim.ID || back.URL != victim.URL || back.Zone != victim.Zone || back.PID == victim.PID || back.PID == 0 {
		t.Errorf("%+v came back as %+v", victim, back)
	}
	if r := d.Run(ctx, t, nil, "dev", "agent", "start", "--id", victim.ID); r.Status != 1 {
		t.Errorf("starting it while it runs: %s", r)
	}
	if agents := d.read(t).Agents; len(agents) != 3 || agents[1].PID != back.PID {
		t.Errorf("dev.json has %+v", agents)
	}
	d.epochs(ctx, t, "orders", func(string) bool { return true })
}

// restarted starts it again after a stop: same addresses, same key, same topics, same records.
func (d *dev) restarted(ctx context.Context, t *testing.T, first cluster) {
	t.Helper()
	d.expectSame(ctx, t, first, d.up(ctx, t), 1000)
	d.produce(ctx, t, "orders", 1000, 1500)
}

func (d *dev) expectSame(ctx context.Context, t *testing.T, first, now cluster, lines int) {
	t.Helper()
	now.check(t)
	if now.APIKey != first.APIKey || now.Postgres.URL != first.Postgres.URL || now.S3.Endpoint != first.S3.Endpoint {
		t.Errorf("there was %+v, is %+v", first, now)
	}
	for i, a := range now.Agents {
		if a.ID != first.Agents[i].ID || a.URL != first.Agents[i].URL {
			t.Errorf("there was %+v, is %+v", first.Agents[i], a)
		}
	}
	d.expectLines(ctx, t, "orders", lines)
}

// everythingKilled kills all parts and who watches over them, and starts again.
func (d *dev) everythingKilled(ctx context.Context, t *testing.T, first cluster) {
	t.Helper()
	pids := d.processes(t)
	if len(pids) < 8 {
		t.Errorf("only %d processes name the data dir", len(pids))
	}
	for _, pid := range pids { // some die of another's death
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Fatal(err)
		}
	}
	await(ctx, t, "all are dead", func() bool { return len(d.processes(t)) == 0 })
	if r := d.Run(ctx, t, nil, "dev", "status"); r.Status != 1 {
		t.Errorf("status when all are dead: %s", r)
	}
	d.expectSame(ctx, t, first, d.up(ctx, t), 1500)
}
