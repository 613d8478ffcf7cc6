package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// placementChannel is what the trigger on agent_groups tells changes of placement on.
	placementChannel = "streamhouse_placement"
	// listenerName begins the application_name of the connection that listens; the name of the replica follows.
	listenerName = "streamhouse-listener "
	// echo is the payload by which a replica hears whether it hears.
	echo = "echo"
	// echoEvery is the silence after which it asks itself; echoPatience bounds how long the answer takes, and connecting.
	echoEvery, echoPatience = 10 * time.Second, 3 * time.Second
	// hearAgain and hearAgainMost bound the time until a replica that does not hear tries again.
	hearAgain, hearAgainMost = 500 * time.Millisecond, 30 * time.Second
)

// errDeaf: a pooler between the control plane and PostgreSQL does not pass notices on, or nothing arrives any more.
var errDeaf = errors.New("no notice arrives on this connection")

// Hearing says whether other replicas' changes of placement are signalled by PlacementChanged as soon as they are committed.
func (s *Store) Hearing() bool { return s.hearing.Load() }

// Hear listens on a connection of its own until the context ends; then it returns nil. It needs a schema that is up to date. name is this replica's.
func (s *Store) Hear(ctx context.Context, name string) error {
	again := hearAgain
	for said := false; ctx.Err() == nil; said = true {
		heard, err := s.hear(ctx, name)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the end of ctx is no fault
		}
		if heard {
			again = hearAgain
		}
		if heard || !said {
			s.config.Logger.InfoContext(ctx, "other replicas' changes are not heard: the catalog is asked for them", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(again/2 + rand.N(again)):
		}
		again = min(2*again, hearAgainMost)
	}
	return nil
}

// hear listens until it does not hear any more, and says whether it has.
func (s *Store) hear(ctx context.Context, name string) (heard bool, err error) {
	conn, err := s.listen(ctx, name)
	if err != nil {
		return false, err
	}
	defer hangUp(conn) //nolint:contextcheck // has a bound of its own; ctx may have ended
	if err := s.hearEcho(ctx, conn); err != nil {
		return false, err
	}
	s.hearing.Store(true)
	defer s.hearing.Store(false)
	signal(s.placementChanged) // what was changed before
	for {
		notice, err := await(ctx, conn, echoEvery)
		switch {
		case err != nil:
			return true, err
		case notice == nil:
			if err := s.hearEcho(ctx, conn); err != nil {
				return true, err
			}
		case notice.Payload != echo:
			signal(s.placementChanged)
		}
	}
}

func (s *Store) listen(ctx context.Context, name string) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, echoPatience)
	defer cancel()
	config := s.pool.Config().ConnConfig.Copy()
	config.RuntimeParams["application_name"] = listenerName + name
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to listen: %w", err)
	}
	if _, err := conn.Exec(ctx, "LISTEN "+placementChannel); err != nil {
		hangUp(conn) //nolint:contextcheck // has a bound of its own; ctx may have ended
		return nil, fmt.Errorf("listen: %w", err)
	}
	return conn, nil
}

// hearEcho finds out whether what is told arrives.
func (s *Store) hearEcho(ctx context.Context, conn *pgx.Conn) error {
	bounded, cancel := context.WithTimeout(ctx, echoPatience)
	defer cancel()
	if _, err := conn.Exec(bounded, "SELECT pg_notify($1, $2)", placementChannel, echo); err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	for until := time.Now().Add(echoPatience); ; {
		notice, err := await(ctx, conn, time.Until(until)) // not in bounded, whose end would hide that it is deaf
		switch {
		case err != nil:
			return err
		case notice == nil:
			return errDeaf
		case notice.Payload == echo:
			return nil
		}
		signal(s.placementChanged)
	}
}

// await waits for a notice; nil: none came.
func await(ctx context.Context, conn *pgx.Conn, wait time.Duration) (*pgconn.Notification, error) {
	bounded, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	notice, err := conn.WaitForNotification(bounded)
	if err != nil && ctx.Err() == nil && bounded.Err() != nil && !conn.IsClosed() {
		return nil, nil //nolint:nilnil // silence
	}
	return notice, err
}

func hangUp(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}
