// Package lease begins and ends the tenures of one session: it acquires what placement gives to this agent, hands over what placement gives
// to others, and resigns what it should not hold. The ledger (ingest) knows what a tenure has in flight; the catalog decides who leads.
// Nothing here appends, uploads or commits.
//
// plan is pure: what should happen, from the placement and from what is held. Manager does it, and looks again at every change and tick:
// nothing depends on a notice that arrives once. Calls go side by side, a thousand partitions each; no partition waits for another's.
//
// Promises: P3 in part (an epoch is not used any more from before its release is sent), P7 (only what the control plane granted).
// Read: plan.go, manager.go, call.go, handover.go, handed.go.
package lease
