package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/access"
	"github.com/streamhouse/streamhouse/serve/refusal"
	"github.com/streamhouse/streamhouse/serve/tracing"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres"
)

// Waits between attempts to reach the database at the start.
const (
	firstWait = 100 * time.Millisecond
	mostWait  = 2 * time.Second
)

var errNotPrepared = errors.New("the catalog is not prepared yet")

// Migrate brings the schema up to date, and ends. A database that is out of reach is an error.
func Migrate(ctx context.Context, config Config, logger *slog.Logger) error {
	catalog, err := open(ctx, config, logger, nil)
	if err != nil {
		return err
	}
	defer catalog.Close()
	if err := catalog.Migrate(ctx); err != nil {
		return err
	}
	logger.InfoContext(ctx, "schema is up to date")
	return nil
}

func open(ctx context.Context, config Config, logger *slog.Logger, tracer *tracing.Tracer) (*postgres.Store, error) {
	return postgres.Open(ctx, postgres.Config{
		URL:               config.DatabaseURL.Reveal(),
		MaxConns:          int32(config.PoolSize),
		SessionDuration:   config.SessionDuration,
		HeartbeatInterval: config.HeartbeatInterval,
		MaxMoves:          config.MaxMoves,
		Jobs:              config.jobs(),
		Logger:            logger,
		Tracer:            tracer,
	})
}

// prepare brings schema, agent groups and bootstrap key in place. It waits for a database that is out of reach, as long as the context lasts; anything
// else that goes wrong would go wrong for ever, and ends the process.
func (s *Service) prepare(ctx context.Context) error {
	wait := firstWait
	for {
		err := s.prepareOnce(ctx)
		if err == nil {
			return nil
		}
		if !passing(err) && ctx.Err() == nil {
			return fmt.Errorf("prepare catalog: %w", err)
		}
		s.deps.Log.WarnContext(ctx, "catalog out of reach, waiting", slog.Any("error", err))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait/2 + rand.N(wait)):
		}
		wait = min(2*wait, mostWait)
	}
}

func (s *Service) prepareOnce(ctx context.Context) error {
	if err := s.checkServer(ctx); err != nil {
		return err
	}
	if s.config.MigrateOnStart {
		if err := s.catalog.Migrate(ctx); err != nil {
			return err
		}
	}
	if err := s.bootstrap(ctx); err != nil {
		return err
	}
	// The pulse begins before an agent can register. Else the first beat of a new cluster would find a live session and an old pulse, and judge nobody
	// for one session duration.
	_, err := s.catalog.Beat(ctx)
	return err
}

// bootstrap adds the agent groups and keys that the operator brings along.
func (s *Service) bootstrap(ctx context.Context) error {
	keys, err := s.config.agentKeys()
	if err != nil {
		return err
	}
	for _, name := range slices.Concat(s.config.AgentGroups, slices.Sorted(maps.Keys(keys))) {
		if err := s.catalog.EnsureAgentGroup(ctx, store.AgentGroup(name)); err != nil {
			return err
		}
	}
	for name, key := range keys {
		if err := s.catalog.EnsureBootstrapKey(ctx, store.KeyHash(access.Hash(key)), store.AgentGroup(name)); err != nil {
			return err
		}
	}
	if s.config.BootstrapAdminKey.Empty() {
		return nil
	}
	return s.catalog.EnsureBootstrapKey(ctx, store.KeyHash(access.Hash(s.config.BootstrapAdminKey.Reveal())), store.EveryAgentGroup)
}

// checkServer refuses a database that would lose what it has acknowledged, unless it is one for tests.
func (s *Service) checkServer(ctx context.Context) error {
	warnings, err := s.catalog.CheckServer(ctx)
	if fault, ok := errors.AsType[*postgres.ServerFault](err); ok {
		if fault.Unusable {
			return err
		}
		if !s.config.AllowUnsafeDatabase {
			return fmt.Errorf("%w (--allow-unsafe-database serves all the same, for tests)", err)
		}
		warnings, err = fault.Faults, nil
	}
	for _, warning := range warnings {
		s.deps.Log.WarnContext(ctx, "database may lose acknowledged records", slog.String("reason", warning))
	}
	return err
}

// passing tells whether an error at the start may pass by itself: the database is out of reach, or lost on the way. What it answers
// (wrong password, no such database, a broken migration) does not pass.
func passing(err error) bool {
	if refused, ok := errors.AsType[*store.Refused](err); ok {
		return refused.Refusal.GetReason() == refusalv1.Reason_REASON_CATALOG_UNAVAILABLE && !answered(err)
	}
	_, connecting := errors.AsType[*pgconn.ConnectError](err)
	return (connecting || pgconn.Timeout(err) || pgconn.SafeToRetry(err)) && !answered(err)
}

// answered tells whether PostgreSQL itself said no, for another reason than being in between.
func answered(err error) bool {
	said, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return false
	}
	switch said.Code {
	case "57P01", "57P02", "57P03", "53300", "55P03": // stopping, crashed, starting up, too many connections, lock timeout
		return false
	default:
		return true
	}
}

// gate refuses calls until the catalog is prepared. It stands in front of every RPC: authentication comes first.
func (s *Service) gate(authenticator access.Authenticator) access.Authenticator {
	return access.AuthenticatorFunc(func(ctx context.Context, key access.KeyHash) (access.Principal, error) {
		if !s.prepared.Load() {
			return access.Principal{}, refusal.CatalogUnavailable(firstWait, errNotPrepared)
		}
		return authenticator.Authenticate(ctx, key)
	})
}

// ready is the readiness of the catalog.
func (s *Service) ready(ctx context.Context) error {
	if !s.prepared.Load() {
		return errNotPrepared
	}
	return s.catalog.Ping(ctx)
}
