package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/connect/v2/connectproto"
	"go.uber.org/goleak"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1/controlplanev1connect"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/cli/internal/datadir"
)

// The programs that a test's cluster runs are this very program under other names. What they do they write into files beside themselves.

const fakeVariable = "STREAMHOUSE_TEST_FAKE"

func TestMain(m *testing.M) {
	switch name := filepath.Base(os.Args[0]); {
	case name == controlPlaneProgram || name == agentProgram:
		os.Exit(fakeMain(filepath.Dir(os.Args[0]), os.Args[1:]))
	case os.Getenv(fakeVariable) == "supervisor":
		os.Exit(supervisorMain())
	}
	goleak.VerifyTestMain(m)
}

func itoa(n int) string { return strconv.Itoa(n) }

// fakeBin makes a folder of programs.
func fakeBin(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{controlPlaneProgram, agentProgram} {
		if err := os.Symlink(self, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// fakeRole makes a part behave badly.
func fakeRole(t *testing.T, bin, part, role string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(bin, part+".role"), []byte(role), 0o600); err != nil {
		t.Fatal(err)
	}
}

// fakeEvents are what the parts did, in order.
func fakeEvents(t *testing.T, bin string) []string {
	t.Helper()
	content, _ := os.ReadFile(filepath.Join(bin, "events"))
	return strings.Split(strings.TrimSpace(string(content)), "\n")
}

// fakePIDs are the processes of the programs that run, found without the supervisor's help.
func fakePIDs(t *testing.T, bin string) []int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(bin, "*.pid"))
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, file := range files {
		pid, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(file), ".pid"))
		if err != nil {
			t.Fatal(err)
		}
		if syscall.Kill(pid, 0) == nil && !zombie(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// zombie: one that has ended and whose parent, the system's first process, is slow to notice.
func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(stat), ") Z ")
}

func argument(args []string, name string) string {
	if i := slices.Index(args, name); i >= 0 && i+1 < len(args) {
		return args[i+1]
	}
	return ""
}

func fakeMain(bin string, args []string) int {
	if slices.Contains(args, "--help") {
		fmt.Fprintln(os.Stdout, "      --linger=250ms   Longest wait.\n      --[no-]telemetry   Send it.\n  -h, --help   Such as --lingering.")
		return 0
	}
	name := argument(args, "--agent-id")
	if name == "" {
		name = "controlplane"
	}
	role, _ := os.ReadFile(filepath.Join(bin, name+".role"))
	if string(role) == "die" {
		fmt.Fprintln(os.Stdout, "cannot go on")
		return 7
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	_ = os.WriteFile(filepath.Join(bin, itoa(os.Getpid())+".pid"), nil, 0o600)
	note(bin, "started "+name)
	server := http.NewServeMux()
	if string(role) != "never-ready" {
		server.HandleFunc("GET /readyz", func(http.ResponseWriter, *http.Request) {})
	}
	rpc := connect.NewServer()
	keys := &fakeKeys{groups: []string{"", "default"}}
	controlplanev1connect.RegisterKeyServiceHandler(rpc, keys)
	controlplanev1connect.RegisterAgentGroupServiceHandler(rpc, keys)
	connecthttp.Mount(server, rpc)
	l, err := net.Listen("tcp", argument(args, "--listen"))
	if err != nil {
		fmt.Fprintln(os.Stdout, err)
		return 1
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	go func() { _ = (&http.Server{Handler: server, Protocols: protocols}).Serve(l) }()
	<-signals
	if string(role) == "deaf" {
		<-signals
		select {}
	}
	note(bin, "stopped "+name)
	return 0
}

func note(bin, event string) {
	file, err := os.OpenFile(filepath.Join(bin, "events"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	defer file.Close()
	fmt.Fprintln(file, event)
}

// fakeKeys makes keys and forgets them when its process ends.
type fakeKeys struct {
	controlplanev1connect.UnimplementedKeyServiceHandler
	controlplanev1connect.UnimplementedAgentGroupServiceHandler

	mu     sync.Mutex
	keys   []*controlplanev1.Key
	groups []string
}

func (k *fakeKeys) CreateAgentGroup(_ context.Context, r *controlplanev1.CreateAgentGroupRequest) (*controlplanev1.CreateAgentGroupResponse, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.groups = append(k.groups, r.GetAgentGroup())
	return &controlplanev1.CreateAgentGroupResponse{AgentGroup: &controlplanev1.AgentGroup{AgentGroup: r.GetAgentGroup()}}, nil
}

func unknownGroup() error {
	detail, err := connectproto.NewErrorDetail(&refusalv1.Refusal{Reason: refusalv1.Reason_REASON_UNKNOWN_AGENT_GROUP})
	if err != nil {
		panic(err)
	}
	return connect.NewError(connect.CodeNotFound, "no such agent group").WithDetail(detail)
}

func (k *fakeKeys) CreateKey(_ context.Context, r *controlplanev1.CreateKeyRequest) (*controlplanev1.CreateKeyResponse, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !slices.Contains(k.groups, r.GetAgentGroup()) {
		return nil, unknownGroup()
	}
	key := &controlplanev1.Key{KeyId: fmt.Sprintf("key-%d", len(k.keys)), Name: r.GetName(), Role: r.GetRole(), AgentGroup: r.GetAgentGroup()}
	k.keys = append(k.keys, key)
	return &controlplanev1.CreateKeyResponse{Key: key, Secret: "shk_secret-of-" + r.GetName()}, nil
}

func (k *fakeKeys) ListKeys(context.Context, *controlplanev1.ListKeysRequest) (*controlplanev1.ListKeysResponse, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return &controlplanev1.ListKeysResponse{Keys: slices.Clone(k.keys)}, nil
}

// supervisorMain runs a cluster until it is killed.
func supervisorMain() int {
	dir, err := datadir.At(os.Getenv("STREAMHOUSE_TEST_DIR"))
	if err == nil {
		err = Run(context.Background(), nil, Config{
			Dir: dir, Bin: os.Getenv("STREAMHOUSE_TEST_BIN"), Zones: []string{"a", "b"}, AgentsPerZone: 1, AgentGroup: "default", ControlPlanes: 2,
			SessionDuration: 30 * time.Second, SuspectAfter: 2 * time.Second, DatabaseURL: "postgres://none",
			S3: datadir.S3{Endpoint: "http://127.0.0.1:1", Bucket: "b", Region: "r"},
		}, Listener{Ready: func(datadir.Cluster) {}, Report: func(string) {}})
	}
	fmt.Fprintln(os.Stderr, errors.Join(errors.New("the supervisor ended"), err))
	return 1
}
