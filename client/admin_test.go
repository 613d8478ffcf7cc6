package client

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"connectrpc.com/connect/v2"

	"github.com/streamhouse/streamhouse/client/internal/fakecluster"
)

func TestAdmin(t *testing.T) {
	bubble(t, []string{"a1/z1", "a2/z2"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		ctx, a := t.Context(), c.Admin()
		for i := range 2500 { // three pages
			if _, err := a.CreateTopic(ctx, NewTopic{Name: fmt.Sprintf("t%04d", i), PartitionCount: 2}); err != nil {
				t.Fatal(err)
			}
		}
		topics, err := a.ListTopics(ctx)
		if err != nil || len(topics) != 2500 || topics[2499].Name != "t2499" || topics[7].PartitionCount != 2 {
			t.Fatalf("%d topics, %v", len(topics), err)
		}
		leases, err := a.ListLeases(ctx, LeaseFilter{})
		if err != nil || len(leases) != 5000 || leases[4999].Topic != "t2499" || leases[4999].LeaderAgentID != "a2" {
			t.Fatalf("%d leases, %v", len(leases), err)
		}
		if leases, err := a.ListLeases(ctx, LeaseFilter{Topic: "t0001", LeaderAgentID: "a1"}); err != nil || len(leases) != 1 {
			t.Errorf("%v, %v", leases, err)
		}
		if _, err := a.CreateTopic(ctx, NewTopic{Name: "t0000", PartitionCount: 1}); !errors.Is(err, ReasonTopicExists) {
			t.Errorf("again: %v", err)
		}
		_, err = a.CreateTopic(ctx, NewTopic{Name: "none"})
		if e, _ := errors.AsType[*Error](err); !errors.Is(err, ReasonInvalid) || e.Field != "partition_count" || e.Written != WrittenNothing {
			t.Errorf("no partitions: %v", err)
		}
		yes := true
		if topic, err := a.UpdateTopic(ctx, "t0000", TopicConfig{AllowBufferedAcks: &yes}); err != nil || !topic.AllowBufferedAcks {
			t.Errorf("update: %+v, %v", topic, err)
		}
		if topic, err := a.AddPartitions(ctx, "t0000", 2); err != nil || topic.PartitionCount != 2 {
			t.Errorf("as many partitions: %+v, %v", topic, err)
		}
		topic, partitions, err := a.DescribeTopic(ctx, "t0000")
		if err != nil || !topic.AllowBufferedAcks || topic.MaxRecordBytes != 1<<20 || len(partitions) != 2 || partitions[1].LeaderZone != "z2" {
			t.Errorf("describe: %+v, %+v, %v", topic, partitions, err)
		}
		if id, err := a.DeleteTopic(ctx, "t0000"); err != nil || id != topic.ID {
			t.Errorf("delete: %s, %v", id, err)
		}
		if _, _, err := a.DescribeTopic(ctx, "t0000"); !errors.Is(err, ReasonUnknownTopic) {
			t.Errorf("deleted: %v", err)
		}
		f.Kill("a2")
		agents, err := a.ListAgents(ctx, "")
		if err != nil || len(agents) != 2 || agents[0].State != AgentLive || agents[1].State != AgentEnded {
			t.Errorf("agents: %+v, %v", agents, err)
		}
	})
}

func TestAdminKeys(t *testing.T) {
	bubble(t, []string{"a1"}, func(t *testing.T, _ *fakecluster.Cluster, c *Client) {
		ctx, a := t.Context(), c.Admin()
		key, secret, err := a.CreateKey(ctx, "mine", RoleClient, "default")
		if err != nil || secret == "" || key.Role != RoleClient || !key.RevokedAt.IsZero() {
			t.Fatalf("%+v, %q, %v", key, secret, err)
		}
		if revoked, err := a.RevokeKey(ctx, key.ID); err != nil || revoked.RevokedAt.IsZero() {
			t.Errorf("%+v, %v", revoked, err)
		}
		if keys, err := a.ListKeys(ctx); err != nil || len(keys) != 1 || keys[0].RevokedAt.IsZero() {
			t.Errorf("%+v, %v", keys, err)
		}
		if _, err := a.RevokeKey(ctx, "00000000-0000-4000-8000-00000000ffff"); !errors.Is(err, ReasonUnknownKey) {
			t.Errorf("got %v", err)
		}
	})
}

// failing is a control plane that breaks the connection, before or after it has done what it was asked.
type failing struct {
	connect.Transport

	calls *int
}

func (f failing) NewClientStream(context.Context, connect.Spec) (connect.ClientStream, error) {
	*f.calls++
	return nil, connect.NewError(connect.CodeUnavailable, "broken")
}

func TestAdminGoesToTheNextControlPlane(t *testing.T) {
	bubble(t, []string{"a1"}, func(t *testing.T, f *fakecluster.Cluster, _ *Client) {
		broken := 0
		dial := func(url string) connect.Transport {
			if url == "http://broken" {
				return failing{calls: &broken}
			}
			return f.Dial(url)
		}
		c, err := New(WithControlPlane("http://dead", "http://broken", fakecluster.ControlPlaneURL), WithTransport(dial))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Admin().ListTopics(t.Context()); err != nil || broken != 1 {
			t.Errorf("list: %v after %d broken calls", err, broken)
		}
		_, err = c.Admin().CreateTopic(t.Context(), NewTopic{Name: "t", PartitionCount: 1})
		if !errors.Is(err, ReasonNoAnswer) || broken != 2 {
			t.Errorf("create: %v after %d broken calls: it may have been done", err, broken)
		}
	})
}

func TestMissingAddressesAreNamed(t *testing.T) {
	c, err := New()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Admin().ListTopics(t.Context()); !errors.Is(err, ReasonMisconfigured) {
		t.Errorf("no control plane: %v", err)
	}
	if _, err := c.Metadata(t.Context()); !errors.Is(err, ReasonMisconfigured) {
		t.Errorf("no agent: %v", err)
	}
	if _, err := New(WithAgents("localhost:8080")); !errors.Is(err, ReasonMisconfigured) {
		t.Errorf("no scheme: %v", err)
	}
	for _, o := range []ProducerOption{
		WithBatchBytes(1), WithBufferBytes(1), WithLinger(-1), WithDeliveryTimeout(0), WithAcks(7),
	} {
		if _, err := c.NewProducer(o); !errors.Is(err, ReasonMisconfigured) {
			t.Errorf("got %v, want misconfigured", err)
		}
	}
}
