package rebalance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/streamhouse/streamhouse/controlplane/internal/placement"
	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// group is what is known of an agent group while leading.
type group struct {
	// changed is the shape for which the plan was made; -1: there is none that holds.
	changed int64
	// moves of the plan that are still to be made, in their order.
	moves []store.Transfer
	// loads as they were at loadsAt: between two looks at them a plan sees the same loads, so that noise moves nothing.
	loads   map[store.PartitionID]int64
	loadsAt time.Time
	// reportedAt is the newest report in loads; revision what the plan for loads had seen.
	reportedAt time.Time
	revision   int64
}

// waits says whether there are moves left, or no plan.
func (g *group) waits() bool { return len(g.moves) > 0 || g.changed < 0 }

// round looks at every agent group. What fails is tried again in the next round.
func (r *Rebalancer) round(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	err := r.Once(ctx)
	if err == nil || errors.Is(ctx.Err(), context.Canceled) {
		return
	}
	r.lookedAt = time.Time{}
	r.config.Logger.WarnContext(ctx, "placement round failed", "error", err)
}

// Once looks at every agent group, whoever leads: it plans where a plan is due, and makes as many moves as may be under way.
func (r *Rebalancer) Once(ctx context.Context) error {
	shapes, err := r.store.Shapes(ctx)
	if err != nil {
		return fmt.Errorf("read shapes: %w", err)
	}
	maps.DeleteFunc(r.groups, func(name store.AgentGroup, _ *group) bool { _, known := shapes[name]; return !known })
	faults := []error{r.count(ctx, shapes)}
	for _, name := range slices.Sorted(maps.Keys(shapes)) {
		if err := r.lookAt(ctx, name, shapes[name]); err != nil {
			faults = append(faults, fmt.Errorf("agent group %s: %w", name, err))
		}
	}
	return errors.Join(faults...)
}

// lookAt plans where a plan is due, and makes as many of its moves as may be under way.
func (r *Rebalancer) lookAt(ctx context.Context, name store.AgentGroup, shape store.Shape) error {
	g := r.groups[name]
	if g == nil {
		g = &group{changed: -1}
		r.groups[name] = g
	}
	loadsDue := r.loadsDue(g, shape)
	if g.changed != shape.Changed || loadsDue {
		if err := r.plan(ctx, name, g, shape, loadsDue); err != nil {
			g.changed = -1
			return fmt.Errorf("plan: %w", err)
		}
	}
	return r.move(ctx, name, g)
}

// loadsDue says whether it is time to look at the loads again, and there are others, or changes that no shape tells of (a replica of an
// earlier release does not count them).
func (r *Rebalancer) loadsDue(g *group, shape store.Shape) bool {
	if !g.loadsAt.IsZero() && time.Since(g.loadsAt) < r.config.LoadInterval {
		return false
	}
	return g.loadsAt.IsZero() || !g.reportedAt.Equal(shape.ReportedAt) || g.revision != shape.Revision
}

func (r *Rebalancer) plan(ctx context.Context, name store.AgentGroup, g *group, shape store.Shape, loadsDue bool) error {
	begin := time.Now()
	if loadsDue {
		loads, err := r.store.PartitionLoads(ctx, name)
		if err != nil {
			return err
		}
		g.loads, g.loadsAt, g.reportedAt, g.revision = loads, begin, shape.ReportedAt, shape.Revision
	}
	in, err := r.store.PlacementInput(ctx, name)
	if err != nil {
		return err
	}
	in.SetLoads(g.loads)
	read := time.Now()
	g.moves, g.changed = transfers(in, placement.Plan(in.Input).Moves), in.Shape.Changed
	r.metrics.planned(ctx, time.Since(begin))
	if len(g.moves) > 0 {
		r.config.Logger.InfoContext(ctx, "placement planned", "agent_group", name, "partitions", len(in.Partitions), "moves", len(g.moves),
			"read_ms", read.Sub(begin).Milliseconds(), "plan_ms", time.Since(read).Milliseconds())
	}
	return nil
}

// transfers are the moves, those first that cost nobody a hand-off.
func transfers(in *store.PlacementInput, moves []placement.Move) []store.Transfer {
	all := make([]store.Transfer, 0, len(moves))
	var led []store.Transfer
	for _, move := range moves {
		t := store.Transfer{PartitionID: in.ID(move.Partition), From: in.Agent(move.From), To: in.Agent(move.To)}
		if leader := in.Leaders[move.Partition]; leader == placement.Nobody || leader == move.To {
			all = append(all, t)
		} else {
			led = append(led, t)
		}
	}
	return append(all, led...)
}

// move makes the next moves, until there are enough under way. The rest has its turn in later rounds.
func (r *Rebalancer) move(ctx context.Context, name store.AgentGroup, g *group) error {
	for len(g.moves) > 0 {
		moved, err := r.store.MovePartitions(ctx, name, g.moves)
		if err != nil {
			return fmt.Errorf("move partitions: %w", err)
		}
		r.metrics.moved(ctx, moved.Assigned)
		if moved.Assigned > 0 {
			r.config.Logger.InfoContext(ctx, "partitions move", "agent_group", name, "partitions", moved.Assigned, "left", len(g.moves)-moved.Taken)
		}
		g.moves = g.moves[moved.Taken:]
		if moved.Full || moved.Taken == 0 {
			return nil
		}
	}
	return nil
}
