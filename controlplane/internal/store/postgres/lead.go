package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

// candidateName begins the application_name of a candidate's connection; the name of the replica follows. PostgreSQL keeps 63 bytes.
const candidateName = "streamhouse-placement "

// candidate holds an advisory lock on a connection of its own. PostgreSQL ends a connection that is silent for longer than
// idle_session_timeout, and the lock with it: a replica that is stopped, or cut off, loses the lead within seconds, whatever its host believes.
type candidate struct {
	store *Store
	name  string
	conn  *pgx.Conn // nil: none yet, or it broke
	held  bool
}

// PlacementCandidate makes a candidate; it connects when it is first asked.
func (s *Store) PlacementCandidate(name string) store.PlacementCandidate {
	return &candidate{store: s, name: name}
}

// Leads keeps or takes the lock.
func (c *candidate) Leads(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, store.CandidateSilence)
	defer cancel()
	held, err := c.ask(ctx)
	if err != nil {
		c.Close() //nolint:contextcheck // has a bound of its own; this one may have passed
		return false, unavailable(fmt.Errorf("ask for the lead of placement: %w", err))
	}
	c.held = held
	return held, nil
}

func (c *candidate) ask(ctx context.Context) (bool, error) {
	if c.conn == nil {
		conn, err := c.connect(ctx)
		if err != nil {
			return false, err
		}
		c.conn = conn
	}
	if c.held { // as long as the connection lives; and this keeps it alive
		return true, c.conn.Ping(ctx)
	}
	return db.New(c.conn).TryPlacementLock(ctx, placementLock)
}

func (c *candidate) connect(ctx context.Context) (*pgx.Conn, error) {
	config := c.store.pool.Config().ConnConfig.Copy()
	config.RuntimeParams["application_name"] = candidateName + c.name
	config.RuntimeParams["idle_session_timeout"] = milliseconds(store.CandidateSilence)
	return pgx.ConnectConfig(ctx, config)
}

// Close gives the lock up and closes the connection.
func (c *candidate) Close() {
	if c.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if c.held { // so that whoever asks next has it: PostgreSQL may notice a closed connection a moment later
		_, _ = db.New(c.conn).ReleasePlacementLock(ctx, placementLock)
	}
	_ = c.conn.Close(ctx) // else PostgreSQL closes it, soon
	c.conn, c.held = nil, false
}

// placementLeader names the replica that holds the lock; empty: none.
func placementLeader(ctx context.Context, q *db.Queries) (string, error) {
	names, err := q.PlacementLeader(ctx, placementLock)
	if err != nil {
		return "", fmt.Errorf("find the leader of placement: %w", err)
	}
	if len(names) == 0 {
		return "", nil
	}
	return strings.TrimPrefix(names[0], candidateName), nil
}
