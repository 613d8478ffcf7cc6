package fetch

import (
	"bytes"
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/lookup/catalogtest"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	"github.com/streamhouse/streamhouse/dataplane/internal/route"
	accessv1 "github.com/streamhouse/streamhouse/gen/streamhouse/access/v1"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/serve/access"
)

// BenchmarkFetchFromMemory fetches 1 MiB of batches that the leader has just committed, and says how many
// times longer that takes than to copy it once.
func BenchmarkFetchFromMemory(b *testing.B) {
	table := route.New("a", newOneTopic(1))
	table.Apply(&controlplanev1.Placement{Revision: 1, Topics: []*controlplanev1.PlacedTopic{
		{TopicId: topicID[:], Name: topicName, PartitionCount: 1, Revision: 1},
	}})
	s, err := New("group", table, &catalogtest.Catalog{}, &objectstore.Memory{}, Config{}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	var batches [][]byte
	for base := range int64(16) {
		batches = append(batches, batchOf(b, base, []rec{{value: incompressible(64 << 10)}}))
	}
	all := bytes.Join(batches, nil)
	s.Led(id(0), 1, 0, 0)
	s.Committed(partition.Committed{
		Partition: id(0), Epoch: 1, NextOffset: 16, ObjectKey: "o", SizeBytes: int32(len(all)), Batches: batches,
	})
	ctx := access.With(context.Background(), access.Principal{Role: accessv1.Role_ROLE_CLIENT, AgentGroup: "group"})
	req := request(0, 0)
	req.MaxBytes = 2 << 20
	fetch := func() {
		if res, err := s.Fetch(ctx, req); err != nil || len(res.GetPartitions()[0].GetBatches()) != len(all) {
			b.Fatal(err)
		}
	}
	began := time.Now()
	const copies = 100
	for range copies {
		_ = bytes.Clone(all)
	}
	copying := time.Since(began) / copies
	b.SetBytes(int64(len(all)))
	b.ReportAllocs()
	for b.Loop() {
		fetch()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(copying.Nanoseconds()), "copies")
}
