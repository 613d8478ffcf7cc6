// Package control is how other commands speak with the process that runs a `streamhouse dev`: HTTP and JSON over a socket that its owner
// alone may use. Nothing here acts: Orders does.
// Read: control.go, server.go, caller.go.
package control

import (
	"context"
	"time"
)

// Part is the state of one process of the cluster.
type Part struct {
	Name string `json:"name"`
	// Kind is "postgres", "s3", "controlplane" or "agent".
	Kind string `json:"kind"`
	// State is "starting", "running", "exited" or "restarting".
	State string `json:"state"`
	// PID; 0: it does not run.
	PID        int    `json:"pid"`
	URL        string `json:"url"`
	Zone       string `json:"zone,omitempty"`
	AgentGroup string `json:"agent_group,omitempty"`
	// Since is when the state began.
	Since time.Time `json:"since"`
	// Reason tells how a part that does not run ended.
	Reason string `json:"reason,omitempty"`
	Log    string `json:"log"`
}

// NewAgent says which agent to start. Empty fields: chosen.
type NewAgent struct {
	ID         string `json:"id"`
	Zone       string `json:"zone"`
	AgentGroup string `json:"agent_group"`
	// Flags of the agent's program, "name=value" each, after those of the dev.
	Flags []string `json:"flags,omitempty"`
}

// Orders is what can be asked for.
type Orders interface {
	// Status lists the parts, in the order in which they were first started.
	Status() []Part
	// StartAgent starts an agent, new or dead, and returns it once it is ready.
	StartAgent(ctx context.Context, agent NewAgent) (Part, error)
	// Stop begins to stop everything and returns at once.
	Stop()
}
