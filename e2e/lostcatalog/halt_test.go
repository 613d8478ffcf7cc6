package lostcatalog_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/e2e/cluster"
	"github.com/streamhouse/streamhouse/e2e/command"
	"github.com/streamhouse/streamhouse/e2e/workload"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
)

const (
	topic      = "orders"
	partitions = 3
	// each is how many records a partition gets at a time.
	each = 10
	// floor is below the epochs of incarnation 1, and above those of incarnation 0.
	floor       = 1 << 23
	testTimeout = 4 * time.Minute
	// leastProbes are made before a probe is stopped, or it has shown nothing.
	leastProbes = 50
)

// status is what `streamhouse catalog status -o json` prints.
type status struct {
	State       string   `json:"state"`
	Incarnation int32    `json:"incarnation"`
	Reasons     []string `json:"reasons"`
}

// story is a cluster with a topic, and who looks at it.
type story struct {
	*testing.T
	ctx     context.Context // a story is one bounded piece of work
	cluster *cluster.Cluster
	admin   *client.Admin
	agents  []*workload.Agent
	id      string // of the topic
}

func begin(t *testing.T, options cluster.Options) *story {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	t.Cleanup(cancel)
	c := cluster.Start(t, options)
	c.CreateTopic(ctx, t, topic, partitions, client.TopicConfig{})
	s := &story{T: t, ctx: ctx, cluster: c, admin: c.Admin(t)}
	described, _, err := s.admin.DescribeTopic(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	s.id = described.ID
	for _, a := range c.Agents {
		s.agents = append(s.agents, workload.NewAgent(a.URL, c.ClientKey))
	}
	return s
}

// write stores records "<generation>-<i>" in every partition, each acknowledged durably.
func (s *story) write(generation string) {
	s.Helper()
	producer, err := s.cluster.Client(s).NewProducer()
	if err != nil {
		s.Fatal(err)
	}
	defer func() { _ = producer.Close(s.ctx) }()
	for i := range each {
		for p := range int32(partitions) {
			record := &client.Record{Topic: topic, Partition: p, UsePartition: true, Value: fmt.Appendf(nil, "%s-%d", generation, i)}
			if err := producer.ProduceSync(s.ctx, record); err != nil {
				s.Fatalf("produce %s: %v", generation, err)
			}
		}
	}
}

// state is what the control plane says; "" while it does not answer.
func (s *story) state() client.CatalogStatus {
	ctx, cancel := context.WithTimeout(s.ctx, 2*time.Second)
	defer cancel()
	status, err := s.admin.CatalogStatus(ctx)
	if err != nil {
		return client.CatalogStatus{}
	}
	return status
}

// await waits for a state, and says how long that took.
func (s *story) await(want client.CatalogState) time.Duration {
	s.Helper()
	began := time.Now()
	for last := s.state(); last.State != want; last = s.state() {
		select {
		case <-s.ctx.Done():
			s.Fatalf("the catalog is %v, not %v: %+v", last.State, want, last)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return time.Since(began)
}

// probe asks every agent where the partitions end, until it is stopped. An answer below the acknowledged end is a lie (P4).
func (s *story) probe(end int64) (stop func() (answers int)) {
	ctx, cancel := context.WithCancel(s.ctx)
	var probing sync.WaitGroup
	var mu sync.Mutex
	answers := 0
	for i, agent := range s.agents {
		probing.Go(func() {
			for ctx.Err() == nil {
				ends, err := agent.Ends(ctx, topic, partitions)
				for p, got := range ends {
					if err == nil && got >= 0 && got < end {
						s.Errorf("agent %d says that partition %d ends at %d: %d were acknowledged", i, p, got, end)
						return
					}
				}
				mu.Lock()
				answers++
				mu.Unlock()
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	enough := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return answers >= leastProbes
	}
	return func() int {
		for !enough() && ctx.Err() == nil {
			time.Sleep(5 * time.Millisecond)
		}
		cancel()
		probing.Wait()
		return answers
	}
}

// TestP1_P2_ACatalogThatLostTransactionsHalts restores an old backup under a running cluster. One agent has heard of the halt, and not of its end.
func TestP1_P2_ACatalogThatLostTransactionsHalts(t *testing.T) {
	t.Parallel()
	s := begin(t, cluster.Options{ControlPlanes: 2, Proxied: true})
	s.write("kept")
	snapshot := s.backup()
	s.write("lost")
	s.read(s.agents[0], 0) // so that it knows of all of them
	stop := s.probe(2 * each)
	s.cluster.Postgres.Kill()
	s.cluster.Postgres.Restore(s.ctx, s, snapshot)
	s.cluster.Postgres.Start(s.ctx, s)
	t.Logf("halted %v after the old database answered", s.await(client.CatalogHalted).Round(time.Millisecond))
	s.refusesEverything()
	if answers := stop(); answers < leastProbes {
		t.Errorf("only %d probes", answers)
	}
	s.explains()
	s.forgets(s.adopts)
	s.servesAgain()
}

// forgets: while the catalog is halted, an agent tells the records that it knows of. Who has not heard whether it was adopted tells them no more.
func (s *story) forgets(adopt func()) {
	s.Helper()
	deaf := s.cluster.Agents[0]
	if got := s.known(s.agents[0], 0); got != all("kept")+all("lost") {
		s.Errorf("while the catalog is halted agent %s reads %q", deaf.ID, got)
	}
	for _, way := range deaf.Control {
		way.Silence(s)
	}
	adopt()
	ctx, cancel := context.WithTimeout(s.ctx, 2*time.Second)
	defer cancel()
	if response, err := s.agents[0].Fetch(ctx, s.from(0, 0)); err == nil {
		s.Errorf("after an adoption that it has not heard of, agent %s reads %v", deaf.ID, response)
	}
	for _, way := range deaf.Control {
		way.Restore(s.ctx)
	}
}

// backup stops the server in order, copies it, and starts it again.
func (s *story) backup() string {
	s.Helper()
	if err := s.cluster.Postgres.Stop(s.ctx); err != nil {
		s.Fatal(err)
	}
	snapshot := s.cluster.Postgres.Snapshot(s.ctx, s)
	s.cluster.Postgres.Start(s.ctx, s)
	s.await(client.CatalogServing)
	return snapshot
}

// refusesEverything: whoever asks is told Unavailable, by every agent, and nothing is acknowledged. Agents learn of the halt with a heartbeat.
func (s *story) refusesEverything() {
	s.Helper()
	for i, agent := range s.agents {
		for {
			ctx, cancel := context.WithTimeout(s.ctx, 5*time.Second)
			_, err := agent.ProduceHere(ctx, topic, 0, "halted")
			cancel()
			if err == nil {
				s.Fatalf("agent %d stored a record in a halted catalog", i)
			}
			if strings.Contains(err.Error(), "halted") && connect.CodeOf(err) == connect.CodeUnavailable {
				break
			}
			if s.ctx.Err() != nil {
				s.Fatalf("agent %d does not say that the catalog is halted: %v", i, err)
			}
		}
		if ends, err := agent.Ends(s.ctx, topic, partitions); err == nil && ends[0] >= 0 {
			s.Errorf("agent %d says where partitions end: %v", i, ends)
		}
	}
	if _, err := s.admin.CreateTopic(s.ctx, client.NewTopic{Name: "new", PartitionCount: 1}); err == nil {
		s.Error("a halted catalog made a topic")
	}
	if _, err := s.admin.DeleteTopic(s.ctx, topic); err == nil {
		s.Error("a halted catalog deleted a topic")
	}
}

// explains: the command says what is lost, and changes nothing unless it is told to.
func (s *story) explains() {
	s.Helper()
	operator := command.Of(s, s.cluster, s.cluster.AdminKey)
	var shown status
	operator.JSON(s.ctx, s, &shown, "catalog", "status")
	if shown.State != "halted" || shown.Incarnation != 0 || len(shown.Reasons) == 0 || !strings.Contains(strings.Join(shown.Reasons, " "), "was told") {
		s.Errorf("status %+v", shown)
	}
	s.Logf("reasons: %q", shown.Reasons)
	for _, typed := range []string{"", "yes\n"} {
		if r := operator.Run(s.ctx, s, []byte(typed), "catalog", "adopt"); r.Status != 2 || !strings.Contains(string(r.Stderr), "cannot be read any more") {
			s.Errorf("adopt with %q typed: %s", typed, r)
		}
	}
	if got := s.state(); got.State != client.CatalogHalted {
		s.Fatalf("it is %v", got.State)
	}
}

func (s *story) adopts() {
	s.Helper()
	operator := command.Of(s, s.cluster, s.cluster.AdminKey)
	r := operator.Run(s.ctx, s, []byte("adopt\n"), "catalog", "adopt", "--without-bucket", "-o", "json")
	var adopted struct {
		Incarnation int32 `json:"incarnation"`
	}
	if err := json.Unmarshal(r.Stdout, &adopted); err != nil || r.Status != 0 || adopted.Incarnation != 1 || !strings.Contains(string(r.Stderr), "WARNING") {
		s.Fatalf("adopt: %s, %s, %v", r, r.Stdout, err)
	}
	if r := operator.Run(s.ctx, s, nil, "catalog", "adopt", "--yes"); r.Status != 1 || !strings.Contains(string(r.Stderr), "nothing to adopt") {
		s.Errorf("adopt again: %s", r)
	}
}

// servesAgain: new tenures are above all before, the log goes on where the kept records end, and every agent reads the same.
func (s *story) servesAgain() {
	s.Helper()
	s.cluster.AwaitLeaders(s.ctx, s, topic, func(l client.Lease) bool { return l.LeaderAgentID != "" && l.Epoch > floor })
	s.write("after")
	for i, a := range s.cluster.Agents {
		for p := range int32(partitions) {
			if got := s.read(s.agents[i], p); got != all("kept")+all("after") {
				s.Errorf("agent %s reads %q in partition %d", a.ID, got, p)
			}
		}
	}
	if got := s.state(); got.State != client.CatalogServing || got.Incarnation != 1 || len(got.Reasons) > 0 {
		s.Errorf("status %+v", got)
	}
	if s.objects("1-") == 0 || s.objects("0-") == 0 {
		s.Error("object keys do not tell the incarnations apart")
	}
}

func all(generation string) (records string) {
	for i := range each {
		records += fmt.Sprintf("%s-%d ", generation, i)
	}
	return records
}

// from asks for a partition's records from an offset on. It is named by its topic's id: for a name the agent would have to ask the catalog.
func (s *story) from(partition int32, offset int64) *dataplanev1.FetchRequest {
	return &dataplanev1.FetchRequest{Decode: true, Partitions: []*dataplanev1.FetchPartition{{
		Topic: &dataplanev1.FetchPartition_TopicId{TopicId: s.id}, Partition: partition, Offset: offset,
	}}}
}

// read is the whole partition as one agent has it: until a fetch finds nothing (P4).
func (s *story) read(agent *workload.Agent, partition int32) (records string) {
	s.Helper()
	for next := int64(0); ; {
		response, err := agent.Fetch(s.ctx, s.from(partition, next))
		if err != nil {
			s.Fatal(err)
		}
		got := response.GetPartitions()[0]
		if len(got.GetRecords()) == 0 {
			return records
		}
		for _, r := range got.GetRecords() {
			records += string(r.GetValue()) + " "
		}
		next = got.GetNextOffset()
	}
}

// known is what one agent tells of a partition in one answer.
func (s *story) known(agent *workload.Agent, partition int32) (records string) {
	s.Helper()
	response, err := agent.Fetch(s.ctx, s.from(partition, 0))
	if err != nil {
		s.Fatal(err)
	}
	for _, r := range response.GetPartitions()[0].GetRecords() {
		records += string(r.GetValue()) + " "
	}
	return records
}

// objects counts the objects in the bucket whose name begins so.
func (s *story) objects(prefix string) (n int) {
	s.Helper()
	err := filepath.WalkDir(s.cluster.S3.Dir, func(path string, _ fs.DirEntry, err error) error {
		if strings.HasPrefix(filepath.Base(path), prefix) {
			n++
		}
		return err
	})
	if err != nil {
		s.Fatal(err)
	}
	return n
}
