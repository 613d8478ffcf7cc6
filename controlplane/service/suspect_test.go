package service_test

import (
	"context"
	"net"
	"testing"
	"time"

	accessv1 "github.com/streamhouse/streamhouse/gen/streamhouse/access/v1"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/pgtest"
)

// watching registers an agent at an address, opens its watch and returns what breaks it.
func (r *replica) watching(id, address string) (breaks func()) {
	r.t.Helper()
	api := r.agents(r.key(accessv1.Role_ROLE_AGENT, "default"))
	registered, err := api.Register(r.t.Context(), &controlplanev1.RegisterRequest{
		AgentId: id, AgentGroup: "default", Zone: "az-a", Address: address, Version: "test",
	})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	stream, err := api.Watch(ctx, &controlplanev1.WatchRequest{SessionId: registered.GetSessionId()})
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := stream.Receive(); err != nil {
		r.t.Fatal(err)
	}
	return func() {
		cancel()
		_ = stream.Close()
	}
}

// state is what the cluster shows of an agent.
func (r *replica) state(id string) controlplanev1.AgentState {
	r.t.Helper()
	listed, err := r.cluster(r.admin).ListAgents(r.t.Context(), &controlplanev1.ListAgentsRequest{})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, a := range listed.GetAgents() {
		if a.GetAgentId() == id {
			return a.GetState()
		}
	}
	return controlplanev1.AgentState_AGENT_STATE_UNSPECIFIED
}

// refusing is an address that refuses connections.
const refusing = "http://127.0.0.1:1"

// soon bounds what comes at once, on a slow machine.
const soon = 20 * time.Second

func (r *replica) awaitState(id string, want controlplanev1.AgentState) {
	r.t.Helper()
	for deadline := time.Now().Add(soon); r.state(id) != want; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("agent %s is %v", id, r.state(id))
		}
	}
}

// A watch breaks: whose address refuses connections becomes suspect at once, whose accepts does not, answered or not.
func TestABrokenWatchAndARefusedConnectionMakeASuspect(t *testing.T) {
	t.Parallel()
	r := serve(t, configure(pgtest.URL(t)))
	silent, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0") // as a stopped process: accepts, and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	for _, breaks := range []func(){
		r.watching("dead", refusing), r.watching("stopped", "http://"+silent.Addr().String()), r.watching("cut-off", r.url),
	} {
		breaks()
	}
	r.awaitState("dead", controlplanev1.AgentState_AGENT_STATE_SUSPECT)
	time.Sleep(time.Second) // longer than an address is asked
	for _, id := range []string{"stopped", "cut-off"} {
		if state := r.state(id); state != controlplanev1.AgentState_AGENT_STATE_LIVE {
			t.Errorf("agent %s is %v", id, state)
		}
	}
}

// A replica that stops breaks its watches itself: that is no reason to suspect anyone.
func TestAReplicaThatStopsSuspectsNobody(t *testing.T) {
	t.Parallel()
	config := configure(pgtest.URL(t))
	stopping := serve(t, config)
	staying := serve(t, config)
	breaks := stopping.watching("a", refusing)
	defer breaks()
	if err := stopping.end(); err != nil {
		t.Fatal(err)
	}
	if state := staying.state("a"); state != controlplanev1.AgentState_AGENT_STATE_LIVE {
		t.Errorf("the agent is %v", state)
	}
}
