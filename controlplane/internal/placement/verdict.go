package placement

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

func (e *explainer) wouldMove() (all []string) {
	p := e.partition()
	switch {
	case len(e.agents) == 0:
		return []string{"An agent of the agent group that becomes eligible."}
	case p.Agent < 0 || e.owner[e.place] == orphan:
		return []string{fmt.Sprintf("Nothing else is needed: placement assigns it to %s.", e.in.Agents[e.to].ID)}
	case e.owner[e.place] == held:
		return []string{"The end of the agent's session, or a transfer by an operator once the agent is back."}
	}
	id := e.in.Agents[p.Agent].ID
	all = append(all, fmt.Sprintf("%s drains, becomes unfit or suspect, or its session ends.", id))
	if p.Pinned {
		return append(all, "An operator unpins it or transfers it to another agent.")
	}
	all = append(all, "An operator transfers it to another agent, which pins it there.")
	return append(all, e.shifts(e.in.Agents[p.Agent])...)
}

// shifts are changes of the cluster that would move an ordinary partition.
func (e *explainer) shifts(a Agent) (all []string) {
	if preferred := e.of().PreferredZones; len(preferred) > 0 && !slices.Contains(preferred, a.Zone) {
		all = append(all, fmt.Sprintf("An eligible agent in zone %s.", strings.Join(preferred, ", ")))
	}
	if z, ok := e.zone(a.Zone); ok && len(e.allowed) > 1 {
		all = append(all, fmt.Sprintf("Zone %s leads more than %d of the topic's partitions: an agent joins another zone or leaves this one.", z.Name, z.Most))
	}
	if e.busy {
		return append(all, fmt.Sprintf("%s is busier than the mean of zone %s by more than a tenth, and a move makes that clearly better.", a.ID, a.Zone))
	}
	return append(all, fmt.Sprintf("%s has more than %d partitions: agents join, or topics are deleted.", a.ID, e.bandOf(a).most))
}

func (e *explainer) candidates() (all []Candidate) {
	for i, a := range e.in.Agents {
		if a.State == Ended {
			continue
		}
		_, allowed := e.zone(a.Zone)
		all = append(all, Candidate{
			Agent: int32(i), Eligible: a.State == Eligible && allowed, Verdict: e.verdict(int32(i), a),
			TopicPartitions: e.ofTopic[i], Partitions: e.count[i], BytesPerSecond: e.load[i],
		})
	}
	slices.SortFunc(all, func(i, j Candidate) int {
		a, b := e.in.Agents[i.Agent], e.in.Agents[j.Agent]
		return cmp.Or(strings.Compare(a.Zone, b.Zone), strings.Compare(a.ID, b.ID))
	})
	return all
}

func (e *explainer) verdict(i int32, a Agent) string {
	z, allowed := e.zone(a.Zone)
	p := e.partition()
	switch {
	case a.State != Eligible:
		return capital(a.State.sentence()) + "; nothing is placed on it."
	case i == e.to:
		return "Gets the partition next."
	case i == p.Agent && p.Pinned:
		return "Has the partition, by an operator's pin."
	case i == p.Agent && e.to != Nobody:
		return "Has the partition, and gives it up."
	case !allowed:
		return fmt.Sprintf("Is in zone %s, which the topic does not prefer.", a.Zone)
	case i == p.Agent:
		return "Has the partition; nothing is better."
	}
	return e.against(i, a, z)
}

// against says what speaks against an agent that could lead the partition as well.
func (e *explainer) against(i int32, a Agent, z Zone) string {
	p := e.partition()
	sameZone := p.Agent >= 0 && e.in.Agents[p.Agent].Zone == a.Zone
	mean := e.meanLoad(a.Zone)
	switch {
	case !sameZone && z.Partitions >= z.Most:
		return fmt.Sprintf("Could lead it, but zone %s leads %d of the topic's partitions already, and should lead at most %d.", z.Name, z.Partitions, z.Most)
	case e.busy && float64(e.load[i]) > mean*float64(capacity(a)):
		return "Could lead it, but is busier than the mean of its zone."
	case !e.busy && e.count[i] >= e.bandOf(a).most:
		return fmt.Sprintf("Could lead it, but has %d partitions, and no more than %d count as even.", e.count[i], e.bandOf(a).most)
	}
	return "Could lead it as well; nothing would be more even by so much that it is worth a move."
}

func capital(sentence string) string { return strings.ToUpper(sentence[:1]) + sentence[1:] }
