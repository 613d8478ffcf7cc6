package recovery_test

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/e2e/cluster"
)

// show is a cluster of one agent with PUTs as many as it likes, for logs of many objects in little time.
func show(t *testing.T, agent ...string) *story {
	t.Helper()
	if os.Getenv("STREAMHOUSE_PROVE") == "" {
		t.Skip("measures for minutes: STREAMHOUSE_PROVE=1")
	}
	// Nothing is merged meanwhile: what is measured is a log as it was written.
	agent = append(agent, "--puts-per-second=10000", "--put-burst=10000", "--no-jobs")
	return &story{T: t, ctx: t.Context(), cluster: cluster.Start(t, cluster.Options{Zones: []string{"az-a"}, AgentArgs: agent})}
}

// recovers loses the catalog and measures how long it takes to make another of the bucket.
func (s *story) recovers(minObjects int64) {
	s.Helper()
	const stored = "SELECT COALESCE(sum(size_bytes), 0)::bigint FROM segments"
	before := s.count(stored)
	s.cluster.LoseCatalog(s.ctx, s)
	var made recovered
	s.operator().JSON(s.ctx, s, &made, "recover", "--bucket", s.cluster.S3.Bucket)
	if made.LostRecords != 0 || made.DamagedSegments != 0 || made.Objects < minObjects {
		s.Errorf("recovered %+v, of at least %d objects", made, minObjects)
	}
	if after := s.count(stored); after != before {
		s.Errorf("P9: %d bytes are stored, %d were", after, before)
	}
	s.Logf("%d objects, %d segments, %d partitions, %.2f GiB stored, %d records in %.1f s: %.0f objects/s, %.0f segments/s, %.1f GiB of log a minute", made.Objects, made.Segments,
		made.Partitions, float64(before)/(1<<30), made.Records, made.Seconds, made.ObjectsPerSecond, float64(made.Segments)/made.Seconds, made.GiBPerMinute)
	for _, step := range made.Steps {
		s.Logf("%8.2f s  %s", step.Seconds, step.Name)
	}
}

func (s *story) count(query string) int64 {
	s.Helper()
	n, err := strconv.ParseInt(strings.TrimSpace(s.cluster.Postgres.SQL(s.ctx, s, query)), 10, 64)
	if err != nil {
		s.Fatal(err)
	}
	return n
}

// Recovery of a log of large objects: as agents write them at full load, with many partitions in each.
func TestShowRecoveryOfLargeObjects(t *testing.T) {
	s := show(t)
	s.cluster.CreateTopic(s.ctx, t, topic, 1, client.TopicConfig{})
	s.operator().Must(s.ctx, t, "bench", "produce", "--no-limits", "--keep", "--batch=prebuilt", "--partitions=200", "--warm-up=1s", "--duration=30s", "--payload=random", "--record-bytes=4096", "-o", "json")
	s.recovers(200)
}

// Recovery of a log of small objects, each with a few segments: what an idle cluster writes in days.
func TestShowRecoveryOfSmallObjects(t *testing.T) {
	s := show(t, "--linger=1ms")
	s.cluster.CreateTopic(s.ctx, t, topic, 1, client.TopicConfig{})
	s.operator().Must(s.ctx, t, "bench", "produce", "--no-limits", "--keep", "--partitions=100", "--warm-up=1s", "--duration=60s", "--rate=3000", "--record-bytes=1024", "--linger=1ms", "-o", "json")
	s.recovers(5000)
}
