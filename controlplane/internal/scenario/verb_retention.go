package scenario

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// doRetain is the first step of retention, over all pages.
func doRetain(w *World, _ command) (call, error) {
	return func(ctx context.Context) (string, error) {
		raised := 0
		for next := (&store.RetentionCursor{}); next != nil; {
			page, err := w.catalog.RaiseLogStarts(ctx, *next)
			if err != nil {
				return "", err
			}
			raised, next = raised+page.Partitions, page.Next
		}
		return fmt.Sprintf("%d log starts raised", raised), nil
	}, nil
}

// doRemove is the second step.
func doRemove(w *World, _ command) (call, error) {
	return func(ctx context.Context) (string, error) {
		segments, bytes := 0, int64(0)
		for next := (&store.RetentionCursor{}); next != nil; {
			page, err := w.catalog.RemoveBelowLogStarts(ctx, *next)
			if err != nil {
				return "", err
			}
			segments, bytes, next = segments+page.Segments, bytes+page.Bytes, page.Next
		}
		return fmt.Sprintf("%d segments removed, %d bytes", segments, bytes), nil
	}, nil
}

// doRecords: "records orders/0 orders/1 before=5". The partitions must be of one topic.
func doRecords(w *World, c command) (call, error) {
	before, err := c.number("before", 0)
	request := &controlplanev1.DeleteRecordsRequest{}
	for _, name := range c.words {
		topic, number, _ := strings.Cut(name, "/") // by name: an operator knows no ids
		n, err := strconv.ParseInt(number, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("%s is no partition: write topic/number", name)
		}
		request.Name = topic
		request.Partitions = append(request.Partitions, &controlplanev1.RecordsBefore{Partition: int32(n), BeforeOffset: before})
	}
	return func(ctx context.Context) (string, error) {
		response, err := w.catalog.DeleteRecords(ctx, request)
		if err != nil {
			return "", err
		}
		var lines []string
		for _, p := range response.GetPartitions() {
			lines = append(lines, fmt.Sprintf("%s/%d begins at %d", request.GetName(), p.GetPartition(), p.GetLogStartOffset()))
		}
		return strings.Join(lines, "\n"), nil
	}, errors.Join(err, c.known("before"))
}
