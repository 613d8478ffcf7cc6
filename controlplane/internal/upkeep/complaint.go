package upkeep

import (
	"context"
	"log/slog"
	"time"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

const (
	// patience is how many checkpoint intervals something may be behind. It must also have been seen behind for one: a cluster that was switched off
	// catches up.
	patience = 3
	// again is the time between two lines about the same.
	again = time.Hour
)

// subject is what a complaint is about.
type subject struct {
	agentGroup store.AgentGroup
	what       string
}

// complaint is about something that is behind.
type complaint struct {
	since time.Time // seen first
	told  time.Time // written to the log last; zero: not yet
}

// What is complained of.
const (
	noCheckpoint = "no checkpoint has been written for long: what only checkpoints have would be lost with the database, and nothing is deleted"
	notDeleted   = "objects that nothing refers to are not deleted from the bucket"
)

func (w *Watcher) judge(ctx context.Context, states []store.UpkeepState) {
	seen := map[subject]bool{}
	for _, state := range states {
		for what, behind := range map[string]time.Duration{noCheckpoint: state.CheckpointAge, notDeleted: state.DeletionOverdue} {
			if behind > patience*w.config.CheckpointInterval {
				about := subject{state.AgentGroup, what}
				seen[about] = true
				w.behind(ctx, about, behind)
			}
		}
	}
	for about, c := range w.complaints {
		if seen[about] {
			continue
		}
		delete(w.complaints, about)
		if !c.told.IsZero() {
			w.config.Logger.InfoContext(ctx, "work on the bucket has caught up", slog.String("agent_group", string(about.agentGroup)), slog.String("what", about.what))
		}
	}
}

// behind writes a line where there was none for long.
func (w *Watcher) behind(ctx context.Context, about subject, by time.Duration) {
	c := w.complaints[about]
	if c == nil {
		c = &complaint{since: time.Now()}
		w.complaints[about] = c
	}
	if time.Since(c.since) < w.config.CheckpointInterval || (!c.told.IsZero() && time.Since(c.told) < again) {
		return
	}
	c.told = time.Now()
	w.config.Logger.WarnContext(ctx, "work on the bucket is behind",
		slog.String("what", about.what), slog.String("agent_group", string(about.agentGroup)), slog.Duration("behind", by.Round(time.Second)))
}
