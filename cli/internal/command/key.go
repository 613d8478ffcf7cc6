package command

import (
	"context"
	"fmt"
	"time"

	"github.com/streamhouse/streamhouse/client"

	"github.com/streamhouse/streamhouse/cli/internal/output"
)

type keyCommand struct {
	Create keyCreateCommand `cmd:"" help:"Create an API key and print its secret, which is shown this once."`
	List   keyListCommand   `cmd:"" help:"List the API keys, revoked ones too, without their secrets."`
	Revoke keyRevokeCommand `cmd:"" help:"Revoke an API key: control planes refuse it at once, agents within 30 s."`
}

// key is how an API key is printed. Stable.
type key struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	Role       string     `json:"role"`
	AgentGroup *string    `json:"agent_group"`
	CreatedAt  *time.Time `json:"created_at"`
	RevokedAt  *time.Time `json:"revoked_at"`
}

func keyFrom(k client.Key) key {
	return key{
		ID: k.ID, Name: k.Name, Role: k.Role.String(), AgentGroup: orNull(k.AgentGroup), CreatedAt: timeOrNull(k.CreatedAt),
		RevokedAt: timeOrNull(k.RevokedAt),
	}
}

func keyRows(keys ...client.Key) output.Rows {
	rows := output.Rows{Head: []string{"ID", "NAME", "ROLE", "GROUP", "CREATED", "REVOKED"}, Empty: "There are no keys."}
	for _, k := range keys {
		rows.Body = append(rows.Body, []string{k.ID, k.Name, k.Role.String(), k.AgentGroup, output.Time(k.CreatedAt), output.Time(k.RevokedAt)})
	}
	return rows
}

type keyCreateCommand struct {
	Name       string `arg:"" help:"For people; need not be unique."`
	Role       string `enum:"admin,agent,client" help:"admin: administers the cluster; agent: an agent of a group; client: produces to and consumes from its topics." required:""`
	AgentGroup string `help:"Agent group that an agent or client key is bound to. Default: default; none for admins." placeholder:"NAME"`
}

var roles = map[string]client.Role{"admin": client.RoleAdmin, "agent": client.RoleAgent, "client": client.RoleClient}

// createdKey is a key with its secret. Stable.
type createdKey struct {
	key
	Secret string `json:"secret"`
}

// Run creates the key.
func (c keyCreateCommand) Run(ctx context.Context, e *env) error {
	role := roles[c.Role]
	if role == client.RoleAdmin && c.AgentGroup != "" {
		return usage("--agent-group: an admin's key is bound to no agent group")
	}
	admin, closing, err := e.admin()
	if err != nil {
		return err
	}
	defer closing()
	made, secret, err := admin.CreateKey(ctx, c.Name, role, c.AgentGroup)
	if err != nil {
		return fmt.Errorf("create key %s: %w", c.Name, err)
	}
	rows := keyRows(made)
	rows.Head, rows.Body[0] = append(rows.Head, "SECRET"), append(rows.Body[0], secret)
	return e.print(createdKey{key: keyFrom(made), Secret: secret}, rows)
}

type keyListCommand struct{}

// Run lists the keys.
func (keyListCommand) Run(ctx context.Context, e *env) error {
	admin, closing, err := e.admin()
	if err != nil {
		return err
	}
	defer closing()
	found, err := admin.ListKeys(ctx)
	if err != nil {
		return fmt.Errorf("list keys: %w", err)
	}
	keys := make([]key, 0, len(found))
	for _, k := range found {
		keys = append(keys, keyFrom(k))
	}
	return e.print(keys, keyRows(found...))
}

type keyRevokeCommand struct {
	ID string `arg:"" help:"Id of the key, as list shows it."`
}

// Run revokes the key.
func (c keyRevokeCommand) Run(ctx context.Context, e *env) error {
	admin, closing, err := e.admin()
	if err != nil {
		return err
	}
	defer closing()
	revoked, err := admin.RevokeKey(ctx, c.ID)
	if err != nil {
		return fmt.Errorf("revoke key %s: %w", c.ID, err)
	}
	return e.print(keyFrom(revoked), keyRows(revoked))
}
