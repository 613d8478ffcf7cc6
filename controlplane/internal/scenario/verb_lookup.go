package scenario

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

// doLookup: "lookup a orders/0 offset=5 most=3" or "… time=1000".
func doLookup(w *World, c command) (call, error) {
	_, group, err := w.speaker(c)
	if err != nil {
		return nil, err
	}
	places, err := w.places(c)
	if err != nil {
		return nil, err
	}
	most, err1 := c.number32("most", 0)
	offset, err2 := c.number("offset", -1)
	timestamp, err3 := c.number("time", -1)
	request := &controlplanev1.LookupRequest{}
	for _, at := range places {
		l := &controlplanev1.LookupPartition{TopicId: at.topic[:], Partition: at.number, MaxSegments: most}
		if offset >= 0 {
			l.Position = &controlplanev1.LookupPartition_Offset{Offset: offset}
		} else if timestamp >= 0 {
			l.Position = &controlplanev1.LookupPartition_TimestampMs{TimestampMs: timestamp}
		}
		request.Partitions = append(request.Partitions, l)
	}
	return func(ctx context.Context) (string, error) {
		response, err := w.catalog.Lookup(ctx, group, request)
		if err != nil {
			return "", err
		}
		var lines []string
		for i, outcome := range response.GetOutcomes() {
			lines = append(lines, c.words[i+1]+" "+w.found(outcome))
		}
		return strings.Join(lines, "\n"), nil
	}, errors.Join(err1, err2, err3, c.known("most", "offset", "time", "key"))
}

func (w *World) found(outcome *controlplanev1.LookupOutcome) string {
	if outcome.GetRefusal() != nil {
		return refusal(outcome.GetRefusal())
	}
	holder := "nobody"
	if outcome.GetLeaderSessionId() != "" {
		holder = w.sessionName(outcome.GetLeaderSessionId())
	}
	var text strings.Builder
	fmt.Fprintf(&text, "session=%s epoch=%d log_start=%d high_watermark=%d", holder, outcome.GetEpoch(), outcome.GetLogStartOffset(), outcome.GetHighWatermark())
	for _, s := range outcome.GetSegments() {
		fmt.Fprintf(&text, "\n  %d to %d in %s, epoch=%d time=%d bytes=%d+%d", s.GetBaseOffset(), s.GetBaseOffset()+int64(s.GetRecordCount())-1,
			w.labels[s.GetObjectKey()], s.GetEpoch(), s.GetMaxTimestampMs(), s.GetBytePosition(), s.GetSizeBytes())
	}
	return text.String()
}

// doProducer: "producer a orders/0 id=7".
func doProducer(w *World, c command) (call, error) {
	_, group, err := w.speaker(c)
	if err != nil {
		return nil, err
	}
	places, err := w.places(c)
	if err != nil {
		return nil, err
	}
	id, err := c.number("id", 0)
	request := &controlplanev1.LookupProducersRequest{}
	for _, at := range places {
		request.Lookups = append(request.Lookups, &controlplanev1.ProducerLookup{TopicId: at.topic[:], Partition: at.number, ProducerId: id})
	}
	return func(ctx context.Context) (string, error) {
		response, err := w.catalog.LookupProducers(ctx, group, request)
		if err != nil {
			return "", err
		}
		var lines []string
		for i, outcome := range response.GetOutcomes() {
			text := "not known"
			if outcome.GetState() != nil {
				text = producerState(outcome.GetState())
			}
			lines = append(lines, fmt.Sprintf("%s epoch=%d, %s", c.words[i+1], outcome.GetEpoch(), text))
		}
		return strings.Join(lines, "\n"), nil
	}, errors.Join(err, c.known("id", "key"))
}

// doIDs: "ids 10" takes ten producer ids.
func doIDs(w *World, c command) (call, error) {
	text, err := c.word(0)
	if err != nil {
		return nil, err
	}
	count, err := strconv.ParseInt(text, 10, 32)
	return func(ctx context.Context) (string, error) {
		response, err := w.catalog.AllocateProducerIds(ctx, &controlplanev1.AllocateProducerIdsRequest{Count: int32(count)})
		if err != nil {
			return "", err
		}
		first := response.GetFirstProducerId()
		return fmt.Sprintf("%d to %d", first, first+count-1), nil
	}, err
}
