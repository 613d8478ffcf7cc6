package placement

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// story is three zones: a1, a2, b1, c1, with a settled topic of eight partitions.
func story() Input {
	in := Input{
		Agents: []Agent{{ID: "a1", Zone: "a"}, {ID: "a2", Zone: "a"}, {ID: "b1", Zone: "b"}, {ID: "c1", Zone: "c"}},
		Topics: []Topic{{ID: id(1), Name: "orders"}},
	}
	for n := range 8 {
		in.Partitions = append(in.Partitions, Partition{Number: int32(n), Agent: []int32{0, 2, 3, 1, 0, 2, 3, 1}[n]})
	}
	return in
}

func (e Explanation) text(in Input) string {
	var b strings.Builder
	for _, s := range e.Reasons {
		fmt.Fprintln(&b, "because:", s)
	}
	for _, s := range e.WouldMove {
		fmt.Fprintln(&b, "moves:", s)
	}
	for _, c := range e.Candidates {
		fmt.Fprintf(&b, "%s %v %d/%d: %s\n", in.Agents[c.Agent].ID, c.Eligible, c.TopicPartitions, c.Partitions, c.Verdict)
	}
	for _, z := range e.Zones {
		fmt.Fprintf(&b, "zone %s: %d agents, %d-%d, has %d\n", z.Name, z.Agents, z.Least, z.Most, z.Partitions)
	}
	return b.String()
}

func TestExplain_Sentences(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		change func(*Input)
		want   []string // each is in the text
	}{
		{"settled", func(*Input) {}, []string{
			"because: It is at a1, and no placement is better by the rules below; a move without need would cost a hand-off.\n" +
				"because: The topic prefers no zone, so any zone with an eligible agent will do.\n" +
				"because: Zone a has 50 % of the capacity, so it should lead 4 of the topic's 8 partitions; it leads 4.\n" +
				"because: a1 has 2 partitions of all topics; by its capacity 2 count as even.\n" +
				"moves: a1 drains, becomes unfit or suspect, or its session ends.\n" +
				"moves: An operator transfers it to another agent, which pins it there.\n" +
				"moves: Zone a leads more than 4 of the topic's partitions: an agent joins another zone or leaves this one.\n" +
				"moves: a1 has more than 2 partitions: agents join, or topics are deleted.\n" +
				"a1 true 2/2: Has the partition; nothing is better.\n" +
				"a2 true 2/2: Could lead it, but has 2 partitions, and no more than 2 count as even.\n" +
				"b1 true 2/2: Could lead it, but zone b leads 2 of the topic's partitions already, and should lead at most 2.\n" +
				"c1 true 2/2: Could lead it, but zone c leads 2 of the topic's partitions already, and should lead at most 2.\n" +
				"zone a: 2 agents, 4-4, has 4\nzone b: 1 agents, 2-2, has 2\nzone c: 1 agents, 2-2, has 2\n",
		}},
		{"pinned", func(in *Input) { in.Partitions[0].Pinned = true }, []string{
			"because: An operator pinned it to a1: it stays there while that agent can lead.\n",
			"moves: An operator unpins it or transfers it to another agent.\n", "a1 true 2/2: Has the partition, by an operator's pin.\n",
		}},
		{"draining", func(in *Input) { in.Agents[0].State = Draining }, []string{
			"because: a1 is draining, so the partition goes to ", "moves: Nothing else is needed: placement assigns it to ",
			"a1 false 2/2: Is draining; nothing is placed on it.\n", "Gets the partition next.",
		}},
		{"suspect", func(in *Input) { in.Agents[0].State, in.Topics[0].AllowBufferedAcks = Suspect, true }, []string{
			"because: a1 is suspect, and the topic allows buffered acks: ", "moves: The end of the agent's session, or a transfer",
		}},
		{"preferred elsewhere", func(in *Input) { in.Topics[0].PreferredZones = []string{"b", "c"} }, []string{
			"because: It is about to move from a1 to ", "because: The topic prefers zone b, c, and a1 is in a.\n",
			"a2 false 2/2: Is in zone a, which the topic does not prefer.\n", "a1 false 2/2: Has the partition, and gives it up.\n",
		}},
		{"preferred in vain", func(in *Input) { in.Topics[0].PreferredZones = []string{"d"} }, []string{
			"because: The topic prefers zone d, where no agent is eligible, so any zone will do.\n", "moves: An eligible agent in zone d.\n",
		}},
		{"nobody assigned", func(in *Input) { in.Partitions[0].Agent = Nobody }, []string{"because: Nobody is assigned; a1 is next to get it.\n"}},
		{"nobody eligible", func(in *Input) {
			for i := range in.Agents {
				in.Agents[i].State = Unfit
			}
		}, []string{
			"because: No agent of the agent group is eligible, ", "moves: An agent of the agent group that becomes eligible.\n",
			"b1 false 2/2: Is unfit: it cannot write to the bucket; nothing is placed on it.\n",
		}},
		{"busy", func(in *Input) {
			for i := range in.Partitions {
				in.Partitions[i].BytesPerSecond = 3 << 20
			}
			in.Partitions[3].BytesPerSecond = 7 << 19
		}, []string{
			"because: a1 carries 6.0 MiB/s of its 100.0 MiB/s; the mean of its zone would be 6.2 MiB/s, and within a tenth of that nothing moves.\n",
			"moves: a1 is busier than the mean of zone a by more than a tenth, and a move makes that clearly better.\n",
			"a2 true 2/2: Could lead it, but is busier than the mean of its zone.\n",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			in := story()
			test.change(&in)
			text := Explain(in, 0).text(in)
			for _, want := range test.want {
				if !strings.Contains(text, want) {
					t.Errorf("%q is missing in:\n%s", want, text)
				}
			}
		})
	}
}

// What is explained is what is planned, whatever the input.
func TestExplain_AgreesWithPlan(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := drawLarge(t)
		if len(in.Partitions) == 0 {
			return
		}
		partition := number(0, len(in.Partitions)-1).Draw(t, "partition")
		e, to := Explain(in, partition), int32(Nobody)
		for _, m := range Plan(in).Moves {
			if m.Partition == int32(partition) {
				to = m.To
			}
		}
		for _, c := range e.Candidates {
			if next := c.Verdict == "Gets the partition next."; next != (c.Agent == to) || next && !c.Eligible {
				t.Fatalf("moves to %d, explained: %s", to, e.text(in))
			}
		}
		if len(e.Reasons) == 0 || len(e.WouldMove) == 0 {
			t.Fatalf("no reason:\n%s", e.text(in))
		}
	})
}
