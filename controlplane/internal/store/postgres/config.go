package postgres

import (
	"cmp"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/streamhouse/streamhouse/serve/tracing"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// Config says where the catalog is and how long things may take.
type Config struct {
	// URL of the database, "postgres://…"; what it leaves open comes from the usual PG* environment.
	URL string
	// MaxConns is the size of the pool; default 10, 2 to 100. PostgreSQL's own limit is shared by all replicas.
	MaxConns int32
	// SessionDuration is the silence that ends an agent's session; default 30 s, 1 s to 10 min.
	SessionDuration time.Duration
	// HeartbeatInterval is told to agents; default 1 s, at most a third of SessionDuration.
	HeartbeatInterval time.Duration
	// MaxMoves is how many hand-offs may be under way in an agent group at once; default store.DefaultMaxMoves, 1 to 100,000.
	MaxMoves int
	// Jobs says when work on the bucket is due.
	Jobs store.JobConfig
	// StatementTimeout, LockTimeout and IdleInTransactionTimeout are enforced by PostgreSQL, so that a stopped replica cannot hold locks
	// for ever; default 5 s, 3 s and 5 s, at least 100 ms each.
	StatementTimeout         time.Duration
	LockTimeout              time.Duration
	IdleInTransactionTimeout time.Duration
	// Logger; default slog.Default().
	Logger *slog.Logger
	// Tracer makes spans of statements; nil: nothing does.
	Tracer *tracing.Tracer
}

// connectTimeout bounds one attempt to connect.
const connectTimeout = 5 * time.Second

func (c Config) withDefaults() Config {
	c.SessionDuration = or(c.SessionDuration, 30*time.Second)
	c.HeartbeatInterval = or(c.HeartbeatInterval, time.Second)
	c.StatementTimeout = or(c.StatementTimeout, 5*time.Second)
	c.LockTimeout = or(c.LockTimeout, 3*time.Second)
	c.IdleInTransactionTimeout = or(c.IdleInTransactionTimeout, 5*time.Second)
	c.MaxMoves = cmp.Or(c.MaxMoves, store.DefaultMaxMoves)
	c.Jobs = c.Jobs.WithDefaults()
	if c.MaxConns == 0 {
		c.MaxConns = 10
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

func or(value, otherwise time.Duration) time.Duration {
	if value == 0 {
		return otherwise
	}
	return value
}

// Validate names the first field out of bounds.
func (c Config) Validate() error {
	c = c.withDefaults()
	if c.MaxConns < 2 || c.MaxConns > 100 {
		return fmt.Errorf("max connections %d: must be 2 to 100", c.MaxConns)
	}
	if c.MaxMoves < 1 || c.MaxMoves > 100_000 {
		return fmt.Errorf("max moves %d: must be 1 to 100000", c.MaxMoves)
	}
	if c.SessionDuration < time.Second || c.SessionDuration > 10*time.Minute {
		return fmt.Errorf("session duration %v: must be 1s to 10m", c.SessionDuration)
	}
	if c.HeartbeatInterval < 10*time.Millisecond || c.HeartbeatInterval > c.SessionDuration/3 {
		return fmt.Errorf("heartbeat interval %v: must be 10ms to a third of the session duration", c.HeartbeatInterval)
	}
	if err := c.Jobs.Validate(); err != nil {
		return err
	}
	for name, timeout := range map[string]time.Duration{
		"statement": c.StatementTimeout, "lock": c.LockTimeout, "idle in transaction": c.IdleInTransactionTimeout,
	} {
		if timeout < 100*time.Millisecond {
			return fmt.Errorf("%s timeout %v: must be at least 100ms", name, timeout)
		}
	}
	return nil
}

// pool translates to pgx. Requires: withDefaults, Validate.
func (c Config) pool() (*pgxpool.Config, error) {
	pool, err := pgxpool.ParseConfig(c.URL)
	if err != nil {
		return nil, fmt.Errorf("parse database URL: %w", err)
	}
	pool.MaxConns = c.MaxConns
	pool.MinIdleConns = 1
	if pool.ConnConfig.ConnectTimeout == 0 {
		pool.ConnConfig.ConnectTimeout = connectTimeout
	}
	if c.Tracer != nil {
		pool.ConnConfig.Tracer = statements{c.Tracer}
	}
	parameters := pool.ConnConfig.RuntimeParams
	parameters["application_name"] = "streamhouse-controlplane"
	parameters["jit"] = "off" // a compilation takes longer than any statement of ours
	parameters["statement_timeout"] = milliseconds(c.StatementTimeout)
	parameters["lock_timeout"] = milliseconds(c.LockTimeout)
	parameters["idle_in_transaction_session_timeout"] = milliseconds(c.IdleInTransactionTimeout)
	return pool, nil
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
