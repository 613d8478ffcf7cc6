package scenario

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

// A record of a story has recordBytes; a segment at most segmentBytes, however many.
const (
	recordBytes  = 10
	segmentBytes = 1 << 20
)

// doCommit: "commit a", then a deeper line for each segment: "o1 orders/0 epoch=1 base=0 count=10 producer=7:0:0 time=1000". Objects are
// committed in the order in which they are first named; segments are put into the order that the API wants.
func doCommit(w *World, c command) (call, error) {
	p, group, err := w.speaker(c)
	if err != nil {
		return nil, err
	}
	request := &controlplanev1.CommitRequest{SessionId: p.id.String()}
	byLabel := map[string]*controlplanev1.ObjectCommit{}
	for _, entry := range c.entries {
		object := byLabel[entry.verb]
		if object == nil {
			object = &controlplanev1.ObjectCommit{}
			if object.Key, err = w.key(entry.verb, p); err != nil {
				return nil, err
			}
			byLabel[entry.verb] = object
			request.Objects = append(request.Objects, object)
		}
		segment, err := w.segment(entry)
		if err != nil {
			return nil, err
		}
		object.Segments = append(object.Segments, segment)
	}
	for _, object := range request.GetObjects() {
		layOut(object)
	}
	return func(ctx context.Context) (string, error) {
		response, err := w.catalog.Commit(ctx, group, request)
		if err != nil {
			return "", err
		}
		return w.outcomes(request, response)
	}, c.known("key")
}

// layOut gives each segment its bytes, in the order of the story, and then sorts them.
func layOut(object *controlplanev1.ObjectCommit) {
	for _, s := range object.GetSegments() {
		s.BytePosition = object.GetSizeBytes()
		object.SizeBytes += int64(s.GetSizeBytes())
	}
	slices.SortStableFunc(object.GetSegments(), func(a, b *controlplanev1.SegmentCommit) int {
		return cmp.Or(bytes.Compare(a.GetTopicId(), b.GetTopicId()), cmp.Compare(a.GetPartition(), b.GetPartition()))
	})
}

func (w *World) segment(entry command) (*controlplanev1.SegmentCommit, error) {
	name, err := entry.word(0)
	if err != nil {
		return nil, err
	}
	at, err := w.place(name)
	if err != nil {
		return nil, err
	}
	s := &controlplanev1.SegmentCommit{TopicId: at.topic[:], Partition: at.number}
	var problems [4]error
	s.Epoch, problems[0] = entry.number32("epoch", 1)
	s.BaseOffset, problems[1] = entry.number("base", 0)
	s.RecordCount, problems[2] = entry.number32("count", 1)
	s.MaxTimestampMs, problems[3] = entry.number("time", 0)
	s.SizeBytes = min(s.GetRecordCount(), segmentBytes/recordBytes) * recordBytes
	if err := errors.Join(append(problems[:], entry.known("epoch", "base", "count", "time", "producer"))...); err != nil {
		return nil, err
	}
	s.ProducerBatches, err = batches(entry.text("producer", ""), s)
	return s, err
}

// batches parses "7:0:0+3,7:0:3+2": producer, its epoch, sequence and count, one batch after the other; without a count, all that is left.
func batches(text string, s *controlplanev1.SegmentCommit) (all []*controlplanev1.ProducerBatch, err error) {
	next, left := s.GetBaseOffset(), s.GetRecordCount()
	for part := range strings.SplitSeq(text, ",") {
		if part == "" {
			continue
		}
		part, count, counted := strings.Cut(part, "+")
		n := int64(left)
		if counted {
			if n, err = strconv.ParseInt(count, 10, 32); err != nil {
				return nil, fmt.Errorf("producer=%s: %w", text, err)
			}
		}
		b := &controlplanev1.ProducerBatch{RecordCount: int32(n), BaseOffset: next}
		if _, err := fmt.Sscanf(part, "%d:%d:%d", &b.ProducerId, &b.ProducerEpoch, &b.BaseSequence); err != nil {
			return nil, fmt.Errorf("producer=%s: write id:epoch:sequence+count", text)
		}
		all = append(all, b)
		next, left = next+n, left-b.GetRecordCount()
	}
	return all, nil
}

// outcomes tells what became of each segment, sorted by object (as sent) and partition name.
func (w *World) outcomes(request *controlplanev1.CommitRequest, response *controlplanev1.CommitResponse) (string, error) {
	var lines []string
	if len(response.GetObjects()) != len(request.GetObjects()) {
		return "", fmt.Errorf("%d objects sent, %d answered", len(request.GetObjects()), len(response.GetObjects()))
	}
	for i, outcome := range response.GetObjects() {
		sent := request.GetObjects()[i]
		if outcome.GetKey() != sent.GetKey() {
			return "", fmt.Errorf("object %s answered as %s", sent.GetKey(), outcome.GetKey())
		}
		label := w.labels[sent.GetKey()]
		if outcome.GetRefusal() != nil {
			lines = append(lines, label+" "+refusal(outcome.GetRefusal()))
			continue
		}
		var segments []string
		for j, s := range outcome.GetSegments() {
			if j >= len(sent.GetSegments()) { // of an earlier commit of the same key
				segments = append(segments, label+" ? "+result(s))
				continue
			}
			segments = append(segments, fmt.Sprintf("%s %s %s", label, w.placeName(sent.GetSegments()[j].GetTopicId(), sent.GetSegments()[j].GetPartition()), result(s)))
		}
		slices.Sort(segments)
		lines = append(lines, segments...)
	}
	return strings.Join(lines, "\n"), nil
}

func result(s *controlplanev1.SegmentOutcome) string {
	text := strings.TrimPrefix(s.GetResult().String(), "SEGMENT_RESULT_")
	if s.GetHighWatermark() < 0 {
		return text
	}
	return fmt.Sprintf("%s high_watermark=%d epoch=%d", text, s.GetHighWatermark(), s.GetCurrentEpoch())
}

// doTombstone: "tombstone o1@a o2@a".
func doTombstone(w *World, c command) (call, error) {
	var keys []string
	for _, name := range c.words {
		key, err := w.key(name, nobody)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return func(ctx context.Context) (string, error) {
		dead, err := w.catalog.Tombstone(ctx, keys)
		if err != nil {
			return "", err
		}
		var labels []string
		for _, key := range dead {
			labels = append(labels, w.labels[key])
		}
		slices.Sort(labels)
		return strings.TrimSpace("dead: " + strings.Join(labels, " ")), nil
	}, nil
}
