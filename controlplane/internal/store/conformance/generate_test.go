package conformance

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"pgregory.net/rapid"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/google/uuid"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// teller makes up what happens next: mostly what a well-behaved agent would do, for else everything is refused.
type teller struct {
	*pair
	registered map[string]int // processes, by agent id
	processes  []string       // "a/1"
	topics     map[string]int // topics, by name
	objects    int
	sent       []string // commits that were sent
	late       []string // commits that were not sent yet
	labels     []string // "o1@a/1"
}

var (
	agentGroups = map[string]string{"a": "default", "b": "default", "c": "default", "d": "blue"}
	topicGroups = map[string]string{"orders": "default", "payments": "default", "visits": "blue"}
)

func (s *teller) begin(t *rapid.T) {
	s.registered, s.topics = map[string]int{}, map[string]int{}
	s.do(t, "group blue")
	s.registerAs(t, "a", "default")
	s.registerAs(t, "b", "default")
	s.registerAs(t, "d", "blue")
	s.topic(t)
}

func (s *teller) actions() map[string]func(*rapid.T) {
	actions := map[string]func(*rapid.T){
		"register": s.register, "heartbeat": s.heartbeat, "deregister": s.deregister, "wait": s.wait,
		"topic": s.topic, "change": s.changeTopic, "retain": s.retain, "remove": s.remove, "records": s.deleteRecords,
		"heartbeat1": s.heartbeat, "heartbeat2": s.heartbeat, "release": s.release, "late": s.holdBack, "deliver": s.deliver,
		"repeat": s.repeat, "tombstone": s.tombstone,
		"lookup": s.lookup, "list": s.list, "watch": s.watch, "balance": s.balance, "operate": s.operate, "report": s.report, "group": s.changeGroup,
	}
	for i := range 5 { // what matters most happens most often
		actions[fmt.Sprint("acquire", i)] = s.acquire
		actions[fmt.Sprint("commit", i)] = s.commit
		actions[fmt.Sprint("judge", i)] = s.judge
	}
	return actions
}

// one draws one of these.
func one[T any](t *rapid.T, label string, of ...T) T { return rapid.SampledFrom(of).Draw(t, label) }

// seldom is true one time in n.
func seldom(t *rapid.T, label string, n int) bool { return rapid.IntRange(1, n).Draw(t, label) == n }

func (s *teller) register(t *rapid.T) {
	id := one(t, "agent", "a", "b", "c", "d")
	group := agentGroups[id]
	if seldom(t, "elsewhere", 20) {
		group = one(t, "group", "default", "blue", "green")
	}
	s.registerAs(t, id, group)
}

func (s *teller) registerAs(t *rapid.T, id, group string) {
	command := fmt.Sprintf("register %s group=%s zone=%s", id, group, one(t, "zone", "z1", "z2"))
	if seldom(t, "known", 8) { // a repeat, mostly of a registration of another time
		command += " registration=" + one(t, "registration", "r1", "r2", "r3")
	}
	if name, ok := strings.CutPrefix(s.do(t, command), "session "); ok && !slices.Contains(s.processes, name) {
		s.registered[id]++
		s.processes = append(s.processes, name)
	}
}

// process is mostly a newest one.
func (s *teller) process(t *rapid.T) string {
	if seldom(t, "old", 5) {
		return one(t, "process", append(s.processes, "nobody")...)
	}
	id, _, _ := strings.Cut(one(t, "process", s.processes...), "/")
	return s.newest(id)
}

func (s *teller) newest(id string) string { return fmt.Sprintf("%s/%d", id, s.registered[id]) }

func (s *teller) heartbeat(t *rapid.T) {
	command := "heartbeat " + s.process(t)
	if seldom(t, "draining", 20) {
		command += " draining"
	}
	if seldom(t, "unfit", 20) {
		command += " unfit"
	}
	s.do(t, command)
}

func (s *teller) balance(t *rapid.T) { s.do(t, "balance") }

// operate is what operators do to agents and partitions.
func (s *teller) operate(t *rapid.T) {
	place, _, _ := strings.Cut(s.place(t, ""), "#")
	if !strings.Contains(place, "/") {
		place += "/0"
	}
	switch {
	case seldom(t, "drain", 8):
		s.do(t, "drain "+one(t, "agent", "a", "b", "c", "d"))
	case seldom(t, "unpin", 4):
		s.do(t, "transfer "+place)
	default:
		s.do(t, "transfer "+place+" to="+one(t, "agent", "a", "b", "c", "d", "z"))
	}
	s.do(t, one(t, "look", "drain a dry", "describe b", "describe c group=blue", "status", "status group=blue", "explain "+place, "groups"))
}

// report is a heartbeat with loads.
func (s *teller) report(t *rapid.T) {
	process := s.process(t)
	command := fmt.Sprintf("report %s in=%d z2=%d", process, rapid.IntRange(0, 9).Draw(t, "in"), rapid.IntRange(0, 9).Draw(t, "bytes"))
	for seldom(t, "load", 2) {
		command += fmt.Sprintf("\n  %s rate=%d", s.place(t, process), rapid.IntRange(0, 3).Draw(t, "rate")*1_000_000)
	}
	s.do(t, command)
}

// changeGroup mostly finds the agent group in use.
func (s *teller) changeGroup(t *rapid.T) {
	if seldom(t, "really", 4) {
		s.do(t, one(t, "change", "create-group green", "delete-group green", "delete-group blue", "create-group blue"))
	}
}

func (s *teller) deregister(t *rapid.T) {
	if seldom(t, "really", 6) {
		s.do(t, "deregister "+s.process(t))
	}
}

func (s *teller) wait(t *rapid.T) {
	command := "wait " + one(t, "time", "1m", "1m", "1m", "1m", "1m", "3m", "3m", "11m")
	if seldom(t, "absent", 10) {
		command += " without judges"
	}
	s.do(t, command)
}

func (s *teller) judge(t *rapid.T) { s.do(t, one(t, "judge", "judge", "settle")) }

func (s *teller) topic(t *rapid.T) {
	name := one(t, "topic", "orders", "payments", "visits")
	command := fmt.Sprintf("topic %s partitions=%d group=%s", name, rapid.IntRange(1, 3).Draw(t, "partitions"), topicGroups[name])
	if seldom(t, "buffered", 3) {
		command += " buffered"
	}
	if seldom(t, "kept", 2) {
		command += one(t, "keep", " retention=2m", " retention=5m", " retention-bytes=100", " retention-bytes=250", " retention=4m retention-bytes=500")
	}
	if answer := s.do(t, command); answer != "TOPIC_EXISTS" && answer != "UNKNOWN_AGENT_GROUP" { // its agent group may have been removed
		s.topics[name]++
	}
}

func (s *teller) changeTopic(t *rapid.T) {
	if !seldom(t, "really", 4) {
		t.Skip()
	}
	name := one(t, "topic", "orders", "payments", "visits")
	s.do(t, one(t, "change", "update "+name+" buffered", "update "+name+" durable", "delete "+name, "purge",
		"update "+name+" retention=3m", "update "+name+" retention=0s retention-bytes=-1", "update "+name+" partitions=2", "update "+name+" partitions=3"))
}

// retain is mostly followed by the second step, sometimes much later.
func (s *teller) retain(t *rapid.T) {
	s.do(t, "retain")
	if !seldom(t, "later", 3) {
		s.do(t, "remove")
	}
}

func (s *teller) remove(t *rapid.T) { s.do(t, "remove") }

func (s *teller) deleteRecords(t *rapid.T) {
	place, _, _ := strings.Cut(s.place(t, ""), "#")
	if !strings.Contains(place, "/") {
		place += "/0"
	}
	end := s.leases(t)[place].GetHighWatermark()
	s.do(t, fmt.Sprintf("records %s before=%d", place, max(-1, one(t, "before", -1, 0, end/2, end-1, end, end, end+1))))
}

// place is mostly a partition of a topic that lives, and mostly of the agent group to which the process belongs (empty: any).
func (s *teller) place(t *rapid.T, process string) string {
	id, _, _ := strings.Cut(process, "/")
	var near, far []string
	leases := s.leases(t)
	for _, name := range slices.Sorted(maps.Keys(leases)) {
		topic, _, _ := strings.Cut(name, "/")
		if process == "" || agentGroups[id] == topicGroups[topic] {
			near = append(near, name)
		} else {
			far = append(far, name)
		}
	}
	if len(near) > 0 && !seldom(t, "far", 8) {
		return one(t, "place", near...)
	}
	for name, n := range s.topics { // one that was deleted, or a partition that never was
		if n > 0 {
			far = append(far, fmt.Sprintf("%s#%d/%d", name, n, 0), name+"/3", name+"#1/0")
		}
	}
	slices.Sort(far)
	return one(t, "place", far...)
}

// leases of the reference, by name of the partition.
func (s *teller) leases(t *rapid.T) map[string]*controlplanev1.Lease {
	response, err := s.catalog.ListLeases(t.Context(), store.EveryAgentGroup, &controlplanev1.ListLeasesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	leases := map[string]*controlplanev1.Lease{}
	for _, l := range response.GetLeases() {
		leases[fmt.Sprintf("%s/%d", l.GetTopic(), l.GetPartition())] = l
	}
	return leases
}

func (s *teller) acquire(t *rapid.T) {
	process := s.process(t)
	place := s.place(t, process)
	lease := s.leases(t)[place]
	if id := lease.GetAssignedAgentId(); s.registered[id] > 0 && !seldom(t, "another", 4) {
		process = s.newest(id)
	}
	command := fmt.Sprintf("acquire %s %s", process, place)
	for seldom(t, "more", 2) {
		command += " " + s.place(t, process)
	}
	if seldom(t, "ended", 5) {
		command += fmt.Sprintf(" ended=%d", max(0, lease.GetEpoch()-one(t, "ended", int32(0), 1)))
	}
	s.do(t, command)
}

func (s *teller) release(t *rapid.T) {
	place := s.place(t, "")
	leases := s.leases(t)
	for _, name := range slices.Sorted(maps.Keys(leases)) { // one whose leader has been told to release it
		if l := leases[name]; l.GetLeader() != "" && l.GetLeader() != l.GetAssignedAgentId() {
			place = name
		}
	}
	lease := leases[place]
	s.do(t, fmt.Sprintf("release %s %s epoch=%d", s.leader(t, lease), place, max(1, lease.GetEpoch()-one(t, "off", int32(0), 0, 0, 1, -1))))
}

// leader is mostly the process that leads.
func (s *teller) leader(t *rapid.T, lease *controlplanev1.Lease) string {
	if id := lease.GetLeader(); id != "" && !seldom(t, "another", 6) {
		return s.newest(id)
	}
	return s.process(t)
}

func (s *teller) commit(t *rapid.T)   { s.send(t, s.draft(t)) }
func (s *teller) holdBack(t *rapid.T) { s.late = append(s.late, s.draft(t)) }

func (s *teller) send(t *rapid.T, command string) {
	s.sent = append(s.sent, command)
	s.do(t, command)
}

// deliver sends one of those that are late, in any order.
func (s *teller) deliver(t *rapid.T) {
	if len(s.late) == 0 {
		t.Skip()
	}
	i := rapid.IntRange(0, len(s.late)-1).Draw(t, "which")
	command := s.late[i]
	s.late = append(s.late[:i:i], s.late[i+1:]...)
	s.send(t, command)
}

func (s *teller) repeat(t *rapid.T) {
	if len(s.sent) == 0 {
		t.Skip()
	}
	s.do(t, one(t, "again", s.sent...))
}

// draft is a commit of one to three objects with one to three segments each.
func (s *teller) draft(t *rapid.T) string {
	leases := s.leases(t)
	place := s.place(t, "")
	for range 2 { // somebody may lead it
		if leases[place].GetLeader() == "" {
			place = s.place(t, "")
		}
	}
	process := s.leader(t, leases[place])
	command := "commit " + process
	ends := map[string]int64{}
	sequences := map[string]int64{}
	for i := 0; i == 0 || (i < 3 && seldom(t, "another object", 3)); i++ {
		s.objects++
		label := fmt.Sprintf("o%d", s.objects)
		s.labels = append(s.labels, label+"@"+process)
		for j := 0; j == 0 || (j < 3 && seldom(t, "another segment", 3)); j++ {
			if j > 0 {
				place = s.place(t, process)
			}
			command += "\n  " + label + " " + s.segment(t, place, leases[place], ends, sequences)
		}
	}
	return command
}

func (s *teller) segment(t *rapid.T, place string, lease *controlplanev1.Lease, ends, sequences map[string]int64) string {
	base, begun := ends[place]
	if !begun {
		base = lease.GetHighWatermark()
	}
	if seldom(t, "elsewhere", 10) {
		base = max(0, base+one(t, "off", int64(-1), 1, 5))
	}
	epoch := max(1, lease.GetEpoch())
	if seldom(t, "another epoch", 10) {
		epoch = max(1, epoch+one(t, "off", int32(-1), 1))
	}
	count := rapid.Int64Range(1, 5).Draw(t, "count")
	ends[place] = base + count
	text := fmt.Sprintf("%s epoch=%d base=%d count=%d time=%d", place, epoch, base, count, rapid.IntRange(1000, 1009).Draw(t, "time"))
	if seldom(t, "producer", 2) {
		text += s.batch(t, place, lease, count, sequences)
	}
	return text
}

func (s *teller) batch(t *rapid.T, place string, lease *controlplanev1.Lease, count int64, sequences map[string]int64) string {
	id := rapid.Int64Range(7, 8).Draw(t, "producer")
	epoch, next := s.producer(t, lease, id)
	key := fmt.Sprint(place, id)
	if known, begun := sequences[key]; begun {
		next = known
	}
	switch rapid.IntRange(1, 10).Draw(t, "mistake") {
	case 1:
		next = max(0, next-1)
	case 2:
		next++
	case 3:
		epoch, next = epoch+1, 0
	case 4, 5:
		epoch = max(0, epoch-1)
	}
	sequences[key] = next + count
	return fmt.Sprintf(" producer=%d:%d:%d", id, epoch, next)
}

// producer is where the producer stands, as far as the reference knows.
func (s *teller) producer(t *rapid.T, lease *controlplanev1.Lease, id int64) (epoch, next int64) {
	topic, err := uuid.Parse(lease.GetTopicId())
	if err != nil {
		return 0, 0
	}
	response, err := s.catalog.LookupProducers(t.Context(), store.AgentGroup(topicGroups[lease.GetTopic()]), &controlplanev1.LookupProducersRequest{
		Lookups: []*controlplanev1.ProducerLookup{{TopicId: topic[:], Partition: lease.GetPartition(), ProducerId: id}},
	})
	if err != nil {
		t.Fatal(err)
	}
	state := response.GetOutcomes()[0].GetState()
	if n := len(state.GetBatches()); n > 0 {
		next = int64(state.GetBatches()[n-1].GetBaseSequence()) + int64(state.GetBatches()[n-1].GetRecordCount())
	}
	return int64(state.GetProducerEpoch()), next
}

// tombstone kills objects that were committed, are late, or never were.
func (s *teller) tombstone(t *rapid.T) {
	if len(s.late) > 0 && !seldom(t, "another", 3) {
		words := strings.Fields(one(t, "late", s.late...)) // "commit", the process, the object
		s.do(t, "tombstone "+words[2]+"@"+words[1])
		return
	}
	s.objects++
	s.do(t, "tombstone "+one(t, "object", append(s.labels, fmt.Sprintf("o%d@%s", s.objects, one(t, "process", s.processes...)))...))
}

func (s *teller) lookup(t *rapid.T) {
	process := s.process(t)
	place := s.place(t, process)
	s.do(t, one(t, "lookup",
		fmt.Sprintf("lookup %s %s %s offset=%d most=%d", process, place, s.place(t, process),
			rapid.IntRange(0, 20).Draw(t, "offset"), rapid.IntRange(0, 3).Draw(t, "most")),
		fmt.Sprintf("lookup %s %s time=%d", process, place, rapid.IntRange(1000, 1010).Draw(t, "time")),
		fmt.Sprintf("producer %s %s id=7", process, place)))
}

func (s *teller) list(t *rapid.T) {
	process := s.process(t)
	s.do(t, one(t, "list", "agents", "leases", "topics", "ids 3", "topics group=blue", "leases group=default", "leases leader=a", "history orders/0", "history visits/1 group=default",
		"resolve "+process+" orders visits", "check "+process))
}

func (s *teller) watch(t *rapid.T) {
	s.do(t, one(t, "watch", "watch v limit=1", "watch w limit=2", "watch x", "watch y group=blue"))
}
