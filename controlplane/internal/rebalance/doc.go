// Package rebalance has partitions led where the planner wants them (protocol, section 5). Of all replicas of the control plane one decides at a
// time; the others stand by, and take over within seconds. It looks at once when this replica has changed an agent, a topic or a pin, and
// a few times a second for what others have changed; loads count twice a minute. A plan is carried out in pages, leaderless partitions
// first, and never has more hand-offs under way than there may be at once.
//
//	standing by --lead taken--> leading --a shape changed, or loads are due--> plan --> moves, page after page
//	     ^                         |                                              |                |
//	     +------- lead lost -------+----------------------------------------------+----------------+
//
// Not here: what a good placement is (package placement); partitions whose agent is gone, which every replica looks after (package judge);
// whether a move is still right when it is made, which is asked again under the agent group's lock (package store): two replicas that both
// believe to lead do no harm.
// Promises: none; a move too many or too late costs time, never a record.
// Read: rebalance.go, round.go, metrics.go; explain.go for people.
package rebalance
