package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

var _ store.Forgetting = (*Store)(nil)

// forgetPage bounds the producers that one statement looks at: milliseconds of work.
const forgetPage = 5000

// ForgetProducers is one statement. Of several replicas each may be at a page of its own: what one has removed the others do not find.
func (s *Store) ForgetProducers(ctx context.Context, idle time.Duration, after store.ProducerCursor) (store.Forgotten, error) {
	return s.forget(ctx, idle, after, forgetPage)
}

func (s *Store) forget(ctx context.Context, idle time.Duration, after store.ProducerCursor, page int32) (forgotten store.Forgotten, err error) {
	err = s.write(ctx, harmless, func(ctx context.Context, q *db.Queries) error {
		state, err := q.CatalogState(ctx)
		if err != nil || !state.Verified || state.HaltedAt != nil { // as for everything that deletes
			return err
		}
		row, err := q.ForgetProducers(ctx, db.ForgetProducersParams{
			AfterPartitionID: after.PartitionID, AfterProducerID: after.ProducerID, Page: page, IdleSeconds: idle.Seconds(),
		})
		if err != nil {
			return fmt.Errorf("forget producers: %w", err)
		}
		forgotten = store.Forgotten{Producers: int(row.Forgotten)}
		if row.LookedAt == int64(page) {
			forgotten.Next = &store.ProducerCursor{PartitionID: row.LastPartitionID, ProducerID: row.LastProducerID}
		}
		return nil
	})
	return forgotten, err
}
