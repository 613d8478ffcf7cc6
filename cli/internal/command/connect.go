package command

import (
	"errors"
	"fmt"

	"github.com/streamhouse/streamhouse/client"
)

// admin returns the SDK's administration; close gives its connections back.
func (e *env) admin() (admin *client.Admin, closing func(), err error) {
	c, err := e.Connection()
	if err != nil {
		return nil, nil, err
	}
	if len(c.Server) == 0 {
		return nil, nil, usage("no control plane is known: pass --server URL (STREAMHOUSE_SERVER)")
	}
	sdk, err := client.New(client.WithControlPlane(c.Server...), client.WithAPIKey(c.APIKey))
	if err != nil {
		return nil, nil, usageError{err}
	}
	return sdk.Admin(), func() { _ = sdk.Close() }, nil
}

// client returns the SDK for records, for a process in this zone (empty: unknown); close gives its connections back.
func (e *env) client(zone string) (sdk *client.Client, closing func(), err error) {
	c, err := e.Connection()
	if err != nil {
		return nil, nil, err
	}
	if len(c.Agent) == 0 {
		return nil, nil, usage("no agent is known: pass --agent URL (STREAMHOUSE_AGENT)")
	}
	sdk, err = client.New(client.WithAgents(c.Agent...), client.WithAPIKey(c.APIKey), client.WithZone(zone))
	if err != nil {
		return nil, nil, usageError{err}
	}
	return sdk, func() { _ = sdk.Close() }, nil
}

// advice says what to do about errors of the cluster, where their own sentence cannot know this command.
var advice = []struct {
	reason client.Reason
	text   string
}{
	{client.ReasonUnauthenticated, "pass a valid key with STREAMHOUSE_API_KEY or --api-key"},
	{client.ReasonMissingRole, "use a key with another role: `streamhouse key list` shows them"},
	{client.ReasonUnknownTopic, "`streamhouse topic list` shows the topics, `streamhouse topic create` makes one"},
	{client.ReasonUnknownAgent, "`streamhouse agent list` shows the agents"},
	{client.ReasonUnknownAgentGroup, "`streamhouse agent-group list` shows the agent groups, `streamhouse agent-group create` makes one"},
	{client.ReasonUnreachable, "is the cluster running there? `streamhouse dev status` knows of one started by dev"},
}

func advise(err error) error {
	for _, a := range advice {
		if errors.Is(err, a.reason) {
			return fmt.Errorf("%w; %s", err, a.text)
		}
	}
	return err
}
