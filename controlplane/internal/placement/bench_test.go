package placement

import (
	"fmt"
	"testing"
)

// cluster is agents in three zones, and unassigned topics of 1, 3, 6, 12, 32 and 100 partitions in turn until there are enough.
func cluster(agents, partitions int) (in Input) {
	for i := range agents {
		in.Agents = append(in.Agents, Agent{ID: fmt.Sprintf("agent-%04d", i), Zone: string(rune('a' + i%3))})
	}
	for t := 0; len(in.Partitions) < partitions; t++ {
		in.Topics = append(in.Topics, Topic{ID: id(t), Name: fmt.Sprint("topic-", t)})
		for n := range min([]int{1, 3, 6, 12, 32, 100}[t%6], partitions-len(in.Partitions)) {
			in.Partitions = append(in.Partitions, Partition{Topic: int32(t), Number: int32(n), Agent: Nobody})
		}
	}
	return in
}

// settled is the cluster with its plan applied.
func settled(in Input) Input {
	in.Apply(Plan(in).Moves)
	return in
}

// lost is the settled cluster without one agent.
func lost(in Input) Input {
	in = settled(in)
	in.Agents[7].State = Ended
	return in
}

// joined is the cluster that was settled before its last agent came.
func joined(in Input) Input {
	all := in.Agents
	in.Agents = all[:len(all)-1]
	in = settled(in)
	in.Agents = all
	return in
}

func scratch(in Input) Input { return in }

// busyCluster is the cluster where every third partition has 100 KiB/s to 6 MiB/s.
func busyCluster(agents, partitions int) Input {
	in := cluster(agents, partitions)
	for i := range in.Partitions {
		if i%3 == 0 {
			in.Partitions[i].BytesPerSecond = 100<<10 + int64(i%60)*100<<10
		}
	}
	return in
}

// shifted is the settled cluster where then the partitions of one topic in ten carry four times as much.
func shifted(in Input) Input {
	in = settled(in)
	for i := range in.Partitions {
		if in.Partitions[i].Topic%10 == 7 {
			in.Partitions[i].BytesPerSecond *= 4
		}
	}
	return in
}

func BenchmarkPlanByLoad(b *testing.B) {
	in := func() Input { return busyCluster(200, 100_000) }
	b.Run("scratch", func(b *testing.B) { bench(b, scratch(in()), Plan) })
	b.Run("lost", func(b *testing.B) { bench(b, lost(in()), Plan) })
	b.Run("joined", func(b *testing.B) { bench(b, joined(in()), Plan) })
	b.Run("shifted", func(b *testing.B) { bench(b, shifted(in()), Plan) })
	b.Run("settled", func(b *testing.B) { bench(b, settled(in()), Plan) })
}

func BenchmarkPlan(b *testing.B) {
	for _, size := range []struct{ agents, partitions int }{{200, 100_000}, {1000, 1_000_000}} {
		name := fmt.Sprintf("%dx%d/", size.partitions, size.agents)
		in := func() Input { return cluster(size.agents, size.partitions) }
		b.Run(name+"scratch", func(b *testing.B) { bench(b, scratch(in()), Plan) })
		b.Run(name+"lost", func(b *testing.B) { bench(b, lost(in()), Plan) })
		b.Run(name+"lost-repair", func(b *testing.B) { bench(b, lost(in()), Repair) })
		b.Run(name+"joined", func(b *testing.B) { bench(b, joined(in()), Plan) })
		b.Run(name+"settled", func(b *testing.B) { bench(b, settled(in()), Plan) })
	}
}

func bench(b *testing.B, in Input, plan func(Input) Result) {
	b.ReportAllocs()
	moves := 0
	for b.Loop() {
		moves = len(plan(in).Moves)
	}
	b.ReportMetric(float64(moves), "moves")
}
