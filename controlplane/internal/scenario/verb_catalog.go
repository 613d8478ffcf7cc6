package scenario

import (
	"context"
	"fmt"
	"strings"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

// doShow: "show a complete object=o1 revision=5 incarnation=1" and below it "orders/0 epoch=2 high_watermark=10": a heartbeat that says what a was
// told before. complete: that is all.
func doShow(w *World, c command) (call, error) {
	p, group, err := w.speaker(c)
	if err != nil {
		return nil, err
	}
	told := &controlplanev1.Evidence{}
	request := &controlplanev1.HeartbeatRequest{SessionId: p.id.String(), Evidence: told}
	if told.Incarnation, err = c.number32("incarnation", 0); err != nil {
		return nil, err
	}
	if request.Revision, err = c.number("revision", 0); err != nil {
		return nil, err
	}
	if label := c.text("object", ""); label != "" {
		if told.ObjectKey, err = w.key(label, p); err != nil {
			return nil, err
		}
	}
	for _, entry := range c.entries {
		if err := w.addTold(told, entry); err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context) (string, error) {
		if c.has("complete") {
			status, err := w.catalog.CatalogStatus(ctx)
			if err != nil {
				return "", err
			}
			told.CompleteFor = status.GetCatalogStart()
		}
		response, err := w.catalog.Heartbeat(ctx, group, request)
		return p.name + " lives, " + catalogState(response.GetCatalogState()), err
	}, c.known("object", "revision", "incarnation", "key")
}

func (w *World) addTold(told *controlplanev1.Evidence, entry command) error {
	at, err := w.place(entry.verb)
	if err != nil {
		return err
	}
	epoch, err := entry.number32("epoch", 0)
	if err != nil {
		return err
	}
	end, err := entry.number("high_watermark", 0)
	told.Partitions = append(told.Partitions, &controlplanev1.PartitionEvidence{TopicId: at.topic[:], Partition: at.number, Epoch: epoch, HighWatermark: end})
	return err
}

func catalogState(s controlplanev1.CatalogState) string {
	return "catalog " + strings.ToLower(strings.TrimPrefix(s.String(), "CATALOG_STATE_"))
}

// doRestart: the database is restarted, with nothing lost.
func doRestart(w *World, _ command) (call, error) {
	return func(ctx context.Context) (string, error) { return "", w.catalog.Restarted(ctx) }, nil
}

// doCatalog shows the status, as an operator sees it.
func doCatalog(w *World, _ command) (call, error) {
	return func(ctx context.Context) (string, error) {
		status, err := w.catalog.CatalogStatus(ctx)
		if err != nil {
			return "", err
		}
		text := fmt.Sprintf("%s, incarnation=%d", catalogState(status.GetState()), status.GetIncarnation())
		if len(status.GetAwaitedAgentIds()) > 0 {
			text += ", awaits " + strings.Join(status.GetAwaitedAgentIds(), " ")
		}
		return text, nil
	}, nil
}

// doAdopt: "adopt incarnation=0".
func doAdopt(w *World, c command) (call, error) {
	seen, err := c.number32("incarnation", 0)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (string, error) {
		response, err := w.catalog.AdoptCatalog(ctx, &controlplanev1.AdoptCatalogRequest{Incarnation: seen})
		return fmt.Sprintf("incarnation=%d", response.GetIncarnation()), err
	}, c.known("incarnation")
}
