// Package bench measures a cluster from its clients' side: how many records it takes and gives, how long an acknowledgement and a delivery
// take, how long a commit takes, and what that costs in CPU time, process by process; and beside it, in the same run, what the parts can do
// alone. A number is worth little without the limit that was measured next to it.
//
// Load is open-loop: with a rate, every record has a time at which it is meant to be sent, and what it waits for after that counts, also when
// the sender itself was late because the cluster was slow (no coordinated omission). Without a rate, records are handed over as fast as they
// are taken, and their time counts from then on.
//
// Nothing here is part of the data path, and nothing is left behind: topics, keys and agent groups that were made are removed, also after
// an interruption.
// Promises: none; Verify checks P1, P2 and P5 for what it sent.
// Read: bench.go, schedule.go, payload.go, load.go, produce.go, prebuilt.go, verify.go, consume.go, latency.go, delivery.go, controlplane.go,
// limits.go, parts.go, report.go, text.go.
package bench
