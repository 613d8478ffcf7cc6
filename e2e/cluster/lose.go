package cluster

import (
	"context"
	"testing"
)

// LoseCatalog drops all tables, and brings the cluster up again with an empty catalog and new keys. The bucket stays as it is.
func (c *Cluster) LoseCatalog(ctx context.Context, t testing.TB) {
	t.Helper()
	for _, a := range c.Agents {
		a.Kill()
	}
	for _, p := range c.ControlPlanes {
		p.Kill()
	}
	c.Postgres.SQL(ctx, t, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
	for _, p := range c.ControlPlanes {
		p.Start(ctx, t)
	}
	c.RenewKeys(ctx, t)
	for _, a := range c.Agents {
		a.Start(ctx, t)
	}
}
