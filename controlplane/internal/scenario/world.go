package scenario

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// World is a catalog with names for what a story does to it. Not safe for concurrent use.
type World struct {
	catalog   Catalog
	processes map[string][]process   // by agent id, oldest first
	topics    map[string][]uuid.UUID // by name, oldest first
	counters  map[string]int         // by object label
	jobs      map[string]string      // ids by label
	outputs   map[string]string      // of jobs, what stands for the session in keys, by id
	labels    map[string]string      // by object key
	watchers  map[string]*watcher
	keys      map[string]uuid.UUID // by name
	// candidates for deciding placement, by name.
	candidates map[string]store.PlacementCandidate
	// absence is how long no judge has beaten, as far as the story says.
	absence time.Duration
	// started are the commands in the background, in their order.
	started []*background
	last    uuid.UUID
}

// background is a command that waits for a row that is held.
type background struct {
	command, answer string
	err             error
}

// call does a command whose names have been resolved.
type call func(ctx context.Context) (string, error)

// verb resolves names, on the story's own goroutine, and answers what is left to do.
type verb func(w *World, c command) (call, error)

// NewWorld makes a world on an empty catalog.
func NewWorld(ctx context.Context, catalog Catalog) (*World, error) {
	w := &World{
		catalog: catalog, processes: map[string][]process{}, topics: map[string][]uuid.UUID{}, counters: map[string]int{},
		jobs: map[string]string{}, outputs: map[string]string{},
		labels: map[string]string{}, watchers: map[string]*watcher{}, keys: map[string]uuid.UUID{}, candidates: map[string]store.PlacementCandidate{},
	}
	if _, err := catalog.Beat(ctx); err != nil { // judges are at work before the story begins
		return nil, fmt.Errorf("beat: %w", err)
	}
	return w, nil
}

// Do does a command and answers what a reader should see. A refusal is an answer; an error is a mistake in the command, or a fault.
func (w *World) Do(ctx context.Context, text string) (string, error) {
	c, err := parseCommand(text)
	if err != nil {
		return "", err
	}
	switch c.verb {
	case "background":
		return "", w.background(ctx, text)
	case "let":
		return w.letGo(ctx)
	}
	do, err := w.resolve(c)
	if err != nil {
		return "", err
	}
	return answer(do(ctx))
}

func (w *World) resolve(c command) (call, error) {
	v, known := verbs()[c.verb]
	if !known {
		return nil, fmt.Errorf("there is no verb %q", c.verb)
	}
	return v(w, c)
}

// LastID is the id of the newest session or topic.
func (w *World) LastID() uuid.UUID { return w.last }

// background starts a command that is about to wait for a row that is held.
func (w *World) background(ctx context.Context, text string) error {
	text = strings.TrimSpace(strings.TrimPrefix(text, "background"))
	c, err := parseCommand(text)
	if err != nil {
		return err
	}
	do, err := w.resolve(c)
	if err != nil {
		return err
	}
	b := &background{command: text}
	w.started = append(w.started, b)
	return w.catalog.Start(ctx, func(ctx context.Context) { b.answer, b.err = answer(do(ctx)) })
}

// letGo lets the held rows go, and tells what the commands in the background answered.
func (w *World) letGo(ctx context.Context) (string, error) {
	if err := w.catalog.LetGo(ctx); err != nil {
		return "", err
	}
	var lines []string
	for _, b := range w.started {
		if b.err != nil {
			return "", fmt.Errorf("%s: %w", b.command, b.err)
		}
		first, _, _ := strings.Cut(b.command, "\n")
		lines = append(lines, "["+first+"]", b.answer)
	}
	w.started = nil
	return strings.Join(lines, "\n"), nil
}

// answer makes an answer of a refusal.
func answer(text string, err error) (string, error) {
	var refused *store.Refused
	if errors.As(err, &refused) && (refused.Refusal.GetReason() != refusalv1.Reason_REASON_CATALOG_UNAVAILABLE || refused.Cause == nil) {
		return refusal(refused.Refusal), nil
	}
	return text, err
}

// refusal shows what a program can see of a refusal; its sentence is for people, and may change.
func refusal(r *refusalv1.Refusal) string {
	text := strings.TrimPrefix(r.GetReason().String(), "REASON_")
	if r.GetField() != "" {
		text += " field=" + r.GetField()
	}
	text += leader(r.GetLeader())
	switch r.GetWritten() {
	case refusalv1.Written_WRITTEN_SURELY_NOT:
		return text + " (surely not written)"
	case refusalv1.Written_WRITTEN_POSSIBLY:
		return text + " (possibly written)"
	default:
		return text
	}
}

// leader shows an agent with its address and zone, and the epoch of its tenure, where it has one.
func leader(l *refusalv1.Leader) string {
	if l == nil {
		return ""
	}
	text := fmt.Sprintf(" leader=%s at %s in %s", l.GetAgentId(), l.GetAddress(), l.GetZone())
	if l.GetEpoch() != 0 {
		text += fmt.Sprintf(" epoch=%d", l.GetEpoch())
	}
	return text
}
