package scenario

import (
	"context"
	"fmt"
	"strings"
	"time"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/judge"
	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// doWait: "wait 3m" lets time pass while the judges beat as they should; "wait 3m without judges" while none does.
func doWait(w *World, c command) (call, error) {
	text, err := c.word(0)
	if err != nil {
		return nil, err
	}
	d, err := time.ParseDuration(text)
	return func(ctx context.Context) (string, error) {
		if c.has("without") {
			w.absence += d
		}
		return "", w.catalog.Age(ctx, d)
	}, err
}

// doClock: "clock jumps back 5m".
func doClock(w *World, c command) (call, error) {
	text, err := c.word(2)
	if err != nil {
		return nil, err
	}
	d, err := time.ParseDuration(text)
	return func(ctx context.Context) (string, error) {
		w.absence -= d
		return "", w.catalog.Age(ctx, -d)
	}, err
}

// doJudge: a tick of a judge, and what follows from it. "judge slow=600ms" is a judge who falls asleep on the way.
func doJudge(w *World, c command) (call, error) {
	slow, err := c.duration("slow", 0)
	if err != nil {
		return nil, err
	}
	absence := w.absence
	w.absence = 0
	return func(ctx context.Context) (string, error) {
		before, err := w.scene(ctx)
		if err != nil {
			return "", err
		}
		if err := w.catalog.AgePulse(ctx, absence); err != nil {
			return "", err
		}
		if slow > 0 {
			err = w.judgeSlowly(ctx, slow)
		} else {
			err = w.tick(ctx)
		}
		if err != nil {
			return "", err
		}
		return w.difference(ctx, before)
	}, c.known("slow")
}

func (w *World) tick(ctx context.Context) error {
	pulse, err := w.catalog.Beat(ctx)
	if err != nil {
		return err
	}
	if !pulse.QuietUntil.After(pulse.Now) {
		if _, err := w.catalog.EndSilent(ctx); err != nil {
			return err
		}
		if _, err := w.catalog.SuspectSilent(ctx, SuspectAfter); err != nil {
			return err
		}
	}
	return w.settle(ctx)
}

// sleeper lets a judge fall asleep after its first beat, and goes home at the second.
type sleeper struct {
	store.Judging
	sleep time.Duration
	beats int
	home  context.CancelFunc
}

func (s *sleeper) Beat(ctx context.Context) (store.Pulse, error) {
	if s.beats++; s.beats > 1 {
		s.home()
		return store.Pulse{}, ctx.Err()
	}
	pulse, err := s.Judging.Beat(ctx)
	time.Sleep(s.sleep)
	return pulse, err
}

// judgeSlowly runs a real judge for one tick.
func (w *World) judgeSlowly(ctx context.Context, sleep time.Duration) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	j, err := judge.New(&sleeper{Judging: w.catalog, sleep: sleep, home: cancel}, judge.Config{Interval: 10 * time.Millisecond, SuspectAfter: SuspectAfter})
	if err != nil {
		return err
	}
	return j.Run(ctx)
}

func doSettle(w *World, _ command) (call, error) {
	return func(ctx context.Context) (string, error) {
		before, err := w.scene(ctx)
		if err != nil {
			return "", err
		}
		if err := w.settle(ctx); err != nil {
			return "", err
		}
		return w.difference(ctx, before)
	}, nil
}

// settle finds homes for partitions, as every control plane does within a second.
func (w *World) settle(ctx context.Context) error {
	groups, err := w.catalog.UnsettledAgentGroups(ctx)
	if err != nil {
		return err
	}
	for _, group := range groups {
		for again := true; again; { // until the rest waits for hand-offs to end
			assigned, more, err := w.catalog.AssignOrphans(ctx, group)
			if err != nil {
				return err
			}
			again = more && assigned > 0
		}
	}
	return nil
}

// scene is what judges change: lines about agents and assignments.
type scene []string

func (w *World) scene(ctx context.Context) (lines scene, err error) {
	agents, err := w.catalog.ListAgents(ctx, store.EveryAgentGroup, &controlplanev1.ListAgentsRequest{})
	if err != nil {
		return nil, err
	}
	for _, a := range agents.GetAgents() {
		lines = append(lines, fmt.Sprintf("%s is %s", w.sessionName(a.GetSessionId()), state(a)))
	}
	leases, err := w.catalog.ListLeases(ctx, store.EveryAgentGroup, &controlplanev1.ListLeasesRequest{})
	if err != nil {
		return nil, err
	}
	for _, l := range leases.GetLeases() {
		lines = append(lines, fmt.Sprintf("%s/%d is assigned to %s", l.GetTopic(), l.GetPartition(), l.GetAssignedAgentId()))
	}
	return lines, nil
}

// difference tells what is new since the scene before.
func (w *World) difference(ctx context.Context, before scene) (string, error) {
	after, err := w.scene(ctx)
	if err != nil {
		return "", err
	}
	var lines []string
	for _, line := range after {
		if !containsWord(before, line) {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		return "nothing changes", nil
	}
	return strings.Join(lines, "\n"), nil
}
