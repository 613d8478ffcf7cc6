package scenario

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/google/uuid"

	accessv1 "github.com/streamhouse/streamhouse/gen/streamhouse/access/v1"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// doGroup: "group blue" has an agent group be there, as the start of a control plane does.
func doGroup(w *World, c command) (call, error) {
	name, err := c.word(0)
	return func(ctx context.Context) (string, error) {
		return "", w.catalog.EnsureAgentGroup(ctx, store.AgentGroup(name))
	}, err
}

func doCreateGroup(w *World, c command) (call, error) {
	name, err := c.word(0)
	return func(ctx context.Context) (string, error) {
		response, err := w.catalog.CreateAgentGroup(ctx, &controlplanev1.CreateAgentGroupRequest{AgentGroup: name})
		return "group " + response.GetAgentGroup().GetAgentGroup(), err
	}, err
}

func doDeleteGroup(w *World, c command) (call, error) {
	name, err := c.word(0)
	return func(ctx context.Context) (string, error) {
		_, err := w.catalog.DeleteAgentGroup(ctx, &controlplanev1.DeleteAgentGroupRequest{AgentGroup: name})
		return "removed", err
	}, err
}

func doGroups(w *World, _ command) (call, error) {
	return func(ctx context.Context) (string, error) {
		response, err := w.catalog.ListAgentGroups(ctx)
		var lines []string
		for _, g := range response.GetAgentGroups() {
			lines = append(lines, fmt.Sprintf("%s: %d topics, %d agents, %d keys", g.GetAgentGroup(), g.GetTopics(), g.GetAgents(), g.GetKeys()))
		}
		return strings.Join(lines, "\n"), err
	}, nil
}

// doKey: "key k group=blue" makes a client's key.
func doKey(w *World, c command) (call, error) {
	name, err := c.word(0)
	return func(ctx context.Context) (string, error) {
		key, err := w.catalog.CreateKey(ctx, store.KeyHash(sha256.Sum256([]byte(name))), &controlplanev1.CreateKeyRequest{
			Name: name, Role: accessv1.Role_ROLE_CLIENT, AgentGroup: c.text("group", ""),
		})
		if err != nil {
			return "", err
		}
		w.keys[name] = uuid.MustParse(key.GetKeyId())
		return "a key for " + key.GetAgentGroup(), nil
	}, err
}

func doRevoke(w *World, c command) (call, error) {
	name, err := c.word(0)
	id := w.keys[name]
	return func(ctx context.Context) (string, error) {
		_, err := w.catalog.RevokeKey(ctx, id)
		return "revoked", err
	}, err
}
