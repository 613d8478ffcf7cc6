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

// awaitSuspect breaks an agent's watch until it is suspect for that. To be asked and not to answer in time proves nothing, nor does a catalog that does not: on a
// machine that stood still for a moment no verdict comes of a broken watch, and none later, but of the next one.
func (r *replica) awaitSuspect(id string) {
	r.t.Helper()
	const soon, limit = 5 * time.Second, time.Minute
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); {
		r.watching(id, refusing)()
		for broke := time.Now(); time.Since(broke) < soon; time.Sleep(10 * time.Millisecond) {
			if r.state(id) == controlplanev1.AgentState_AGENT_STATE_SUSPECT {
				return
			}
		}
	}
	r.t.Fatalf("agent %s is %v", id, r.state(id))
}

// A watch breaks: whose address refuses connections becomes suspect at once, whose accepts does not, answered or not.
func TestABrokenWatchAndARefusedConnectionMakeASuspect(t *testing.T) {
	t.Parallel()
	config := configure(pgtest.URL(t))
	config.SessionDuration = 5 * time.Minute // nobody sends heartbeats here
	r := serve(t, config)
	silent, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0") // as a stopped process: accepts, and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	for _, breaks := range []func(){r.watching("stopped", "http://"+silent.Addr().String()), r.watching("cut-off", r.url)} {
		breaks()
	}
	r.awaitSuspect("dead")
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
	config.SessionDuration = 5 * time.Minute // nobody sends heartbeats here
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
