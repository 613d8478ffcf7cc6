package command

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1/controlplanev1connect"
)

// fakeCluster is a control plane with one agent, which gives up a partition at every look once it drains, and leaves at last.
type fakeCluster struct {
	controlplanev1connect.UnimplementedClusterServiceHandler
	controlplanev1connect.UnimplementedTopicServiceHandler

	mu       sync.Mutex // guards all below
	leases   int32
	draining bool
	reason   string // why the session ends at last
	lease    *controlplanev1.Lease
	looks    int // at the status
	dark     int // the look that is not answered; 0: none
	config   *controlplanev1.TopicConfig
}

func (f *fakeCluster) agent() *controlplanev1.Agent {
	a := &controlplanev1.Agent{AgentId: "a1", AgentGroup: "default", Zone: "z", SessionId: "s", LeaseCount: f.leases, State: controlplanev1.AgentState_AGENT_STATE_LIVE}
	if f.draining {
		a.State = controlplanev1.AgentState_AGENT_STATE_DRAINING
	}
	if f.draining && f.leases < 0 {
		a.State, a.EndReason, a.LeaseCount = controlplanev1.AgentState_AGENT_STATE_ENDED, f.reason, 0
	}
	return a
}

func (f *fakeCluster) DescribeAgent(context.Context, *controlplanev1.DescribeAgentRequest) (*controlplanev1.DescribeAgentResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.draining {
		f.leases--
	}
	return &controlplanev1.DescribeAgentResponse{Agent: f.agent()}, nil
}

func (f *fakeCluster) ListAgents(context.Context, *controlplanev1.ListAgentsRequest) (*controlplanev1.ListAgentsResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &controlplanev1.ListAgentsResponse{Agents: []*controlplanev1.Agent{f.agent()}}, nil
}

func (f *fakeCluster) ListLeases(context.Context, *controlplanev1.ListLeasesRequest) (*controlplanev1.ListLeasesResponse, error) {
	return &controlplanev1.ListLeasesResponse{}, nil
}

func (f *fakeCluster) DrainAgent(_ context.Context, r *controlplanev1.DrainAgentRequest) (*controlplanev1.DrainAgentResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.draining = f.draining || !r.GetDryRun()
	return &controlplanev1.DrainAgentResponse{MoveCount: 1, Moves: []*controlplanev1.Move{{Topic: "t", FromAgentId: "a1", ToAgentId: "a2"}}}, nil
}

// The new leader leads when it is asked for a second time.
func (f *fakeCluster) TransferLease(_ context.Context, r *controlplanev1.TransferLeaseRequest) (*controlplanev1.TransferLeaseResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.lease
	f.lease = &controlplanev1.Lease{Topic: r.GetTopic(), Leader: "a1", AssignedAgentId: r.GetToAgentId(), Pinned: r.GetToAgentId() != ""}
	if before.GetAssignedAgentId() == r.GetToAgentId() {
		f.lease.Leader = r.GetToAgentId()
	}
	return &controlplanev1.TransferLeaseResponse{Lease: f.lease}, nil
}

func (f *fakeCluster) ExplainPlacement(context.Context, *controlplanev1.ExplainPlacementRequest) (*controlplanev1.ExplainPlacementResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &controlplanev1.ExplainPlacementResponse{Lease: f.lease, Reasons: []string{"so it was decided"}}, nil
}

func (f *fakeCluster) GetClusterStatus(context.Context, *controlplanev1.GetClusterStatusRequest) (*controlplanev1.GetClusterStatusResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.looks++; f.looks == f.dark {
		return nil, connect.NewError(connect.CodePermissionDenied, "not now")
	}
	return &controlplanev1.GetClusterStatusResponse{AnsweredBy: fmt.Sprintf("replica-%d", f.looks), Warnings: []string{"something is wrong"}}, nil
}

func (f *fakeCluster) UpdateTopic(_ context.Context, r *controlplanev1.UpdateTopicRequest) (*controlplanev1.UpdateTopicResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.config = r.GetConfig()
	return &controlplanev1.UpdateTopicResponse{Topic: &controlplanev1.Topic{Name: r.GetName(), Config: r.GetConfig()}}, nil
}

// serve returns the flags with which commands reach it.
func (f *fakeCluster) serve(t *testing.T) []string {
	t.Helper()
	rpc, mux := connect.NewServer(), http.NewServeMux()
	controlplanev1connect.RegisterClusterServiceHandler(rpc, f)
	controlplanev1connect.RegisterTopicServiceHandler(rpc, f)
	connecthttp.Mount(mux, rpc)
	server := httptest.NewUnstartedServer(mux)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	return []string{"--server", server.URL, "--agent", server.URL, "--api-key", "k", "-o", "json"}
}

func ask(t *testing.T, flags []string, line string) (status int, stdout, stderr string) {
	t.Helper()
	return call(t, append(strings.Fields(line), flags...)...)
}

func TestDrainWaitsUntilTheAgentHasLeft(t *testing.T) {
	t.Parallel()
	f := &fakeCluster{leases: 2, reason: "deregistered"}
	flags := f.serve(t)
	status, stdout, stderr := ask(t, flags, "agent drain a1 --dry-run")
	if status != statusDone || !strings.Contains(stdout, `"to": "a2"`) || stderr != "" || f.draining {
		t.Fatalf("dry run: %d, %s, %s, draining %v", status, stdout, stderr, f.draining)
	}
	status, stdout, stderr = ask(t, flags, "agent drain a1 --wait")
	if status != statusDone || !strings.Contains(stdout, `"end_reason": "deregistered"`) || !f.draining {
		t.Errorf("%d, %s, %s", status, stdout, stderr)
	}
	if stderr != "a1 is draining and leads 1 partition\na1 is draining and leads 0 partitions\n" {
		t.Errorf("progress: %q", stderr)
	}
}

func TestDrainThatEndsBadlyIsAnError(t *testing.T) {
	t.Parallel()
	f := &fakeCluster{leases: 0, reason: "expired"}
	if status, _, stderr := ask(t, f.serve(t), "agent drain a1 --wait"); status != statusFailed || !strings.Contains(stderr, "fell silent") {
		t.Errorf("%d, %s", status, stderr)
	}
	stuck := &fakeCluster{leases: 1 << 30}
	if status, _, stderr := ask(t, stuck.serve(t), "agent drain a1 --wait --timeout 300ms"); status != statusFailed || !strings.Contains(stderr, "wait until") {
		t.Errorf("%d, %s", status, stderr)
	}
}

func TestTransferWaitsForTheNewLeader(t *testing.T) {
	t.Parallel()
	f := &fakeCluster{}
	flags := f.serve(t)
	if status, stdout, stderr := ask(t, flags, "lease transfer t 0 --to a2"); status != statusDone || !strings.Contains(stdout, `"leader": "a1"`) {
		t.Errorf("without --wait: %d, %s, %s", status, stdout, stderr)
	}
	if status, stdout, stderr := ask(t, flags, "lease transfer t 0 --to a3 --wait"); status != statusDone || !strings.Contains(stdout, `"leader": "a3"`) {
		t.Errorf("with --wait: %d, %s, %s", status, stdout, stderr)
	}
	if status, stdout, _ := ask(t, flags, "lease transfer t 0 --unpin"); status != statusDone || !strings.Contains(stdout, `"pinned": false`) {
		t.Errorf("unpin: %d, %s", status, stdout)
	}
	if status, stdout, _ := ask(t, flags, "placement explain t 0 -o table"); status != statusDone || !strings.Contains(stdout, "so it was decided") {
		t.Errorf("explain: %d, %s", status, stdout)
	}
}

func TestTopPrintsALineALook(t *testing.T) {
	t.Parallel()
	f := &fakeCluster{dark: 2}
	status, stdout, stderr := ask(t, f.serve(t), "top --every 100ms --count 3")
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	if status != statusDone || len(lines) != 2 || !strings.Contains(stderr, "not now") {
		t.Fatalf("%d, %q, %q: want two looks, and one that failed", status, stdout, stderr)
	}
	var seen struct {
		AnsweredBy string   `json:"answered_by"`
		Warnings   []string `json:"warnings"`
		Agents     []agent  `json:"agents"`
	}
	if err := json.Unmarshal([]byte(lines[1]), &seen); err != nil || seen.AnsweredBy != "replica-3" || len(seen.Agents) != 1 || len(seen.Warnings) != 1 {
		t.Errorf("%+v, %v", seen, err)
	}
	if status, _, _ := ask(t, (&fakeCluster{dark: 1}).serve(t), "top"); status != statusFailed {
		t.Error("a first look that fails is a failure")
	}
	if status, stdout, _ := ask(t, f.serve(t), "top -o table --every 100ms --count 1"); status != statusDone || strings.Contains(stdout, "\x1b") {
		t.Errorf("no terminal, no escapes: %q", stdout)
	}
}

func TestTopDrawsOverWhatIsThere(t *testing.T) {
	t.Parallel()
	var screen bytes.Buffer
	if err := redraw(&screen, look{clusterStatus: clusterStatus{AnsweredBy: "r"}}, nil); err != nil {
		t.Fatal(err)
	}
	text := screen.String()
	if !strings.HasPrefix(text, corner) || !strings.HasSuffix(text, clearRest) || strings.Count(text, clearLine) != strings.Count(text, "\n") {
		t.Errorf("got %q", text)
	}
}

func TestPreferredZonesAreSet(t *testing.T) {
	t.Parallel()
	f := &fakeCluster{}
	flags := f.serve(t)
	for line, want := range map[string]string{
		"topic update t --preferred-zones a,b":     "a,b",
		"topic update t --set preferred_zones=b,c": "b,c",
		"topic update t --preferred-zones none":    "",
		"topic update t --set preferred_zones=":    "",
	} {
		if status, _, stderr := ask(t, flags, line); status != statusDone || f.config.GetPreferredZones() == nil ||
			strings.Join(f.config.GetPreferredZones().GetZones(), ",") != want {
			t.Errorf("%s: %d, %s, %v", line, status, stderr, f.config)
		}
	}
	if _, _, _ = ask(t, flags, "topic update t --max-record-bytes 7"); f.config.GetPreferredZones() != nil {
		t.Error("what is not given stays")
	}
}
