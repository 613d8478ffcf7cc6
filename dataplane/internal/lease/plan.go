package lease

import (
	"cmp"
	"slices"

	"github.com/streamhouse/streamhouse/dataplane/internal/ingest"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	"github.com/streamhouse/streamhouse/dataplane/internal/route"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// mode is what the agent wants of its leases in general.
type mode uint8

const (
	// serving: hold what placement says.
	serving mode = iota
	// draining: take nothing new; hand over what placement has given to others.
	draining
	// leaving: hand over everything, to nobody if need be: there is no one who could take it, or it took too long.
	leaving
	// unfit: the bucket does not take what this agent has. Resign at once; what was not committed is not written.
	unfit
)

// view is what a plan is made from.
type view struct {
	self    string
	session string
	mode    mode
	rows    map[partition.ID]route.Row   // that name this agent, and those of held, demanded and expected partitions
	held    map[partition.ID]ingest.Held // tenures that have not ended
	gone    func(partition.ID) bool      // its topic was deleted
	// ready has the other agents that can take something over; live, those that are there.
	ready, live map[string]bool
	// lastEnded is the highest epoch that this session has ended; answered, that the catalog has answered the release of.
	lastEnded func(partition.ID) partition.Epoch
	answered  map[partition.ID]partition.Epoch
	demanded  map[partition.ID]struct{}        // somebody wants to write there
	expected  map[partition.ID]partition.Epoch // somebody says that it was granted to this session
}

// unsettled are the partitions that are not as they should be: not led by whom placement has chosen, or on their way.
func (v view) unsettled() map[partition.ID]struct{} {
	unsettled := map[partition.ID]struct{}{}
	for p, row := range v.rows {
		held, holds := v.held[p]
		mine := row.Assigned == v.self
		settled := holds && mine && !held.Closing && row.Epoch <= held.Epoch
		if !settled && (holds || mine || row.LeaderSession == v.session) {
			unsettled[p] = struct{}{}
		}
	}
	return unsettled
}

// ending is a tenure to end, and why.
type ending struct {
	partition partition.ID
	epoch     partition.Epoch
	reason    refusalv1.Reason
	// release tells the catalog.
	release bool
	// unready: nobody can take it over yet.
	unready bool
}

// want is a lease to ask for.
type want struct {
	partition partition.ID
	// held: another agent leads it, as far as known, and is going to hand it over.
	held bool
	// said: somebody says that it has been granted to this session.
	said bool
}

// plan is what should happen.
type plan struct {
	acquire []want
	// close has those first that somebody waits to take over.
	close []ending
	end   []ending
}

func decide(v view) plan {
	var p plan
	for id, held := range v.held {
		p.keepOrEnd(v, id, held)
	}
	for id, row := range v.rows {
		if _, held := v.held[id]; !held {
			p.takeOrReturn(v, id, row)
		}
	}
	slices.SortStableFunc(p.close, func(a, b ending) int { return cmp.Compare(rank(a.unready), rank(b.unready)) })
	return p
}

func rank(last bool) int {
	if last {
		return 1
	}
	return 0
}

// keepOrEnd judges a tenure that this session holds. It is closed only for somebody who can take it over: what leads nobody serves nobody.
func (p *plan) keepOrEnd(v view, id partition.ID, held ingest.Held) {
	row := v.rows[id]
	elsewhere := row.Revision > 0 && row.Assigned != "" && row.Assigned != v.self
	e := ending{partition: id, epoch: held.Epoch, reason: refusalv1.Reason_REASON_NOT_LEADER, release: true, unready: !v.ready[row.Assigned]}
	switch {
	case v.gone(id):
		e.reason, e.release = refusalv1.Reason_REASON_UNKNOWN_TOPIC, false
		p.end = append(p.end, e)
	case row.Epoch > held.Epoch: // somebody else's tenure has begun: this one is over
		e.release = false
		p.end = append(p.end, e)
	case v.mode == unfit:
		p.end = append(p.end, e)
	case held.Closing && !held.Busy:
		p.end = append(p.end, e)
	case held.Closing:
	case (elsewhere && !e.unready) || v.mode == leaving:
		p.close = append(p.close, e)
	}
}

// takeOrReturn judges a partition that this session does not hold.
func (p *plan) takeOrReturn(v view, id partition.ID, row route.Row) {
	_, demanded := v.demanded[id]
	granted := row.LeaderSession == v.session
	ended := v.lastEnded(id)
	said := v.expected[id] > max(row.Epoch, ended)
	wanted := row.Assigned == v.self || (demanded && row.Assigned == "") || (granted && row.Epoch > ended && row.Assigned == "") || said
	switch {
	case v.gone(id):
	case wanted && v.mode == serving:
		p.acquire = append(p.acquire, want{partition: id, held: !granted && v.live[row.Leader], said: said})
	case granted && row.Epoch > v.answered[id]:
		p.end = append(p.end, ending{partition: id, epoch: row.Epoch, reason: refusalv1.Reason_REASON_NOT_LEADER, release: true})
	}
}
