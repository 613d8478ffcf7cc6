package access_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/e2e/cluster"
	"github.com/streamhouse/streamhouse/e2e/wire"
	accessv1 "github.com/streamhouse/streamhouse/gen/streamhouse/access/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

const (
	// patience is exceeded by a hang alone.
	patience = 3 * time.Minute
	// The two agent groups, each with an agent and a topic.
	home, away           = "default", "other"
	homeTopic, awayTopic = "at-home", "away"
)

// suite is a cluster of two agent groups.
type suite struct {
	*cluster.Cluster

	homeAgent, awayAgent *cluster.Agent
	// keys by agent group and role; admins are of none.
	keys map[string]map[client.Role]string
}

func TestAccess(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel) // after the parallel subtests
	s := start(ctx, t)
	for name, test := range map[string]func(context.Context, *testing.T, *suite){
		"every RPC in every role":                         everyRole,
		"P7: clients of another agent group at the agent": otherClients,
		"P7: agents of another agent group":               otherAgents,
		"P7: what clients see of the control plane":       visible,
		"a client whose key is revoked":                   revoked,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(ctx, t, s)
		})
	}
}

func start(ctx context.Context, t *testing.T) *suite {
	t.Helper()
	c := cluster.Start(t, cluster.Options{Zones: []string{"az-a"}, SessionDuration: 30 * time.Second, AgentGroups: []string{away}})
	s := &suite{Cluster: c, homeAgent: c.Agents[0], keys: map[string]map[client.Role]string{home: {}, away: {}, "": {client.RoleAdmin: c.AdminKey}}}
	for _, group := range []string{home, away} {
		for _, role := range []client.Role{client.RoleAgent, client.RoleClient} {
			s.keys[group][role] = cluster.CreateKey(ctx, t, c.Admin(t), role, group)
		}
	}
	s.awayAgent = c.StartAgentOf(ctx, t, "agent-away", "az-a", away, s.keys[away][client.RoleAgent])
	for topic, group := range map[string]string{homeTopic: home, awayTopic: away} {
		if _, err := c.Admin(t).CreateTopic(ctx, client.NewTopic{Name: topic, PartitionCount: 1, AgentGroup: group}); err != nil {
			t.Fatal(err)
		}
		c.AwaitLeaders(ctx, t, topic, func(l client.Lease) bool { return l.LeaderAgentID != "" })
	}
	return s
}

// reasonOf is why a call was refused; 0: it was not.
func reasonOf(ctx context.Context, t *testing.T, url, key string, m protoreflect.MethodDescriptor, request proto.Message) (refusalv1.Reason, connect.Code) {
	t.Helper()
	err := wire.Call(ctx, wire.Dial(t, wire.Suited(m), url, key), m, request, wire.Response(m))
	if err == nil {
		return 0, 0
	}
	return wire.Refusal(err).GetReason(), connect.CodeOf(err)
}

func allowed(m protoreflect.MethodDescriptor) []accessv1.Role {
	roles, _ := proto.GetExtension(m.Options(), accessv1.E_AllowedRoles).([]accessv1.Role)
	return roles
}

// everyRole knocks at every door of an agent, as every role, with an empty request: what matters is whether the door opens.
func everyRole(ctx context.Context, t *testing.T, s *suite) {
	all := wire.Methods("streamhouse.dataplane.v1")
	if len(all) < 7 {
		t.Fatalf("only %d RPCs", len(all))
	}
	roles := map[accessv1.Role]string{
		accessv1.Role_ROLE_ADMIN: s.AdminKey, accessv1.Role_ROLE_AGENT: s.keys[home][client.RoleAgent], accessv1.Role_ROLE_CLIENT: s.keys[home][client.RoleClient],
	}
	strangers := map[string]string{
		"no key": "", "a malformed key": "hunter2", "an unknown key": "shk_" + "0123456789012345678901234567890123456789abc",
	}
	for _, m := range all {
		if len(allowed(m)) == 0 {
			t.Errorf("%s declares no roles", m.FullName())
		}
		empty := dynamicpb.NewMessage(m.Input())
		for role, key := range roles {
			reason, code := reasonOf(ctx, t, s.homeAgent.URL, key, m, empty)
			open := slices.Contains(allowed(m), role)
			if shut := reason == refusalv1.Reason_REASON_MISSING_ROLE && code == connect.CodePermissionDenied; shut == open {
				t.Errorf("%s as %v: %v, %v", m.FullName(), role, reason, code)
			}
			if open && (reason == refusalv1.Reason_REASON_UNAUTHENTICATED || reason == refusalv1.Reason_REASON_WRONG_AGENT_GROUP || reason == refusalv1.Reason_REASON_INTERNAL) {
				t.Errorf("%s as %v: %v", m.FullName(), role, reason)
			}
		}
		for who, key := range strangers {
			if reason, code := reasonOf(ctx, t, s.homeAgent.URL, key, m, empty); reason != refusalv1.Reason_REASON_UNAUTHENTICATED || code != connect.CodeUnauthenticated {
				t.Errorf("%s with %s: %v, %v", m.FullName(), who, reason, code)
			}
		}
	}
}
