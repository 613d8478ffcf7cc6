package scenario

import (
	"context"
	"fmt"
	"slices"
	"strings"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

// places resolves the partitions after the speaker.
func (w *World) places(c command) (places []place, err error) {
	for _, name := range c.words[1:] {
		at, err := w.place(name)
		if err != nil {
			return nil, err
		}
		places = append(places, at)
	}
	return places, nil
}

// doAcquire: "acquire a orders/0 orders/1 ended=3".
func doAcquire(w *World, c command) (call, error) {
	p, group, err := w.speaker(c)
	if err != nil {
		return nil, err
	}
	ended, err := c.number32("ended", 0)
	if err != nil {
		return nil, err
	}
	places, err := w.places(c)
	if err != nil {
		return nil, err
	}
	request := &controlplanev1.AcquireRequest{SessionId: p.id.String()}
	for _, at := range places {
		request.Partitions = append(request.Partitions, &controlplanev1.AcquirePartition{TopicId: at.topic[:], Partition: at.number, LastEndedEpoch: ended})
	}
	return func(ctx context.Context) (string, error) {
		response, err := w.catalog.Acquire(ctx, group, request)
		if err != nil {
			return "", err
		}
		var lines []string
		for i, outcome := range response.GetOutcomes() {
			lines = append(lines, c.words[i+1]+" "+acquired(outcome))
		}
		return strings.Join(lines, "\n"), nil
	}, c.known("ended", "key")
}

func acquired(outcome *controlplanev1.AcquireOutcome) string {
	if outcome.GetRefusal() != nil {
		return refusal(outcome.GetRefusal())
	}
	g := outcome.GetGrant()
	var text strings.Builder
	fmt.Fprintf(&text, "epoch=%d first_offset=%d high_watermark=%d", g.GetEpoch(), g.GetTenureFirstOffset(), g.GetHighWatermark())
	if !g.GetProducersComplete() {
		text.WriteString(" (more producers)")
	}
	slices.SortFunc(g.GetProducers(), func(a, b *controlplanev1.ProducerState) int { return int(a.GetProducerId() - b.GetProducerId()) })
	for _, p := range g.GetProducers() {
		text.WriteString("\n  " + producerState(p))
	}
	return text.String()
}

// producerState shows "producer 7 epoch 0: 0+3@10 3+2@13": sequence, count and offset of its last batches.
func producerState(p *controlplanev1.ProducerState) string {
	var text strings.Builder
	fmt.Fprintf(&text, "producer %d epoch %d:", p.GetProducerId(), p.GetProducerEpoch())
	for _, b := range p.GetBatches() {
		fmt.Fprintf(&text, " %d+%d@%d", b.GetBaseSequence(), b.GetRecordCount(), b.GetBaseOffset())
	}
	return text.String()
}

// doRelease: "release a orders/0 epoch=1".
func doRelease(w *World, c command) (call, error) {
	p, group, err := w.speaker(c)
	if err != nil {
		return nil, err
	}
	epoch, err := c.number32("epoch", 0)
	if err != nil {
		return nil, err
	}
	places, err := w.places(c)
	if err != nil {
		return nil, err
	}
	request := &controlplanev1.ReleaseRequest{SessionId: p.id.String()}
	for _, at := range places {
		request.Partitions = append(request.Partitions, &controlplanev1.ReleasePartition{TopicId: at.topic[:], Partition: at.number, Epoch: epoch})
	}
	return func(ctx context.Context) (string, error) {
		response, err := w.catalog.Release(ctx, group, request)
		if err != nil {
			return "", err
		}
		var lines []string
		for i, outcome := range response.GetOutcomes() {
			lines = append(lines, c.words[i+1]+" "+released(outcome))
		}
		return strings.Join(lines, "\n"), nil
	}, c.known("epoch", "key")
}

func released(outcome *controlplanev1.ReleaseOutcome) string {
	text := "was not its own to release"
	if outcome.GetReleased() {
		text = "released"
	}
	if outcome.GetLeader() == nil {
		return text + ", nobody leads"
	}
	return text + "," + leader(outcome.GetLeader())
}
