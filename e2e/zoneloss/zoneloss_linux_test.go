package zoneloss

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/e2e/cluster"
	"github.com/streamhouse/streamhouse/e2e/process"
	"github.com/streamhouse/streamhouse/e2e/workload"
)

const (
	// patience is exceeded by a hang alone.
	patience = 6 * time.Minute
	// lost is the zone that is cut off, for this long: past the end of its agents' sessions.
	lost = "az-a"
	away = 15 * time.Second
	// sessionDuration is short, so that both happen while the zone is away: its agents are suspected, and their sessions end.
	sessionDuration = 10 * time.Second
	suspectAfter    = 2 * time.Second
	// local is a topic whose producers and readers keep to their zones; orders has keys, so its records go where their partition is led.
	local, orders = "local", "orders"
	partitions    = 6
)

var zones = []string{"az-a", "az-b", "az-c"}

// agentsPerZone is what a cluster in earnest has in the long proof; one shows the same in half the time.
func agentsPerZone() int {
	if os.Getenv("STREAMHOUSE_PROVE") == "1" {
		return 2
	}
	return 1
}

// rehearsal is a cluster whose zones can be cut off.
type rehearsal struct {
	*testing.T
	ctx     context.Context // one bounded piece of work
	network *namespaces
	cluster *cluster.Cluster
}

func newRehearsal(t *testing.T) *rehearsal {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	r := &rehearsal{T: t, ctx: ctx, network: newNamespaces(t, zones...)}
	r.cluster = cluster.Start(t, cluster.Options{
		Zones: zones, AgentsPerZone: agentsPerZone(), ControlPlanes: len(zones), SessionDuration: sessionDuration, SuspectAfter: suspectAfter, Network: r.network,
	})
	for _, topic := range []string{local, orders} {
		r.cluster.CreateTopic(ctx, t, topic, partitions, client.TopicConfig{})
		r.cluster.AwaitLeaders(ctx, t, topic, settled)
	}
	return r
}

func settled(l client.Lease) bool {
	return l.LeaderAgentID != "" && l.LeaderAgentID == l.AssignedAgentID
}

// inZones are the options of the i-th client: it runs in the i-th zone.
func (r *rehearsal) inZones(i int) []client.Option { return r.cluster.From(zones[i%len(zones)]) }

// TestP1_AZoneIsLostAndReturns: producers and readers in three zones; one zone is silently cut off for longer than its agents' sessions and comes back.
// Nothing that was acknowledged is missing, nothing is there twice, no producer is told an error, and before and after no byte of a record crosses
// zones, as agents count them.
func TestP1_AZoneIsLostAndReturns(t *testing.T) {
	r := newRehearsal(t)
	home := workload.Start(t, r.cluster, workload.Options{Topic: local, Producers: -1, Unkeyed: len(zones), Readers: len(zones), Rate: 50, Client: r.inZones})
	home.AwaitAcknowledged(r.ctx, t, 800)
	if across := r.across(); across != 0 {
		t.Errorf("before: %d bytes of records crossed zones", across)
	}

	keyed := workload.Start(t, r.cluster, workload.Options{Topic: orders, Producers: len(zones), Readers: len(zones), Rate: 50, Client: r.inZones})
	keyed.AwaitAcknowledged(r.ctx, t, 600)
	r.loseAndRestore(home, keyed)
	keyed.AwaitAcknowledged(r.ctx, t, 600)
	r.judge(keyed)

	r.cluster.AwaitLeaders(r.ctx, t, local, settled)
	r.awaitZones(local)
	before := r.atHome(home)
	home.AwaitAcknowledged(r.ctx, t, 800)
	if across := r.across() - before; across != 0 {
		t.Errorf("after: %d bytes of records crossed zones", across)
	}
	r.judge(home)
}

// loseAndRestore cuts the zone off, measures for how long its partitions have no leader that others can reach, and brings it back.
func (r *rehearsal) loseAndRestore(loads ...*workload.Workload) {
	r.Helper()
	for _, load := range loads {
		load.ForgetPauses()
	}
	began := time.Now()
	r.network.cut(r.T, lost)
	acknowledged := int64(0)
	for _, load := range loads {
		acknowledged -= load.Acknowledged()
	}
	first, last := r.takeovers(began)
	r.Logf("time without a leader, of the partitions that the lost zone led: %v (the first) to %v (the last)", first, last)
	r.sleep(away - time.Since(began))
	for _, load := range loads {
		acknowledged += load.Acknowledged()
	}
	r.network.restore(r.T, lost)
	restored := time.Now()
	r.awaitLive()
	r.Logf("the zone was away for %v; %d records were acknowledged meanwhile; its agents were back %v after the network was", away, acknowledged,
		time.Since(restored).Round(time.Millisecond))
	r.Logf("longest time that a partition went without an acknowledgement, keyed records from all zones: %v", loads[len(loads)-1].LongestPause().Round(time.Millisecond))
	if acknowledged == 0 {
		r.Error("the other zones did not go on")
	}
}

// takeovers waits until nobody in the lost zone leads anything, and says how long after the cut the first and the last of its partitions had another
// leader, to the 20 ms in which it looks.
func (r *rehearsal) takeovers(cut time.Time) (first, last time.Duration) {
	r.Helper()
	admin := r.outside()
	left := -1
	r.eventually("other zones lead everything", func() bool {
		leases, err := admin.ListLeases(r.ctx, client.LeaseFilter{})
		if err != nil {
			return false
		}
		led := 0
		for _, l := range leases {
			if l.LeaderAgentID == "" || l.LeaderZone == lost {
				led++
			}
		}
		if left >= 0 && led < left && first == 0 {
			first = time.Since(cut).Round(time.Millisecond)
		}
		left, last = led, time.Since(cut).Round(time.Millisecond)
		return led == 0
	})
	return first, last
}

// outside administers the cluster by the control planes of the other zones: a look must not wait for one that is cut off. The lost zone's is the one that
// was started first, and so the one that decides placement.
func (r *rehearsal) outside() *client.Admin {
	r.Helper()
	options := append(r.cluster.From(""), client.WithAPIKey(r.cluster.AdminKey))
	for _, p := range r.cluster.ControlPlanes {
		if p.Zone != lost {
			options = append(options, client.WithControlPlane(p.URL))
		}
	}
	sdk, err := client.New(options...)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = sdk.Close() })
	return sdk.Admin()
}

// awaitLive waits until every agent has a live session again.
func (r *rehearsal) awaitLive() {
	r.Helper()
	admin := r.cluster.Admin(r)
	r.eventually("every agent is live", func() bool {
		agents, err := admin.ListAgents(r.ctx, "")
		live := 0
		for _, a := range agents {
			if a.State == client.AgentLive {
				live++
			}
		}
		return err == nil && live == len(r.cluster.Agents)
	})
}

// awaitZones waits until each zone leads its share of the topic.
func (r *rehearsal) awaitZones(topic string) {
	r.Helper()
	admin := r.cluster.Admin(r)
	r.eventually("each zone leads its share of "+topic, func() bool {
		leases, err := admin.ListLeases(r.ctx, client.LeaseFilter{Topic: topic})
		led := map[string]int{}
		for _, l := range leases {
			if settled(l) {
				led[l.LeaderZone]++
			}
		}
		for _, zone := range zones {
			if led[zone] != partitions/len(zones) {
				return false
			}
		}
		return err == nil
	})
}

// atHome waits until what was on its way while partitions moved home has arrived, and says how many bytes have crossed zones by then.
func (r *rehearsal) atHome(load *workload.Workload) int64 {
	r.Helper()
	for before := r.across(); ; {
		load.AwaitAcknowledged(r.ctx, r, 300)
		now := r.across()
		if now == before {
			return now
		}
		before = now
	}
}

// judge stops a load and asks its history.
func (r *rehearsal) judge(load *workload.Workload) {
	r.Helper()
	report := load.Stop(r.ctx, r)
	if err := report.Err(); err != nil {
		r.Error(err)
	}
	if load.Failed() > 0 {
		r.Errorf("%d records failed, the first: %v", load.Failed(), load.FirstFailure())
	}
	r.Logf("%v", report)
}

// across is how many bytes of records clients of a known zone have exchanged with agents of another, as the agents report them, once reports of all
// that was acknowledged before have arrived.
func (r *rehearsal) across() int64 {
	r.Helper()
	r.awaitReports()
	status, err := r.cluster.Admin(r).ClusterStatus(r.ctx)
	if err != nil {
		r.Fatal(err)
	}
	across, within := int64(0), int64(0)
	for _, group := range status.AgentGroups {
		for _, row := range group.Traffic {
			switch {
			case row.OtherZone == "" || (row.Direction != client.DirectionProduce && row.Direction != client.DirectionFetch):
			case row.OtherZone == row.AgentZone:
				within += row.Bytes
			default:
				across += row.Bytes
			}
		}
	}
	if within == 0 {
		r.Error("the agents have counted nothing at all")
	}
	return across
}

// awaitReports waits until every agent has reported anew: at most some 10 s, since reports without much news are that rare. One that arrives a second from
// now was made after now.
func (r *rehearsal) awaitReports() {
	r.Helper()
	admin, after := r.cluster.Admin(r), time.Now().Add(time.Second)
	for _, agent := range r.cluster.Agents {
		r.eventually(agent.ID+" reports", func() bool {
			d, err := admin.DescribeAgent(r.ctx, agent.ID)
			return err == nil && d.ReportedAt.After(after)
		})
	}
}

// TestTheKernelSeesNoRecordsCrossZones: megabytes go in and out in each zone, and the cables between the zones carry a small part of that: heartbeats,
// commits and notices, not records. The agents' own count is not asked.
func TestTheKernelSeesNoRecordsCrossZones(t *testing.T) {
	r := newRehearsal(t)
	const perZone, valueBytes = 1500, 16 << 10
	before := r.network.crossed(t)
	for i := range zones {
		r.produce(i, perZone, valueBytes)
	}
	for i := range zones {
		r.consume(i, perZone*len(zones))
	}
	crossed := r.network.crossed(t) - before
	payload := int64(perZone * valueBytes * len(zones))
	moved := payload * int64(1+len(zones)) // in once, out to each zone
	t.Logf("%.1f MB of records in and out of agents; %.2f MB crossed zones (%.1f %%)", float64(moved)/1e6, float64(crossed)/1e6, 100*float64(crossed)/float64(moved))
	if crossed > moved/20 {
		t.Errorf("%d of %d bytes crossed zones", crossed, moved)
	}
}

// produce stores records without keys from the i-th zone.
func (r *rehearsal) produce(i, records, size int) {
	r.Helper()
	producer, err := r.cluster.Client(r, r.inZones(i)...).NewProducer(client.WithoutCompression())
	if err != nil {
		r.Fatal(err)
	}
	failures := make(chan error, records) // one at most for each record
	value := bytes.Repeat([]byte("x"), size)
	for range records {
		producer.Produce(r.ctx, &client.Record{Topic: local, Value: value}, func(_ *client.Record, err error) {
			if err != nil {
				failures <- err
			}
		})
	}
	if err := producer.Close(r.ctx); err != nil || len(failures) > 0 {
		r.Fatalf("produce in %s: %v, %d failures", zones[i], err, len(failures))
	}
}

// consume reads so many records in the i-th zone.
func (r *rehearsal) consume(i, records int) {
	r.Helper()
	consumer, err := r.cluster.Client(r, r.inZones(i)...).NewConsumer(r.ctx, local, client.From(client.Beginning()))
	if err != nil {
		r.Fatal(err)
	}
	defer func() { _ = consumer.Close() }()
	for _, err := range consumer.Records(r.ctx) {
		if err != nil {
			r.Fatalf("consume in %s: %v", zones[i], err)
		}
		if records--; records == 0 {
			return
		}
	}
}

// TestTheCutIsSilentAndWhole: the rehearsal is worth what its cut is worth. Across it no connection is made and none is refused, within the zone they
// are, and afterwards all are again.
func TestTheCutIsSilentAndWhole(t *testing.T) {
	if testing.Short() {
		t.Skip("makes network namespaces")
	}
	n := newNamespaces(t, zones...)
	for _, zone := range n.zones {
		listen(t, n, zone)
	}
	check := func(when string, reach func(from, to string) bool) {
		t.Helper()
		for _, from := range n.zones {
			for _, to := range n.zones {
				err := dial(t, n, from, to)
				if reach(from, to) != (err == nil) {
					t.Errorf("%s, from %s to %s: %v", when, label(from), label(to), err)
				}
				if timeout, is := errors.AsType[net.Error](err); err != nil && (!is || !timeout.Timeout()) {
					t.Errorf("%s, from %s to %s: not silent: %v", when, label(from), label(to), err)
				}
			}
		}
	}
	everywhere := func(string, string) bool { return true }
	check("before", everywhere)
	n.cut(t, lost)
	check("cut off", func(from, to string) bool { return from == to || (from != lost && to != lost) })
	n.restore(t, lost)
	check("restored", everywhere)
	if crossed := n.crossed(t); crossed == 0 {
		t.Error("the kernel counts nothing between zones")
	}
}

const somePort = 4000

func listen(t *testing.T, n *namespaces, zone string) {
	t.Helper()
	err := process.Within(func() error { return n.Enter(zone) }, func() error {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", fmt.Sprintf("%s:%d", n.Address(zone), somePort))
		if err == nil {
			t.Cleanup(func() { _ = l.Close() })
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func dial(t *testing.T, n *namespaces, from, to string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	return process.Within(func() error { return n.Enter(from) }, func() error {
		connection, err := new(net.Dialer).DialContext(ctx, "tcp", fmt.Sprintf("%s:%d", n.Address(to), somePort))
		if err == nil {
			_ = connection.Close()
		}
		return err
	})
}

func (r *rehearsal) sleep(d time.Duration) {
	r.Helper()
	select {
	case <-r.ctx.Done():
		r.Fatal(context.Cause(r.ctx))
	case <-time.After(d):
	}
}

func (r *rehearsal) eventually(what string, is func() bool) {
	r.Helper()
	for !is() {
		select {
		case <-r.ctx.Done():
			r.Fatalf("waited in vain: %s", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
