package fetch

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

// byID asks by the topic's id, for which the table is enough.
func byID() *dataplanev1.FetchRequest {
	return &dataplanev1.FetchRequest{Partitions: []*dataplanev1.FetchPartition{{Topic: &dataplanev1.FetchPartition_TopicId{TopicId: topicID.String()}}}}
}

// compactsByKey has the agent hear that the topic is compacted by key.
func (r *rig) compactsByKey() {
	r.table.Apply(&controlplanev1.Placement{Revision: 2, Topics: []*controlplanev1.PlacedTopic{{
		TopicId: topicID[:], Name: topicName, PartitionCount: 1, Revision: 2,
		Config: &controlplanev1.TopicConfig{CleanupPolicy: new(controlplanev1.CleanupPolicy_CLEANUP_POLICY_COMPACT)},
	}}})
}

// replaced puts an object with only the last record in the place of all that is there.
func (r *rig) replaced(all []partition.Committed) {
	r.t.Helper()
	c := all[0]
	kept := map[int64]bool{c.NextOffset - 1: true}
	left, records := retained(r.t, c.Batches[0], kept)
	if records != 1 {
		r.t.Fatalf("%d records are left", records)
	}
	c.ObjectKey, c.BytePosition, c.SizeBytes, c.CRC32C = "group/00/compacted", 0, int32(len(left)), objectstore.Checksum(left)
	if err := r.bucket.Put(context.Background(), c.ObjectKey, [][]byte{left}, c.CRC32C); err != nil {
		r.t.Fatal(err)
	}
	r.catalog.Replace(id(0), segmentOf(c))
}

// records that a fetch from the beginning answers.
func (r *rig) records() (n int32) {
	r.t.Helper()
	for batch, err := range recordbatch.Split(r.fetch(byID()).GetBatches()) {
		if err != nil {
			r.t.Fatal(err)
		}
		h, err := recordbatch.ParseHeader(batch)
		if err != nil {
			r.t.Fatal(err)
		}
		n += h.RecordCount
	}
	return n
}

// located counts the lookups that asked for segments.
func (r *rig) located() (n int) {
	for _, call := range r.catalog.Calls() {
		for _, q := range call.GetPartitions() {
			if q.GetPosition() != nil {
				n++
			}
		}
	}
	return n
}

// What compaction by key has replaced is read from memory for a while and not longer, however often somebody reads it, and nobody asks the catalog
// more than now and then.
func TestReplacedSegmentsAreReadForAWhileOnly(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, Config{}, func(t *testing.T, r *rig) {
		r.compactsByKey()
		all := r.write([][]rec{plain(10)}, 0)
		if n := r.records(); n != 10 {
			t.Fatalf("%d records", n)
		}
		r.replaced(all)
		began := time.Now()
		for r.records() != 1 {
			time.Sleep(second / 10)
			if time.Since(began) > 11*second {
				t.Fatal("the old segment is read after 11 s")
			}
		}
		for range 300 {
			time.Sleep(second / 10)
			if n := r.records(); n != 1 {
				t.Fatalf("%d records are back", n)
			}
		}
		if n := r.located(); n > 6 { // the first one, and one in ten seconds
			t.Errorf("the catalog was asked for segments %d times in 40 s", n)
		}
	})
}

// While the catalog is out of reach, what is known is read: it was committed.
func TestAgedSegmentsAreReadWithoutTheCatalog(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, Config{}, func(t *testing.T, r *rig) {
		r.compactsByKey()
		all := r.write([][]rec{plain(10)}, 0)
		r.records()
		r.replaced(all)
		r.catalog.Fail(errors.New("the catalog is away"))
		for range 30 {
			time.Sleep(second)
			if n := r.records(); n != 10 {
				t.Fatalf("%d records", n)
			}
		}
		r.catalog.Fail(nil)
		time.Sleep(2 * second) // until lookups are seen to work again
		if n := r.records(); n != 1 {
			t.Errorf("%d records, and the catalog answers again", n)
		}
	})
}

func TestOtherTopicsAreNotLocatedAgain(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, Config{}, func(t *testing.T, r *rig) {
		r.write([][]rec{plain(10)}, 0)
		for range 60 {
			if n := r.records(); n != 10 {
				t.Fatalf("%d records", n)
			}
			time.Sleep(second)
		}
		if n := r.located(); n != 1 {
			t.Errorf("the catalog was asked for segments %d times", n)
		}
	})
}

// While a catalog is halted nothing is given up, and what is known is read. Once it is adopted its offsets may have gone to other records: an agent that
// has heard of the halt, and not of its end, takes the catalog's word for them, or nothing.
func TestP2_WhatAnAdoptedCatalogGaveUpIsNotReadFromMemory(t *testing.T) {
	t.Parallel()
	var halted atomic.Bool
	inBubble(t, 1, Config{Halted: halted.Load}, func(t *testing.T, r *rig) {
		all := r.write([][]rec{plain(10)}, 0)
		if n := r.records(); n != 10 {
			t.Fatalf("%d records", n)
		}
		halted.Store(true)
		r.catalog.Fail(refusal.Error(refusal.New(refusalv1.Reason_REASON_CATALOG_HALTED, "halted")))
		if n := r.records(); n != 10 {
			t.Errorf("%d records are read while the catalog is halted", n)
		}
		r.catalog.Fail(errors.New("out of reach"))
		if got, err := r.Fetch(r.ctx, byID()); !refusal.Is(err, refusalv1.Reason_REASON_CATALOG_UNAVAILABLE) {
			t.Errorf("read while nobody knows whether the catalog was adopted: %v, %v", got, err)
		}
		r.catalog.Fail(nil)
		r.replaced(all)
		r.catalog.SetEpoch(id(0), 1<<23)
		if n := r.records(); n != 1 {
			t.Errorf("%d records are read from a catalog that was adopted with one", n)
		}
	})
}
