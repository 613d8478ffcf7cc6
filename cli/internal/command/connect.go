package command

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/streamhouse/streamhouse/client"

	"github.com/streamhouse/streamhouse/cli/internal/datadir"
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

// client returns the SDK for a topic's records, for a process in this zone (empty: unknown); close gives its connections back.
func (e *env) client(ctx context.Context, topic, zone string) (sdk *client.Client, closing func(), err error) {
	c, err := e.Connection()
	if err != nil {
		return nil, nil, err
	}
	if len(c.Agent) == 0 {
		return nil, nil, usage("no agent is known: pass --agent URL (STREAMHOUSE_AGENT)")
	}
	agents, err := e.agentsFor(ctx, topic, c.Agent)
	if err != nil {
		return nil, nil, err
	}
	sdk, err = client.New(client.WithAgents(agents...), client.WithAPIKey(c.APIKey), client.WithZone(zone))
	if err != nil {
		return nil, nil, usageError{err}
	}
	return sdk, func() { _ = sdk.Close() }, nil
}

// agentsFor are those that serve the topic: a dev may have agents of several agent groups, and those of another do not know it.
func (e *env) agentsFor(ctx context.Context, topic string, all []string) ([]string, error) {
	dev, found, err := e.Dev()
	if err != nil || !found || len(e.Agent) > 0 || !severalGroups(dev.Agents) {
		return all, err
	}
	admin, closing, err := e.admin()
	if err != nil {
		return nil, err
	}
	defer closing()
	t, _, err := admin.DescribeTopic(ctx, topic)
	if err != nil {
		return nil, err
	}
	agents := urlsOf(slices.DeleteFunc(dev.Agents, func(a datadir.Agent) bool { return a.AgentGroup != t.AgentGroup }))
	if len(agents) == 0 {
		return nil, fmt.Errorf("topic %s belongs to the agent group %s, of which no agent runs: "+
			"`streamhouse dev agent start --agent-group %s` starts one", topic, t.AgentGroup, t.AgentGroup)
	}
	return agents, nil
}

func severalGroups(agents []datadir.Agent) bool {
	return slices.ContainsFunc(agents, func(a datadir.Agent) bool { return a.AgentGroup != agents[0].AgentGroup })
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
