package recovery_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/e2e/cluster"
	"github.com/streamhouse/streamhouse/e2e/command"
	"github.com/streamhouse/streamhouse/e2e/history"
	"github.com/streamhouse/streamhouse/e2e/workload"
)

const (
	topic       = "orders"
	partitions  = 4
	enough      = 300 // acknowledged records between two events
	testTimeout = 6 * time.Minute
)

// recovered is what `streamhouse recover -o json` prints.
type recovered struct {
	Incarnation     int32   `json:"incarnation"`
	Objects         int64   `json:"objects"`
	Topics          int64   `json:"topics"`
	Partitions      int64   `json:"partitions"`
	Segments        int64   `json:"segments"`
	Records         int64   `json:"records"`
	Producers       int64   `json:"producers"`
	LostRecords     int64   `json:"lost_records"`
	DamagedSegments int64   `json:"damaged_segments"`
	Seconds         float64 `json:"seconds"`
	Steps           []struct {
		Name    string  `json:"name"`
		Seconds float64 `json:"seconds"`
	} `json:"steps"`
	ObjectsPerSecond float64 `json:"objects_per_second"`
	GiBPerMinute     float64 `json:"gib_per_minute"`
}

// checked is what `streamhouse fsck -o json` prints.
type checked struct {
	Clean      bool             `json:"clean"`
	Counts     map[string]int64 `json:"counts"`
	Objects    int64            `json:"objects"`
	Referenced int64            `json:"referenced_objects"`
	BytesRead  int64            `json:"bytes_read"`
	Findings   []struct {
		Kind   string `json:"kind"`
		Detail string `json:"detail"`
	} `json:"findings"`
}

// story is a cluster that loses its catalog.
type story struct {
	*testing.T
	ctx     context.Context // a story is one bounded piece of work
	cluster *cluster.Cluster
}

func begin(t *testing.T, options cluster.Options) *story {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	t.Cleanup(cancel)
	s := &story{T: t, ctx: ctx, cluster: cluster.Start(t, options)}
	s.cluster.CreateTopic(ctx, t, topic, partitions, client.TopicConfig{})
	return s
}

func (s *story) operator() command.Command { return command.Of(s, s.cluster, s.cluster.AdminKey) }

// killing has agents killed and started again, under load.
func (s *story) killing(load *workload.Workload, agents ...*cluster.Agent) {
	s.Helper()
	load.AwaitAcknowledged(s.ctx, s, enough)
	for _, agent := range agents {
		agent.Kill()
		load.AwaitAcknowledged(s.ctx, s, enough)
		agent.Start(s.ctx, s)
	}
}

// goesOn: new records get the offsets behind the old ones.
func (s *story) goesOn(log []history.Read) {
	s.Helper()
	ends := [partitions]int64{}
	for _, r := range log {
		ends[r.Partition] = max(ends[r.Partition], r.Offset+1)
	}
	agent := workload.NewAgent(s.cluster.Agents[1].URL, s.cluster.ClientKey)
	for p := range int32(partitions) {
		for i := range int64(10) {
			if offset, err := agent.ProduceAnywhere(s.ctx, topic, p, fmt.Sprintf("after-%d-%d", p, i)); err != nil || offset != ends[p]+i {
				s.Errorf("a new record of partition %d is at %d, %v: %d was expected", p, offset, err, ends[p]+i)
			}
		}
	}
	s.same(log, s.read())
}

func (s *story) read() []history.Read {
	s.Helper()
	return s.readTopic(topic)
}

func (s *story) readTopic(name string) []history.Read {
	s.Helper()
	return workload.NewAgent(s.cluster.Agents[0].URL, s.cluster.ClientKey).ReadLog(s.ctx, s, name)
}

// same: every record of before is there now, at its offset; what is above may be records that nobody was told of.
func (s *story) same(before, now []history.Read) {
	s.Helper()
	found := map[history.Read]bool{}
	for _, r := range now {
		found[r] = true
	}
	missing := 0
	for _, r := range before {
		if !found[r] {
			missing++
		}
	}
	if missing > 0 {
		s.Errorf("%d of %d records are missing or have moved; %d are there", missing, len(before), len(now))
	}
}

// sound has the catalog compared with the bucket, every byte.
func (s *story) sound() checked {
	s.Helper()
	var found checked
	r := s.operator().Run(s.ctx, s, nil, "fsck", "--deep", "--orphan-age", "1h", "-o", "json")
	if err := json.Unmarshal(r.Stdout, &found); err != nil {
		s.Fatalf("fsck: %s: %v", r, err)
	}
	if r.Status != 0 || !found.Clean || found.BytesRead == 0 || found.Referenced == 0 {
		s.Errorf("fsck: %s: %+v", r, found)
	}
	return found
}

// TestP9_ADroppedDatabaseIsMadeOfTheBucket: producers, takeovers, then the database is gone, and all of it comes back from the objects.
func TestP9_ADroppedDatabaseIsMadeOfTheBucket(t *testing.T) {
	t.Parallel()
	s := begin(t, cluster.Options{SuspectAfter: 2 * time.Second})
	load := workload.Start(t, s.cluster, workload.Options{Topic: topic})
	s.killing(load, s.cluster.Agents[:2]...)
	if err := load.Stop(s.ctx, t).Err(); err != nil {
		t.Fatal(err)
	}
	s.makesLateTopic()
	before := s.read()
	s.sound()
	s.losesDatabase()
	s.refusesToServe()
	var made recovered
	s.operator().JSON(s.ctx, t, &made, "recover", "--bucket", s.cluster.S3.Bucket)
	if made.Incarnation < 1 || made.Records < int64(len(before)) || made.LostRecords != 0 || made.DamagedSegments != 0 || made.Producers == 0 {
		t.Errorf("recovered %+v, %d records were there", made, len(before))
	}
	t.Logf("recovered %+v", made)
	s.cluster.AwaitLeaders(s.ctx, t, topic, func(l client.Lease) bool { return l.LeaderAgentID != "" && l.Epoch > made.Incarnation<<23 })
	after := s.read()
	s.same(before, after)
	if late := s.readTopic(lateTopic); len(late) != 1 {
		t.Errorf("P9: %d records of a topic that was made after the newest checkpoint, want 1", len(late))
	}
	s.sound()
	s.goesOn(after)
	if r := s.operator().Run(s.ctx, t, nil, "recover"); r.Status != 1 || !strings.Contains(string(r.Stderr), "only a new and empty database") {
		t.Errorf("recover of a catalog that has topics: %s", r)
	}
	s.forgetsToRecover()
}

// lateTopic is made when the newest checkpoint is in the bucket, and before the next one.
const lateTopic = "late"

func (s *story) makesLateTopic() {
	s.Helper()
	s.cluster.CreateTopic(s.ctx, s, lateTopic, 1, client.TopicConfig{})
	if _, err := workload.NewAgent(s.cluster.Agents[0].URL, s.cluster.ClientKey).ProduceAnywhere(s.ctx, lateTopic, 0, "late"); err != nil {
		s.Fatal(err)
	}
	if n := strings.TrimSpace(s.cluster.Postgres.SQL(s.ctx, s, "SELECT count(*) FROM topics WHERE recorded_revision = 0")); n != "1" {
		s.Errorf("%s topics are in no checkpoint, want 1", n)
	}
}

// forgetsToRecover: the database is lost once more, and somebody makes a topic in the new one. The catalog halts when an agent finds another one's
// checkpoint in the bucket, before anything is deleted; adopting it brings the old topics back beside the new one.
func (s *story) forgetsToRecover() {
	s.Helper()
	before := s.read()
	s.losesDatabase()
	s.cluster.CreateTopic(s.ctx, s, "hasty", 1, client.TopicConfig{})
	s.await(client.CatalogHalted)
	var made recovered
	s.operator().JSON(s.ctx, s, &made, "catalog", "adopt", "--yes")
	if made.Topics != 3 || made.LostRecords != 0 || made.Records < int64(len(before)) {
		s.Errorf("adopted %+v", made)
	}
	s.cluster.AwaitLeaders(s.ctx, s, topic, func(l client.Lease) bool { return l.LeaderAgentID != "" })
	s.same(before, s.read())
	s.sound()
}

// losesDatabase drops all tables, and brings the cluster up again with an empty catalog and new keys.
func (s *story) losesDatabase() {
	s.Helper()
	for _, a := range s.cluster.Agents {
		a.Kill()
	}
	for _, p := range s.cluster.ControlPlanes {
		p.Kill()
	}
	s.cluster.Postgres.SQL(s.ctx, s, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
	for _, p := range s.cluster.ControlPlanes {
		p.Start(s.ctx, s)
	}
	s.cluster.RenewKeys(s.ctx, s)
	for _, a := range s.cluster.Agents {
		a.Start(s.ctx, s)
	}
}

// refusesToServe: there is no topic, and another bucket's name is refused.
func (s *story) refusesToServe() {
	s.Helper()
	if _, _, err := s.cluster.Admin(s).DescribeTopic(s.ctx, topic); err == nil {
		s.Error("the topic is still there")
	}
	if r := s.operator().Run(s.ctx, s, nil, "recover", "--bucket", "another"); r.Status != 1 || !strings.Contains(string(r.Stderr), "not another") {
		s.Errorf("recover from another bucket: %s", r)
	}
}

// TestP1_ARestoredBackupIsRolledForward: an older state of the database comes back under running agents and producers. Adopting it loses nothing, and
// idempotent producers go on where they were: the whole history is judged as one. Sweeps go round all the time, and delete nothing of it.
func TestP1_ARestoredBackupIsRolledForward(t *testing.T) {
	t.Parallel()
	s := begin(t, cluster.Options{
		SuspectAfter: 2 * time.Second, AgentArgs: []string{"--job-interval=100ms"},
		ControlPlaneArgs: []string{"--sweep-interval=5s", "--sweep-age=1s", "--checkpoint-interval=2s"},
	})
	load := workload.Start(t, s.cluster, workload.Options{Topic: topic})
	s.killing(load, s.cluster.Agents[0])
	if err := s.cluster.Postgres.Stop(s.ctx); err != nil {
		t.Fatal(err)
	}
	snapshot := s.cluster.Postgres.Snapshot(s.ctx, t)
	s.cluster.Postgres.Start(s.ctx, t)
	s.await(client.CatalogServing)
	s.killing(load, s.cluster.Agents[1])
	s.cluster.Postgres.Kill()
	s.cluster.Postgres.Restore(s.ctx, t, snapshot)
	s.cluster.Postgres.Start(s.ctx, t)
	s.await(client.CatalogHalted)
	var made recovered
	s.operator().JSON(s.ctx, t, &made, "catalog", "adopt", "--yes")
	if made.Incarnation != 1 || made.LostRecords != 0 || made.Records == 0 {
		t.Errorf("adopted %+v", made)
	}
	t.Logf("adopted %+v", made)
	s.cluster.AwaitLeaders(s.ctx, t, topic, func(l client.Lease) bool { return l.LeaderAgentID != "" && l.Epoch > 1<<23 })
	load.AwaitAcknowledged(s.ctx, t, enough)
	s.sweepsMuchOfIt()
	if err := load.Stop(s.ctx, t).Err(); err != nil {
		t.Error(err)
	}
	s.sound()
}

// sweepsMuchOfIt waits until a good part of the bucket has been swept.
func (s *story) sweepsMuchOfIt() {
	s.Helper()
	next := func() int {
		n, err := strconv.Atoi(strings.TrimSpace(s.cluster.Postgres.SQL(s.ctx, s, "SELECT next_shard FROM upkeep WHERE agent_group = 'default'")))
		if err != nil {
			s.Fatal(err)
		}
		return n
	}
	for last, swept := next(), 0; swept < 80; { // of 257: a quarter of all objects
		select {
		case <-s.ctx.Done():
			s.Fatal("nothing is swept")
		case <-time.After(100 * time.Millisecond):
		}
		now := next()
		swept += (now - last + 257) % 257
		last = now
	}
}

func (s *story) await(want client.CatalogState) {
	s.Helper()
	for {
		ctx, cancel := context.WithTimeout(s.ctx, 2*time.Second)
		status, err := s.cluster.Admin(s).CatalogStatus(ctx)
		cancel()
		if err == nil && status.State == want {
			return
		}
		select {
		case <-s.ctx.Done():
			s.Fatalf("the catalog is %+v, %v, not %v", status, err, want)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
