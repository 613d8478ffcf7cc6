package commit

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
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

// AssumeWhole against Decide: where the catalog is as a request takes it to be, both say and change the same; and where Decide accepts
// everything, the request is whole.
func TestAssumeWhole_AgreesWithDecide(t *testing.T) {
	t.Parallel()
	wholes := 0
	check := func(t *rapid.T) {
		me := uuid.New()
		catalog := drawCatalog(t, me)
		objects := drawObjects(t, catalog)
		if rapid.Bool().Draw(t, "likely") {
			objects = drawLikelyObjects(t, me, catalog)
		}
		plan := Decide(green, me, objects, catalog)
		accepted := true
		for _, outcome := range plan.Outcomes {
			for _, s := range outcome.GetSegments() {
				accepted = accepted && s.GetResult() == controlplanev1.SegmentResult_SEGMENT_RESULT_COMMITTED
			}
		}
		whole, possible := AssumeWhole(objects)
		if whole = confirm(whole, me, catalog); accepted != (possible && whole != nil) {
			t.Fatalf("Decide accepts everything: %v; AssumeWhole: %v, and the catalog is as it assumes: %v", accepted, possible, whole != nil)
		}
		if accepted {
			wholes += len(plan.Segments)
			compareWithPlan(t, whole, plan, objects, catalog)
		}
	}
	for range 20 { // a hundred are soon done
		rapid.Check(t, check)
	}
	if wholes == 0 {
		t.Fatal("nothing was tried")
	}
}

// drawLikelyObjects makes objects whose entries all succeed, but for one mistake now and then.
func drawLikelyObjects(t *rapid.T, me uuid.UUID, catalog Catalog) (objects []*controlplanev1.ObjectCommit) {
	highWatermarks, sequences := map[PartitionKey]int64{}, map[PartitionKey]int32{}
	for i := range rapid.IntRange(1, 3).Draw(t, "objects") {
		object := &controlplanev1.ObjectCommit{Key: fmt.Sprint(i)}
		for _, topic := range topics[:2] {
			for number := range int32(3) {
				key := PartitionKey{topic, number}
				p := catalog.Partitions[key]
				mistake := rapid.IntRange(0, 60).Draw(t, "mistake")
				if p.Deleted || p.AgentGroup != green || p.Leader != me || rapid.Bool().Draw(t, "left out") {
					if mistake > 0 {
						continue
					}
				}
				s := &controlplanev1.SegmentCommit{
					TopicId: topic[:], Partition: number, Epoch: p.Epoch, BaseOffset: p.HighWatermark + highWatermarks[key], RecordCount: 2,
				}
				for producerID := range int64(rapid.IntRange(0, 2).Draw(t, "batches")) { // the first is known, perhaps, in epoch 1
					b := &controlplanev1.ProducerBatch{ProducerId: 2 + producerID, BaseSequence: sequences[key], RecordCount: 1, BaseOffset: s.BaseOffset}
					if producerID > 0 {
						b.ProducerId, b.ProducerEpoch, b.BaseOffset = 1, 2, s.BaseOffset+1
						b.BaseSequence = max(0, sequences[key]-int32(i))
					}
					s.ProducerBatches = append(s.ProducerBatches, b)
				}
				switch mistake {
				case 1:
					s.BaseOffset++
				case 2:
					s.Epoch++
				}
				if len(s.GetProducerBatches()) > 0 {
					sequences[key]++
				}
				highWatermarks[key] += 2
				object.Segments = append(object.Segments, s)
			}
		}
		objects = append(objects, object)
	}
	return objects
}

// confirm does what the store does in SQL: nil unless the catalog is as the request takes it to be.
func confirm(whole *Whole, me uuid.UUID, catalog Catalog) *Whole {
	if whole == nil {
		return nil
	}
	for _, m := range whole.Moves {
		p, found := catalog.Partitions[PartitionKey{whole.Topics[m.Topic], m.Partition}]
		if !found || p.Deleted || p.AgentGroup != green || p.Leader != me || p.Epoch != m.Epoch || p.HighWatermark != m.Old {
			return nil
		}
	}
	if producers := known(whole, catalog); !whole.Follow(idsOf(whole, catalog), producers) {
		return nil
	}
	return whole
}

func idsOf(whole *Whole, catalog Catalog) (ids []int64) {
	for _, m := range whole.Moves {
		ids = append(ids, catalog.Partitions[PartitionKey{whole.Topics[m.Topic], m.Partition}].ID)
	}
	return ids
}

func known(whole *Whole, catalog Catalog) *Producers {
	producers := whole.Producers(idsOf(whole, catalog))
	for _, p := range producers.States {
		if state, found := catalog.Producers[p.ProducerKey]; found {
			producers.Know(p.ProducerKey, state)
		}
	}
	return producers
}

func compareWithPlan(t *rapid.T, whole *Whole, plan Plan, objects []*controlplanev1.ObjectCommit, catalog Catalog) {
	ids := idsOf(whole, catalog)
	for i, outcome := range WholeOutcomes(objects) {
		if !proto.Equal(outcome, plan.Outcomes[i]) {
			t.Fatalf("outcome %v, want %v", outcome, plan.Outcomes[i])
		}
	}
	advances, segments := map[Advance]bool{}, map[Segment]bool{}
	for _, a := range plan.Advances {
		advances[a] = true
	}
	for i, m := range whole.Moves {
		if !advances[Advance{ids[i], m.Epoch, m.Old, m.New}] {
			t.Fatalf("move %+v is not among %+v", m, plan.Advances)
		}
	}
	for _, s := range plan.Segments {
		segments[s] = true
	}
	for _, s := range whole.Segments {
		if !segments[Segment{ids[s.Move], s.Object, s.Entry}] {
			t.Fatalf("segment %+v is not among %+v", s, plan.Segments)
		}
	}
	producers := known(whole, catalog)
	whole.Follow(ids, producers)
	if len(whole.Moves) != len(plan.Advances) || len(whole.Segments) != len(plan.Segments) || len(producers.States) != len(plan.Producers) {
		t.Fatalf("%+v and %+v, want %+v", whole, producers, plan)
	}
	for _, p := range producers.States {
		if _, before := catalog.Producers[p.ProducerKey]; p.Known != before || !reflect.DeepEqual(p.State, plan.Producers[p.ProducerKey]) {
			t.Fatalf("producer %+v, want %+v", p, plan.Producers[p.ProducerKey])
		}
	}
}
