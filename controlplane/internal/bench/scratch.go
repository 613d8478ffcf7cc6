package bench

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// dropTimeout bounds the removal of a scratch database, also when the run was interrupted.
const dropTimeout = time.Minute

// scratch is a database of one run.
type scratch struct {
	admin     *pgx.Conn
	name, url string
	meter     *meter
}

func makeScratch(ctx context.Context, databaseURL string) (*scratch, error) {
	at, err := url.Parse(databaseURL)
	if err != nil {
		return nil, fmt.Errorf("database-url: must be a URL")
	}
	admin, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	s := &scratch{admin: admin, name: "streamhouse_bench_" + uuid.NewString()[:8]}
	if _, err := admin.Exec(ctx, "CREATE DATABASE "+s.name+" TEMPLATE template0"); err != nil {
		_ = admin.Close(ctx)
		return nil, fmt.Errorf("create a scratch database (the role needs CREATEDB): %w", err)
	}
	at.Path = "/" + s.name
	s.url = at.String()
	if s.meter, err = openMeter(ctx, s.url, s.name); err != nil {
		_ = s.drop(ctx)
		return nil, err
	}
	return s, nil
}

// drop removes the database, whatever became of ctx.
func (s *scratch) drop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropTimeout)
	defer cancel()
	if s.meter != nil {
		s.meter.close(ctx)
	}
	_, err := s.admin.Exec(ctx, "DROP DATABASE "+s.name+" WITH (FORCE)")
	_ = s.admin.Close(ctx)
	if err != nil {
		return fmt.Errorf("drop scratch database %s: %w", s.name, err)
	}
	return nil
}
