package client

import (
	"context"
	"reflect"
	"testing"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectinprocess"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1/controlplanev1connect"
)

// fullCluster answers with messages in which every field is set.
type fullCluster struct {
	controlplanev1connect.UnimplementedClusterServiceHandler
	controlplanev1connect.UnimplementedTopicServiceHandler
	controlplanev1connect.UnimplementedAgentGroupServiceHandler

	asked proto.Message // the last request that changes something
}

func (f *fullCluster) ListAgents(context.Context, *controlplanev1.ListAgentsRequest) (*controlplanev1.ListAgentsResponse, error) {
	return full(&controlplanev1.ListAgentsResponse{}), nil
}

func (f *fullCluster) DescribeAgent(context.Context, *controlplanev1.DescribeAgentRequest) (*controlplanev1.DescribeAgentResponse, error) {
	return full(&controlplanev1.DescribeAgentResponse{}), nil
}

func (f *fullCluster) DrainAgent(_ context.Context, r *controlplanev1.DrainAgentRequest) (*controlplanev1.DrainAgentResponse, error) {
	f.asked = r
	return full(&controlplanev1.DrainAgentResponse{}), nil
}

func (f *fullCluster) TransferLease(_ context.Context, r *controlplanev1.TransferLeaseRequest) (*controlplanev1.TransferLeaseResponse, error) {
	f.asked = r
	return full(&controlplanev1.TransferLeaseResponse{}), nil
}

func (f *fullCluster) ExplainPlacement(
	_ context.Context, r *controlplanev1.ExplainPlacementRequest,
) (*controlplanev1.ExplainPlacementResponse, error) {
	f.asked = r
	return full(&controlplanev1.ExplainPlacementResponse{}), nil
}

func (f *fullCluster) GetClusterStatus(
	context.Context, *controlplanev1.GetClusterStatusRequest,
) (*controlplanev1.GetClusterStatusResponse, error) {
	return full(&controlplanev1.GetClusterStatusResponse{}), nil
}

func (f *fullCluster) UpdateTopic(_ context.Context, r *controlplanev1.UpdateTopicRequest) (*controlplanev1.UpdateTopicResponse, error) {
	f.asked = r
	return full(&controlplanev1.UpdateTopicResponse{}), nil
}

func (f *fullCluster) CreateAgentGroup(
	_ context.Context, r *controlplanev1.CreateAgentGroupRequest,
) (*controlplanev1.CreateAgentGroupResponse, error) {
	f.asked = r
	return full(&controlplanev1.CreateAgentGroupResponse{}), nil
}

func (f *fullCluster) ListAgentGroups(
	context.Context, *controlplanev1.ListAgentGroupsRequest,
) (*controlplanev1.ListAgentGroupsResponse, error) {
	return full(&controlplanev1.ListAgentGroupsResponse{}), nil
}

func (f *fullCluster) DeleteAgentGroup(
	_ context.Context, r *controlplanev1.DeleteAgentGroupRequest,
) (*controlplanev1.DeleteAgentGroupResponse, error) {
	f.asked = r
	return &controlplanev1.DeleteAgentGroupResponse{}, nil
}

// full sets every field of a message, however deep, to something that is not its zero value.
func full[M proto.Message](m M) M {
	fillMessage(m.ProtoReflect())
	return m
}

func fillMessage(m protoreflect.Message) {
	for i := range m.Descriptor().Fields().Len() {
		f := m.Descriptor().Fields().Get(i)
		switch {
		case f.IsList() && f.Message() != nil:
			fillMessage(m.Mutable(f).List().AppendMutable().Message())
		case f.IsList():
			m.Mutable(f).List().Append(filled(f))
		case f.Message() != nil:
			fillMessage(m.Mutable(f).Message())
		default:
			m.Set(f, filled(f))
		}
	}
}

func filled(f protoreflect.FieldDescriptor) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(string(f.Name()))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(1)
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(f.Number()))
	default:
		return protoreflect.ValueOfInt64(int64(f.Number()))
	}
}

// complete fails for every field that an answer sets and the SDK lost.
func complete(t *testing.T, what string, got any, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	walk(t, what, reflect.ValueOf(got))
}

func walk(t *testing.T, path string, v reflect.Value) {
	t.Helper()
	if v.IsZero() || (v.Kind() == reflect.Slice && v.Len() != 1) {
		t.Errorf("%s is lost: %v", path, v)
		return
	}
	switch {
	case v.Kind() == reflect.Slice:
		walk(t, path+"[0]", v.Index(0))
	case v.Kind() == reflect.Struct && v.Type().PkgPath() != "time":
		for i := range v.NumField() {
			walk(t, path+"."+v.Type().Field(i).Name, v.Field(i))
		}
	}
}

func fullAdmin(t *testing.T) (*fullCluster, *Admin) {
	t.Helper()
	f, s := &fullCluster{}, connect.NewServer()
	controlplanev1connect.RegisterClusterServiceHandler(s, f)
	controlplanev1connect.RegisterTopicServiceHandler(s, f)
	controlplanev1connect.RegisterAgentGroupServiceHandler(s, f)
	c, err := New(WithControlPlane("http://full"), WithTransport(func(string) connect.Transport { return connectinprocess.New(s) }))
	if err != nil {
		t.Fatal(err)
	}
	return f, c.Admin()
}

func TestAdminLosesNoField(t *testing.T) {
	t.Parallel()
	_, a := fullAdmin(t)
	ctx := t.Context()
	agents, err := a.ListAgents(ctx, "")
	complete(t, "agents", agents, err)
	agent, err := a.DescribeAgent(ctx, "a1")
	complete(t, "agent", agent, err)
	drain, err := a.DrainAgent(ctx, "a1", true)
	complete(t, "drain", drain, err)
	lease, err := a.TransferLease(ctx, "orders", 3, "a1")
	complete(t, "lease", lease, err)
	placement, err := a.ExplainPlacement(ctx, "orders", 3)
	complete(t, "placement", placement, err)
	status, err := a.ClusterStatus(ctx)
	complete(t, "status", status, err)
	topic, err := a.UpdateTopic(ctx, "orders", TopicConfig{})
	complete(t, "topic", topic, err)
	group, err := a.CreateAgentGroup(ctx, "staging")
	complete(t, "agent group", group, err)
	groups, err := a.ListAgentGroups(ctx)
	complete(t, "agent groups", groups, err)
}

func TestAdminSendsWhatWasAsked(t *testing.T) {
	t.Parallel()
	f, a := fullAdmin(t)
	ctx := t.Context()
	zones, none := []string{"z1", "z2"}, []string{}
	for _, c := range []struct {
		call func() error
		want proto.Message
	}{
		{
			func() error { _, err := a.DrainAgent(ctx, "a1", true); return err },
			&controlplanev1.DrainAgentRequest{AgentId: "a1", DryRun: true},
		},
		{
			func() error { _, err := a.TransferLease(ctx, "orders", 3, "a1"); return err },
			&controlplanev1.TransferLeaseRequest{Topic: "orders", Partition: 3, ToAgentId: "a1"},
		},
		{
			func() error { _, err := a.ExplainPlacement(ctx, "orders", 3); return err },
			&controlplanev1.ExplainPlacementRequest{Topic: "orders", Partition: 3},
		},
		{
			func() error { _, err := a.CreateAgentGroup(ctx, "staging"); return err },
			&controlplanev1.CreateAgentGroupRequest{AgentGroup: "staging"},
		},
		{
			func() error { return a.DeleteAgentGroup(ctx, "staging") },
			&controlplanev1.DeleteAgentGroupRequest{AgentGroup: "staging"},
		},
		{
			func() error { _, err := a.UpdateTopic(ctx, "orders", TopicConfig{PreferredZones: &zones}); return err },
			&controlplanev1.UpdateTopicRequest{Name: "orders", Config: &controlplanev1.TopicConfig{
				PreferredZones: &controlplanev1.PreferredZones{Zones: zones},
			}},
		},
		{
			func() error { _, err := a.UpdateTopic(ctx, "orders", TopicConfig{PreferredZones: &none}); return err },
			&controlplanev1.UpdateTopicRequest{Name: "orders", Config: &controlplanev1.TopicConfig{
				PreferredZones: &controlplanev1.PreferredZones{},
			}},
		},
		{
			func() error { _, err := a.UpdateTopic(ctx, "orders", TopicConfig{}); return err },
			&controlplanev1.UpdateTopicRequest{Name: "orders", Config: &controlplanev1.TopicConfig{}},
		},
	} {
		if err := c.call(); err != nil || !proto.Equal(f.asked, c.want) {
			t.Errorf("asked %v, %v; want %v", f.asked, err, c.want)
		}
	}
}
