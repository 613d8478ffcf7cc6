package command

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/client"

	"github.com/streamhouse/streamhouse/cli/internal/control"
	"github.com/streamhouse/streamhouse/cli/internal/cost"
	"github.com/streamhouse/streamhouse/cli/internal/output"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// someCosts has a line where a real estimate has many: prices change, names do not.
var someCosts = func() costs {
	price := cost.Price{Name: "S3 Standard, PUT", Dollars: 0.000005, Unit: "request", Source: "https://example.com", Read: "2026"}
	bill := cost.Bill{Lines: []cost.Line{{Name: "PUTs", Quantity: 1000, Unit: "request", Dollars: 0.005, Price: price}}, Dollars: 0.005}
	return costs{Requests: cost.Requests{PutsPerSecond: 12, GetsPerSecond: 24, CompactionPutsPerSecond: 1, CompactionGetsPerSecond: 12}, StreamHouse: bill, Kafka: bill, WarpStream: bill}
}()

// Scripts read what -o json prints: names, order and nulls are a promise. The golden files are its document.
func TestOutputIsStable(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 31, 12, 0, 0, 123456000, time.UTC)
	aTopic := topicFrom(client.Topic{
		ID: "id", Name: "orders", AgentGroup: "default", PartitionCount: 2, MaxRecordBytes: 1 << 20, CreatedAt: at, PreferredZones: []string{"az-a", "az-b"},
		Retention: 168 * time.Hour, RetentionBytes: client.Unbounded, CleanupPolicy: client.CleanupDelete, DeleteRetention: 24 * time.Hour,
	})
	live := client.Agent{
		ID: "agent-az-a-1", AgentGroup: "default", Zone: "az-a", Address: "http://127.0.0.1:20001", Version: "v1", State: client.AgentLive,
		SessionID: "session", StartedAt: at, LastHeartbeatAt: at, ExpiresAt: at, LeaseCount: 1, AssignedCount: 2,
		CapacityBytesPerSecond: 100 << 20, InBytesPerSecond: 30 << 20, OutBytesPerSecond: 1 << 10,
	}
	ended := client.Agent{ID: "agent-az-b-1", AgentGroup: "default", Zone: "az-b", State: client.AgentEnded, EndReason: "expired"}
	leases := []client.Lease{
		{Topic: "orders", Partition: 0, LeaderAgentID: live.ID, LeaderZone: "az-a", Epoch: 3, ExpiresAt: at, AssignedAgentID: live.ID, Pinned: true},
		{Topic: "orders", Partition: 1},
	}
	valid := client.Key{ID: "id", Name: "ci", Role: client.RoleClient, AgentGroup: "default", CreatedAt: at}
	revoked := client.Key{ID: "id2", Name: "old", Role: client.RoleAdmin, CreatedAt: at, RevokedAt: at}
	halted := client.CatalogStatus{State: client.CatalogHalted, HaltedAt: at, Reasons: []string{"agent a knows better", "so does b"}, CatalogStart: "1-00000001"}
	verifying := client.CatalogStatus{State: client.CatalogVerifying, Incarnation: 1, AwaitedAgentIDs: []string{"a", "b"}, CatalogStart: "2-00000001"}
	leader := live.ID
	for name, value := range map[string]any{
		"topic":                aTopic,
		"topic-describe":       describedTopic{topic: aTopic, Partitions: []partition{{Leader: &leader, Epoch: 3, HighWatermark: 9, AssignedTo: &leader}, {Partition: 1}}},
		"topic-delete":         deletedTopic{Name: "orders", ID: "id"},
		"records-delete":       []beginning{{Topic: "orders", Partition: 1, LogStartOffset: 7}},
		"agent-list":           []agent{agentFrom(live), agentFrom(ended)},
		"agent-describe":       describedFrom(client.AgentDescription{Agent: live, ReportedAt: at, Traffic: someTraffic}, leases),
		"agent-drain":          drainedFrom(agentDrainCommand{ID: live.ID}, someMoves, "deregistered"),
		"agent-drain-dry-run":  drainedFrom(agentDrainCommand{ID: live.ID, DryRun: true}, client.Drain{}, ""),
		"agent-group":          agentGroupsFrom(client.AgentGroup{Name: "default", Topics: 1, Agents: 3, Keys: 2}),
		"agent-group-delete":   deletedAgentGroup{"staging"},
		"placement-explain":    explainedFrom(somePlacement(leases[0])),
		"cluster-status":       clusterStatusFrom(someStatus),
		"cluster-status-empty": clusterStatusFrom(client.ClusterStatus{AgentGroups: []client.AgentGroupStatus{{AgentGroup: "default"}}}),
		"lease-list":           leasesFrom(leases),
		"key-create":           createdKey{key: keyFrom(valid), Secret: "shk_x"},
		"catalog-status":       []catalogStatus{catalogStatusFrom(halted), catalogStatusFrom(verifying)},
		"catalog-adopt":        adoptedCatalog{Incarnation: 1},
		"cost":                 someCosts,
		"key-list":             []key{keyFrom(valid), keyFrom(revoked)},
		"dev-status":           []control.Part{{Name: "postgres", Kind: "postgres", State: "exited", Reason: "signal: killed", Since: at, URL: "u", Log: "l"}, {Name: live.ID, Kind: "agent", State: "running", PID: 7, Zone: "az-a", AgentGroup: "default", Since: at, URL: "u", Log: "l"}},
	} {
		for format, ending := range map[output.Format]string{output.JSON: ".json", output.YAML: ".yaml"} {
			var got bytes.Buffer
			if err := output.Print(&got, format, value, output.Rows{}); err != nil {
				t.Fatal(err)
			}
			golden(t, name+ending, got.Bytes())
		}
	}
	for name, tables := range map[string][]output.Rows{
		"cluster-status":    statusTables(clusterStatusFrom(someStatus)),
		"placement-explain": explainedTables(leases[0], explainedFrom(somePlacement(leases[0]))),
		"agent-drain":       {moveRows(someMoves)},
		"agent-traffic":     {trafficRows(someTraffic)},
		"top":               {busiest([]agent{agentFrom(ended), agentFrom(live)})},
	} {
		var got bytes.Buffer
		if err := output.Tables(&got, tables...); err != nil {
			t.Fatal(err)
		}
		golden(t, name+".txt", bytes.ReplaceAll(got.Bytes(), []byte(output.Time(at)), []byte("2026-01-31 12:00:00")))
	}
	for name, rows := range map[string]output.Rows{
		"topic": topicRows(aTopic), "agent-list": agentRows(live, ended), "lease-list": leaseRows(leases), "key-list": keyRows(valid, revoked),
		"catalog-halted": catalogRows(halted), "catalog-verifying": catalogRows(verifying),
		"empty-topics": topicRows(), "empty-agents": agentRows(), "empty-leases": leaseRows(nil), "empty-keys": keyRows(),
	} {
		var got bytes.Buffer
		if err := output.Print(&got, output.Table, nil, rows); err != nil {
			t.Fatal(err)
		}
		golden(t, name+".txt", bytes.ReplaceAll(got.Bytes(), []byte(output.Time(at)), []byte("2026-01-31 12:00:00"))) // tables are local
	}
}

var (
	someTraffic = []client.Traffic{
		{Direction: client.DirectionProduce, Zone: "az-a", Bytes: 5 << 30}, {Direction: client.DirectionFetch, Bytes: 1},
	}
	someMoves = client.Drain{MoveCount: 3, Moves: []client.Move{
		{Topic: "orders", Partition: 0, FromAgentID: "agent-az-a-1", ToAgentID: "agent-az-b-1"}, {Topic: "orders", Partition: 7, FromAgentID: "agent-az-a-1"},
	}}
	someStatus = client.ClusterStatus{
		AgentGroups: []client.AgentGroupStatus{{
			AgentGroup: "default", Topics: 2, Partitions: 12, LeaderlessPartitions: 1, MovingPartitions: 2, ClientBytesAcrossZones: 3 << 20,
			Zones: []client.ZoneStatus{{
				Zone: "az-a", Agents: 2, DrainingAgents: 1, Partitions: 6, InBytesPerSecond: 50 << 20, CapacityBytesPerSecond: 200 << 20,
			}, {Zone: "az-b", Agents: 1, SuspectAgents: 1}},
			Traffic: []client.ZoneTraffic{
				{AgentZone: "az-a", OtherZone: "az-a", Direction: client.DirectionProduce, Bytes: 9 << 20},
				{AgentZone: "az-a", OtherZone: "az-b", Direction: client.DirectionFetch, Bytes: 3 << 20},
				{AgentZone: "az-b", Direction: client.DirectionProduce, Bytes: 7},
			},
		}},
		Warnings: []string{"1 partition of default has no leader"}, AnsweredBy: "host-1", PlacementBy: "host-2",
	}
)

func somePlacement(l client.Lease) client.Placement {
	return client.Placement{
		Lease: l, Pinned: true, Reasons: []string{"an operator pinned it"}, WouldMove: []string{"lease transfer --unpin"},
		Candidates: []client.PlacementCandidate{
			{AgentID: "agent-az-a-1", Zone: "az-a", Eligible: true, Verdict: "it is here", TopicPartitions: 1, Partitions: 4, BytesPerSecond: 1 << 20, CapacityBytesPerSecond: 100 << 20},
			{AgentID: "agent-az-b-1", Zone: "az-b", Verdict: "it drains"},
		},
		Zones: []client.PlacementZone{{Zone: "az-a", Agents: 1, CapacityBytesPerSecond: 100 << 20, LeastPartitions: 1, MostPartitions: 2, Partitions: 1}},
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}
