package wire_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/e2e/cluster"
	"github.com/streamhouse/streamhouse/e2e/wire"
	"github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1/controlplanev1connect"
)

// patience is exceeded by a hang alone.
const patience = 3 * time.Minute

// suite is a cluster with a topic that has a record.
type suite struct {
	*cluster.Cluster

	topic    client.Topic
	agentKey string
	object   string // key of the record's object
}

// call is an RPC in JSON, and a piece that its answer must have.
type call struct {
	url, key, body, has string
}

func TestWire(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	s := start(ctx, t)
	for name, test := range map[string]func(context.Context, *testing.T, *suite){
		"every RPC in every protocol":   everyProtocol,
		"every RPC by curl":             byCurl,
		"every RPC by buf curl":         byBuf,
		"the commands of docs/api.md":   documented,
		"health, for people and probes": health,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(ctx, t, s)
		})
	}
}

func start(ctx context.Context, t *testing.T) *suite {
	t.Helper()
	s := &suite{Cluster: cluster.Start(t, cluster.Options{Zones: []string{"az-a"}, SessionDuration: 30 * time.Second})}
	s.CreateTopic(ctx, t, "walk", 1, client.TopicConfig{})
	if _, err := s.Client(t).Append(ctx, "walk", 0, 0, &client.Record{Value: []byte("seed")}); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.topic, _, err = s.Admin(t).DescribeTopic(ctx, "walk"); err != nil {
		t.Fatal(err)
	}
	s.agentKey = cluster.CreateKey(ctx, t, s.Admin(t), client.RoleAgent, "default")
	s.object = s.seedObject(ctx, t)
	return s
}

// seedObject is the key of the object in which the record lies.
func (s *suite) seedObject(ctx context.Context, t *testing.T) string {
	t.Helper()
	answer := wire.Post(ctx, t, s.ControlPlanes[0].URL+controlplanev1connect.RecoveryServiceListReferencedObjectsProcedure, s.AdminKey, "application/json",
		strings.NewReader("{}"))
	var page struct {
		Objects []struct {
			Key string `json:"key"`
		} `json:"objects"`
	}
	if err := json.Unmarshal(answer.Body, &page); err != nil || len(page.Objects) == 0 {
		t.Fatalf("no object: %s: %v", answer.Body, err)
	}
	return page.Objects[0].Key
}

// shard is the part of the bucket in which the object lies.
func (s *suite) shard(t *testing.T) string {
	t.Helper()
	digits, _, _ := strings.Cut(strings.TrimPrefix(s.object, "default/"), "/")
	n, err := strconv.ParseUint(digits, 16, 8)
	if err != nil {
		t.Fatal(err)
	}
	return strconv.FormatUint(n, 10)
}

// calls has every RPC of RecordService, and every one of the control plane that changes nothing.
func (s *suite) calls(t *testing.T) map[string]call {
	t.Helper()
	agent, control := s.Agents[0].URL, s.ControlPlanes[0].URL
	id, err := hex.DecodeString(strings.ReplaceAll(s.topic.ID, "-", ""))
	if err != nil {
		t.Fatal(err)
	}
	topic := base64.StdEncoding.EncodeToString(id)
	const seed = `"value":"c2VlZA=="`
	return map[string]call{
		"Produce":               {agent, s.ClientKey, `{"entries":[{"topicName":"walk","partition":0,"records":{"records":[{"key":"aw==","value":"dg=="}]}}]}`, `"stored":{"baseOffset":"`},
		"Fetch":                 {agent, s.ClientKey, `{"decode":true,"partitions":[{"topicName":"walk","partition":0,"offset":"0"}]}`, seed},
		"Consume":               {agent, s.ClientKey, `{"topicName":"walk","decode":true,"partitions":[{"partition":0,"position":{"edge":"OFFSET_EDGE_EARLIEST"}}]}`, seed},
		"ListOffsets":           {agent, s.ClientKey, `{"partitions":[{"topicName":"walk","partition":0,"position":{"edge":"OFFSET_EDGE_LATEST"}}]}`, `"highWatermark":"`},
		"GetMetadata":           {agent, s.ClientKey, `{"topics":["walk"]}`, `"topicId":"` + s.topic.ID + `"`},
		"AllocateProducerId":    {agent, s.ClientKey, `{}`, ``},
		"GetTopic":              {control, s.ClientKey, `{"name":"walk"}`, `"partitionCount":1`},
		"ListTopics":            {control, s.ClientKey, `{"pageSize":10}`, `"name":"walk"`},
		"ListAgents":            {control, s.ClientKey, `{}`, `"state":"AGENT_STATE_LIVE"`},
		"ListLeases":            {control, s.ClientKey, `{"topic":"walk"}`, `"leader":"` + s.Agents[0].ID + `"`},
		"DescribeAgent":         {control, s.ClientKey, `{"agentId":"` + s.Agents[0].ID + `"}`, `"capacityBytesPerSecond":`},
		"ExplainPlacement":      {control, s.ClientKey, `{"topic":"walk"}`, `"eligible":true`},
		"GetPartitionHistory":   {control, s.ClientKey, `{"topic":"walk"}`, `"epoch":1`},
		"GetClusterStatus":      {control, s.ClientKey, `{}`, `"agentGroup":"default"`},
		"ListReferencedObjects": {control, s.AdminKey, `{}`, `"key":"default/`},
		"ListAgentGroups":       {control, s.AdminKey, `{}`, `"agentGroup":"default"`},
		"ListKeys":              {control, s.AdminKey, `{}`, `"role":"ROLE_CLIENT"`},
		"Lookup":                {control, s.agentKey, `{"partitions":[{"topicId":"` + topic + `","offset":"0"}]}`, `"objectKey":"default/`},
		"LookupProducers":       {control, s.agentKey, `{"lookups":[{"topicId":"` + topic + `","producerId":"77"}]}`, `"epoch":1`},
		"ResolveTopics":         {control, s.agentKey, `{"names":["walk"]}`, `"partitionCount":1`},
		"DescribeBucket":        {agent, s.AdminKey, `{}`, `"agentGroup":"default"`},
		"Inventory":             {agent, s.AdminKey, `{"shard":` + s.shard(t) + `,"footers":true}`, `"recordCount":1`},
		"ReadFooters":           {agent, s.AdminKey, `{"keys":["` + s.object + `"]}`, `"recordCount":1`},
		"ReadTopics":            {agent, s.AdminKey, `{}`, `"topics":[{"topic":{`}, // in the order of their ids
		"CheckSegments":         {agent, s.AdminKey, `{"segments":[{"objectKey":"` + s.object + `"}]}`, `"segments":[{`},
		"FindUnknownKeys":       {control, s.AdminKey, `{"recoveryId":"` + s.topic.ID + `","keys":["default/00/unknown"]}`, `"keys":["default/00/unknown"]`},
		"AuditObjects":          {control, s.AdminKey, `{"objects":[{"key":"` + s.object + `","sizeBytes":"1"}]}`, `"fate":"OBJECT_FATE_REFERENCED"`},
		"AuditPartitions":       {control, s.AdminKey, `{}`, `"partitionCount":"`},
		"Authenticate":          {control, s.agentKey, `{"keySha256":"` + sha256Of(s.ClientKey) + `"}`, `"role":"ROLE_CLIENT"`},
	}
}

// walked are the other services whose RPCs are called, if they change nothing. A service joins when its RPCs are answered.
var walked = []protoreflect.Name{"TopicService", "KeyService", "ClusterService", "AgentGroupService", "AgentService", "RecoveryService", "BucketService"}

// unwalked are RPCs that a cluster in good order refuses.
var unwalked = []protoreflect.Name{"GetRecovery"}

// methods of the calls, by name; every one must have a call.
func (s *suite) methods(t *testing.T) map[string]protoreflect.MethodDescriptor {
	t.Helper()
	calls := s.calls(t)
	found := map[string]protoreflect.MethodDescriptor{}
	for _, m := range slices.Concat(wire.Methods("streamhouse.dataplane.v1"), wire.Methods("streamhouse.controlplane.v1")) {
		options, _ := m.Options().(*descriptorpb.MethodOptions)
		readOnly := options.GetIdempotencyLevel() == descriptorpb.MethodOptions_NO_SIDE_EFFECTS
		service := m.Parent().Name()
		if service != "RecordService" && (!readOnly || !slices.Contains(walked, service) || slices.Contains(unwalked, m.Name())) {
			continue
		}
		if _, known := calls[string(m.Name())]; !known {
			t.Errorf("no call for %s", m.FullName())
			continue
		}
		found[string(m.Name())] = m
	}
	if len(found) != len(calls) {
		t.Errorf("%d calls for %d RPCs", len(calls), len(found))
	}
	return found
}

func everyProtocol(ctx context.Context, t *testing.T, s *suite) {
	calls := s.calls(t)
	for name, m := range s.methods(t) {
		c := calls[name]
		for _, protocol := range wire.Protocols() {
			request, response := dynamicpb.NewMessage(m.Input()), wire.Response(m)
			if err := protojson.Unmarshal([]byte(c.body), request); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			filled := func() bool { return proto.Size(response) > 0 || !m.IsStreamingServer() } // a stream begins with a sign of life
			if err := wire.Take(ctx, wire.Dial(t, protocol, c.url, c.key), m, request, response, filled); err != nil {
				t.Errorf("%s by %s: %v", name, protocol, err)
				continue
			}
			answer, err := protojson.Marshal(response)
			if err != nil {
				t.Fatal(err)
			}
			expect(t, name+" by "+string(protocol), answer, c.has)
		}
	}
}

// expect looks for a piece in the first JSON value of an answer.
func expect(t *testing.T, what string, answer []byte, has string) {
	t.Helper()
	var first json.RawMessage
	var compact bytes.Buffer
	err := json.NewDecoder(bytes.NewReader(answer)).Decode(&first)
	if err == nil {
		err = json.Compact(&compact, first)
	}
	if err != nil || !strings.Contains(compact.String(), has) {
		t.Errorf("%s answered %.500s (%v), wanted %s", what, answer, err, has)
	}
}

// byCurl posts JSON with curl, as a person would; streams need the frames that package connect adds.
func byCurl(ctx context.Context, t *testing.T, s *suite) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("no curl")
	}
	calls := s.calls(t)
	for name, m := range s.methods(t) {
		if m.IsStreamingServer() {
			continue
		}
		c := calls[name]
		out, err := exec.CommandContext(ctx, curl, "-sS", "--fail-with-body", "-H", "Content-Type: application/json", "-H", "Authorization: Bearer "+c.key,
			"-d", c.body, c.url+wire.Procedure(m)).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v: %s", name, err, out)
			continue
		}
		expect(t, name+" by curl", out, c.has)
	}
}

// findBuf finds buf in the project's own tools, or in the path.
func findBuf() (string, error) {
	own, err := filepath.Abs(filepath.Join("..", "..", ".tools", "bin", "buf"))
	if err == nil {
		if _, err = os.Stat(own); err == nil {
			return own, nil
		}
	}
	return exec.LookPath("buf")
}

// byBuf calls with buf, which knows nothing but what the server's reflection tells it.
func byBuf(ctx context.Context, t *testing.T, s *suite) {
	buf, err := findBuf()
	if err != nil {
		t.Skip("no buf")
	}
	calls, methods := s.calls(t), s.methods(t)
	for i, name := range slices.Sorted(maps.Keys(calls)) {
		protocols := []string{"grpc", "grpcweb"}
		if name != "Produce" && name != "Consume" { // a process costs more than the call
			protocols = protocols[i%2 : i%2+1]
		}
		for _, protocol := range protocols {
			c := calls[name]
			out, err := firstValue(ctx, exec.CommandContext(ctx, buf, "curl", "--protocol", protocol, "--reflect-header", "*",
				"-H", "Authorization: Bearer "+c.key, "-d", c.body, c.url+wire.Procedure(methods[name])))
			if err != nil {
				t.Errorf("%s by %s: %v", name, protocol, err)
				continue
			}
			expect(t, name+" by buf curl and "+protocol, out, c.has)
		}
	}
}

// firstValue runs a command until it has printed one JSON value that is not empty, which for a stream is long before its end.
func firstValue(ctx context.Context, cmd *exec.Cmd) ([]byte, error) {
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	var value json.RawMessage
	for values := json.NewDecoder(out); err == nil && len(value) <= len("{}"); {
		err = values.Decode(&value)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if err != nil {
		return nil, errors.Join(err, errors.New(complaint.String()), ctx.Err())
	}
	return value, nil
}
