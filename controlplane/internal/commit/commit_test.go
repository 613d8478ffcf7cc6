package commit

import (
	"fmt"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/producer"
)

const green = "green"

func TestCheckKey(t *testing.T) {
	t.Parallel()
	session := uuid.New()
	for key, want := range map[string]bool{
		fmt.Sprintf("green/0a/0-%s-1", session):                      true,
		fmt.Sprintf("green/ff/255-%s-18446744073709551615", session): true,
		fmt.Sprintf("green/ff/256-%s-1", session):                    false,
		fmt.Sprintf("green/ff/0-%s-1", uuid.New()):                   false,
		fmt.Sprintf("blue/ff/0-%s-1", session):                       false,
		fmt.Sprintf("greener/ff/0-%s-1", session):                    false,
		fmt.Sprintf("green/f/0-%s-1", session):                       false,
		fmt.Sprintf("green/ff/0-%s-1/x", session):                    false,
		fmt.Sprintf("green/ff/0-%s-1\n", session):                    false,
		"green/": false,
		"":       false,
	} {
		if CheckKey(green, session, key) != want {
			t.Errorf("%q: want %v", key, want)
		}
	}
}

// Random entries against random catalogs: whatever is accepted keeps P2, P3, P5 and P7, whatever fails changes nothing.
func TestDecide_KeepsThePromises(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		me := uuid.New()
		catalog := drawCatalog(t, me)
		objects := drawObjects(t, catalog)
		plan := Decide(green, me, objects, catalog)
		checkPlan(t, me, objects, catalog, plan)
	})
}

var topics = []uuid.UUID{{1}, {2}, {3}}

func drawCatalog(t *rapid.T, me uuid.UUID) Catalog {
	catalog := Catalog{Partitions: map[PartitionKey]Partition{}, Producers: map[ProducerKey]producer.State{}}
	for i, topic := range topics[:2] { // the third does not exist
		for number := range int32(3) {
			p := Partition{
				ID: int64(10*i) + int64(number), AgentGroup: green, Deleted: rapid.IntRange(0, 9).Draw(t, "deleted") == 0,
				Epoch: rapid.Int32Range(1, 2).Draw(t, "epoch"), Leader: me, HighWatermark: rapid.Int64Range(0, 2).Draw(t, "high watermark"),
			}
			switch rapid.IntRange(0, 9).Draw(t, "kind") {
			case 0:
				p.AgentGroup = "blue"
			case 1:
				p.Leader = uuid.New()
			}
			catalog.Partitions[PartitionKey{topic, number}] = p
			if rapid.Bool().Draw(t, "known producer") {
				catalog.Producers[ProducerKey{p.ID, 1}] = producer.State{Epoch: 1, Batches: []producer.Batch{{RecordCount: 1}}}
			}
		}
	}
	return catalog
}

func drawObjects(t *rapid.T, catalog Catalog) (objects []*controlplanev1.ObjectCommit) {
	for i := range rapid.IntRange(1, 4).Draw(t, "objects") {
		object := &controlplanev1.ObjectCommit{Key: fmt.Sprint(i)}
		for _, topic := range topics {
			for number := range int32(3) {
				if !rapid.Bool().Draw(t, "has segment") {
					continue
				}
				s := &controlplanev1.SegmentCommit{
					TopicId: topic[:], Partition: number, Epoch: rapid.Int32Range(1, 2).Draw(t, "epoch"),
					BaseOffset: catalog.Partitions[PartitionKey{topic, number}].HighWatermark + rapid.Int64Range(0, 2).Draw(t, "ahead"), RecordCount: 1,
				}
				if rapid.Bool().Draw(t, "idempotent") {
					s.ProducerBatches = []*controlplanev1.ProducerBatch{{
						ProducerId: 1, ProducerEpoch: rapid.Int32Range(0, 2).Draw(t, "producer epoch"),
						BaseSequence: rapid.Int32Range(0, 2).Draw(t, "sequence"), RecordCount: 1, BaseOffset: s.BaseOffset,
					}}
				}
				object.Segments = append(object.Segments, s)
			}
		}
		objects = append(objects, object)
	}
	return objects
}

func checkPlan(t *rapid.T, me uuid.UUID, objects []*controlplanev1.ObjectCommit, catalog Catalog, plan Plan) {
	highWatermarks := map[int64]int64{}
	accepted := 0
	for i, object := range objects {
		for j, s := range object.GetSegments() {
			out := plan.Outcomes[i].GetSegments()[j]
			p, found := catalog.Partitions[PartitionKey{uuid.UUID(s.GetTopicId()), s.GetPartition()}]
			if out.GetResult() != controlplanev1.SegmentResult_SEGMENT_RESULT_COMMITTED {
				continue
			}
			if !found || p.Deleted || p.AgentGroup != green || p.Leader != me || p.Epoch != s.GetEpoch() {
				t.Fatalf("P3, P7: accepted %v of %+v", s, p)
			}
			if _, moved := highWatermarks[p.ID]; !moved {
				highWatermarks[p.ID] = p.HighWatermark
			}
			if s.GetBaseOffset() != highWatermarks[p.ID] {
				t.Fatalf("P2: accepted %v at %d", s, highWatermarks[p.ID])
			}
			highWatermarks[p.ID] += int64(s.GetRecordCount())
			if out.GetHighWatermark() != highWatermarks[p.ID] {
				t.Fatalf("outcome %v, high watermark %d", out, highWatermarks[p.ID])
			}
			if got := plan.Segments[accepted]; got.Entry != s || got.Object != i || got.PartitionID != p.ID {
				t.Fatalf("segment %d is %v, want %v", accepted, got, s)
			}
			accepted++
		}
	}
	if len(plan.Segments) != accepted || len(plan.Advances) != len(highWatermarks) {
		t.Fatalf("%d segments and %d advances, want %d and %d", len(plan.Segments), len(plan.Advances), accepted, len(highWatermarks))
	}
	for _, a := range plan.Advances {
		if a.New != highWatermarks[a.PartitionID] || a.New <= a.Old {
			t.Fatalf("advance %+v, want %d", a, highWatermarks[a.PartitionID])
		}
	}
	checkProducers(t, catalog, plan)
}

// checkProducers replays the accepted batches: the states in the plan are what follows from them, and there are no others.
func checkProducers(t *rapid.T, catalog Catalog, plan Plan) {
	replayed := map[ProducerKey]producer.State{}
	for _, s := range plan.Segments {
		for _, b := range s.Entry.GetProducerBatches() {
			key := ProducerKey{s.PartitionID, b.GetProducerId()}
			state, seen := replayed[key]
			if !seen {
				state = catalog.Producers[key]
			}
			next, verdict := state.Follow(int16(b.GetProducerEpoch()), producer.Batch{BaseSequence: b.GetBaseSequence(), RecordCount: 1, BaseOffset: b.GetBaseOffset()})
			if verdict != producer.Follows {
				t.Fatalf("P5: accepted %v after %v", b, state)
			}
			replayed[key] = next
		}
	}
	if fmt.Sprint(replayed) != fmt.Sprint(plan.Producers) {
		t.Fatalf("producers %v, want %v", plan.Producers, replayed)
	}
}
