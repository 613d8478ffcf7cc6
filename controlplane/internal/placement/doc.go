// Package placement decides which agent leads which partition. Pure: agents, topics and partitions of one agent group in, moves out; the same
// input, in whatever order, gives the same moves.
//
// Not here: SQL, who counts as suspect or ended, when moves are made and how many at once.
// Promises: none; a bad choice is slow, never wrong.
//
// # What is best
//
// Always: a partition is moved to eligible agents only. A pinned one stays while its agent is eligible. One of a topic that allows buffered
// acks waits for an agent that is suspect: it neither moves nor counts. All others are placed anew, so that in this order
//
//  1. each is in one of its topic's preferred zones that have an eligible agent; if none has: in any zone;
//  2. each topic is spread over these zones in proportion to the capacity of their eligible agents: a zone gets the floor or the ceiling of
//     its share, and at least one where there are as many partitions as zones (bounds.go says how pins change that);
//  3. agents are even: with q the agent's share of all partitions by capacity, and s = ⌊⌊q⌋/20⌋, it has ⌊q⌋-s to ⌈q⌉+s of them, which costs
//     nothing; the k-th partition beyond costs (2k-1)/capacity more than the last free one did, those that are missing likewise; the least
//     sum is best. So zones' totals are in proportion, too, and where preferred zones forbid that, it is as even as it can be;
//  4. as few as can be are moved;
//  5. partitions of one topic are apart, where that costs nothing (greedy, not exact).
//
// 1 and 2 can always be had; 3 is exact; 4 is exact for some ten thousand partitions, and as far as a fixed effort leads in larger agent
// groups. What was planned once is left alone: the next plan of the same input is empty.
//
// # Load
//
// Once some partition is busy (more than 64 KiB/s and than a quarter of the mean), load takes the place of number within zones: a partition
// weighs its observed bytes per second, but at least as much as one that is not busy. Zones' totals are still by number. Nothing moves
// while every agent is within a tenth of its zone's mean; when one is not, single moves bring the zone to within a twentieth, each from the
// busiest agent that it clearly helps to the least busy one. That is a local optimum, and not the fewest moves: packing loads exactly is hard.
//
// # How
//
// Zones get their part of each topic, starting from what they have, until no exchange along any path of zones makes agents more even
// (divide.go). Zones divide their totals over agents (seat.go); greedily it is decided who stays (keep.go). Then negative cycles in the
// residual network are cancelled until there is none (improve.go): the textbook's minimum cost flow, whose start is so good that there is
// seldom one. The obvious alternative, minimum cost flow from scratch, costs minutes for 100,000 partitions.
//
// Read: input.go, plan.go, model.go; bounds.go, flow.go, seat.go, divide.go, keep.go, improve.go, place.go; load.go; repair.go, choose.go.
package placement
