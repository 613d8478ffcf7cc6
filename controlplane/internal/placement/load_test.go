package placement

import (
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// agentLoads sums up what partitions weigh, by agent.
func agentLoads(in Input) []int64 {
	m := newModel(in)
	idle, all := m.idleWeight(), make([]int64, len(in.Agents))
	for _, p := range in.Partitions {
		all[p.Agent] += max(idle, p.BytesPerSecond)
	}
	return all
}

// busyAgents are equal agents with topics of which every partition has a load of 1 to 3 MiB/s.
func busyAgents(t *rapid.T, agents, zones int) (Input, *rand.Rand) {
	in := equalAgents(t, agents, zones)
	random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
	for i := range in.Partitions {
		in.Partitions[i].BytesPerSecond = 1<<20 + random.Int64N(2<<20)
	}
	return in, random
}

// Within each zone loads are within a tenth of the mean, or, where partitions are few, differ by no more than the heaviest and a quarter.
func TestPlan_BalancesLoad(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in, random := busyAgents(t, 6, 2)
		for i := range in.Partitions { // from anywhere
			in.Partitions[i].Agent = int32(random.IntN(len(in.Agents)))
		}
		in.Apply(Plan(in).Moves)
		loads := agentLoads(in)
		for zone := range 2 {
			least, most := min(loads[zone], loads[zone+2], loads[zone+4]), max(loads[zone], loads[zone+2], loads[zone+4])
			if most-least > max(most/5, 3<<20*5/4) {
				t.Fatalf("zone %d: %d to %d bytes per second", zone, least, most)
			}
		}
	})
}

// A busy partition is left alone with its agent, others go elsewhere; idle ones do not all follow.
func TestPlan_GivesWayToTheBusy(t *testing.T) {
	t.Parallel()
	in := Input{Agents: []Agent{{ID: "a"}, {ID: "b"}, {ID: "c"}}, Topics: []Topic{{ID: id(1)}}}
	for i := range 12 {
		in.Partitions = append(in.Partitions, Partition{Number: int32(i), Agent: int32(i % 3), BytesPerSecond: 5 << 20})
	}
	in.Partitions[0].BytesPerSecond = 30 << 20
	in.Apply(Plan(in).Moves)
	for i, p := range in.Partitions[1:] {
		if p.Agent == in.Partitions[0].Agent {
			t.Fatalf("partition %d is with the busy one", i+1)
		}
	}
	if again := Plan(in).Moves; len(again) > 0 {
		t.Fatalf("moves again: %v", again)
	}
}

// Loads of a hundred partitions that vary by a fifth each, and so by little in sum, move nothing.
func TestPlan_IgnoresNoise(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in, random := busyAgents(t, 6, 2)
		for len(in.Partitions) < 600 {
			load := 1<<20 + random.Int64N(2<<20)
			in.Partitions = append(in.Partitions, Partition{Number: int32(1000 + len(in.Partitions)), Agent: Nobody, BytesPerSecond: load})
		}
		in.Apply(Plan(in).Moves)
		for i := range in.Partitions {
			in.Partitions[i].BytesPerSecond += (random.Int64N(3) - 1) * in.Partitions[i].BytesPerSecond / 5
		}
		if moves := Plan(in).Moves; len(moves) > 0 {
			t.Fatalf("noise moves %v", moves)
		}
	})
}

// An agent that joins a busy zone gets its share of the load, one that leaves gives up its own, and little else moves.
func TestPlan_SharesLoadWithANewAgent(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in, _ := busyAgents(t, 5, 1)
		for len(in.Partitions) < 200 {
			in.Partitions = append(in.Partitions, Partition{Topic: 0, Number: int32(1000 + len(in.Partitions)), Agent: Nobody, BytesPerSecond: 2 << 20})
		}
		in.Agents[4].State = Ended
		in.Apply(Plan(in).Moves)
		in.Agents[4].State = Eligible
		moves := Plan(in).Moves
		in.Apply(moves)
		loads := agentLoads(in)
		mean := (loads[0] + loads[1] + loads[2] + loads[3] + loads[4]) / 5
		if loads[4] < mean*9/10 || len(moves) > len(in.Partitions)/5+1 {
			t.Fatalf("%d of %d partitions moved; it has %d, the mean is %d", len(moves), len(in.Partitions), loads[4], mean)
		}
	})
}

// A busy partition does not go round among agents of which each would be as busy with it.
func TestPlan_DoesNotPassTheBusyOn(t *testing.T) {
	t.Parallel()
	in := Input{Agents: []Agent{{ID: "a"}, {ID: "b"}}, Topics: []Topic{{ID: id(1)}}, Partitions: []Partition{
		{Number: 0, Agent: 0, BytesPerSecond: 30 << 20}, {Number: 1, Agent: 0, BytesPerSecond: 1 << 20, Pinned: true},
	}}
	if moves := Plan(in).Moves; len(moves) > 0 {
		t.Fatalf("moves %v", moves)
	}
}

// A new topic, of which no load is known, does not all go to the agent that has just joined.
func TestPlan_KeepsNewTopicsApart(t *testing.T) {
	t.Parallel()
	in := Input{Agents: []Agent{{ID: "a"}, {ID: "b"}, {ID: "c"}}, Topics: []Topic{{ID: id(1)}, {ID: id(2)}}}
	for n := range int32(20) {
		in.Partitions = append(in.Partitions, Partition{Number: n, Agent: n % 2, BytesPerSecond: 5 << 20})
	}
	for n := range int32(6) {
		in.Partitions = append(in.Partitions, Partition{Topic: 1, Number: n, Agent: Nobody})
	}
	in.Apply(Plan(in).Moves)
	var counts [3]int
	for _, p := range in.Partitions[20:] {
		counts[p.Agent]++
	}
	if min(counts[0], counts[1], counts[2]) == 0 { // evening out by load may still move some
		t.Fatal(counts)
	}
}
