package lease

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	"github.com/streamhouse/streamhouse/dataplane/internal/route"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
)

const (
	// tellTimeout bounds the word to a successor: one that does not hear it learns the same from its watch.
	tellTimeout = time.Second
	// maxTold is how many successors are told at once.
	maxTold = 16
)

// handOver sends whoever waits here on to the successors, and tells these to take over, one call for all that one of them gets.
func (m *Manager) handOver(ctx context.Context, ended []partition.ID, outcomes []*controlplanev1.ReleaseOutcome) {
	var words []route.Heard
	taken := map[string]*dataplanev1.TakeOverRequest{}
	for i, p := range ended {
		m.Handed.end(p)
		if i >= len(outcomes) {
			continue
		}
		leader, known := leaderOf(outcomes[i])
		if !known || leader.ID == m.Self {
			continue
		}
		words = append(words, route.Heard{Partition: p, Leader: leader})
		if taken[leader.Address] == nil {
			taken[leader.Address] = &dataplanev1.TakeOverRequest{}
		}
		taken[leader.Address].Partitions = append(taken[leader.Address].Partitions, &dataplanev1.TakeOverPartition{
			Partition: &dataplanev1.PeerPartition{TopicId: bytes.Clone(p.Topic[:]), Partition: p.Number}, Epoch: leader.Epoch,
		})
	}
	m.Table.Hear(words...)
	m.tell(ctx, taken)
}

// tell gives the word to every successor, also when a drain is complete with this release.
func (m *Manager) tell(ctx context.Context, taken map[string]*dataplanev1.TakeOverRequest) {
	m.calls.running.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellTimeout)
		defer cancel()
		slots := make(chan struct{}, maxTold)
		var all sync.WaitGroup
		defer all.Wait()
		for address, req := range taken {
			slots <- struct{}{} // freed within tellTimeout
			all.Go(func() {
				defer func() { <-slots }()
				if err := m.Successors.TakeOver(ctx, address, req); err != nil {
					m.Log.DebugContext(ctx, "successor was not told", slog.String("address", address), slog.Any("error", err))
				}
			})
		}
	})
}
