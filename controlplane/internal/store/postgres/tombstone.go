package postgres

import (
	"context"
	"fmt"

	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

// Tombstone kills keys that were never committed. A commit of the same key is waited for, and wins.
func (s *Store) Tombstone(ctx context.Context, keys []string) (dead []string, err error) {
	err = s.write(ctx, harmless, func(ctx context.Context, q *db.Queries) error {
		if err := refuseUnverified(ctx, q); err != nil {
			return err
		}
		if _, err := q.InsertTombstones(ctx, keys); err != nil {
			return fmt.Errorf("insert tombstones: %w", err)
		}
		dead, err = q.DeadKeys(ctx, keys)
		return err
	})
	return dead, err
}
