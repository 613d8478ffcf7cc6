package agent_test

import (
	"slices"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/checkpoint"
	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

// described reads the description of a topic.
func (s *story) described(topic object.UUID) *controlplanev1.CheckpointTopic {
	s.t.Helper()
	pages, err := checkpoint.Load(s.t.Context(), s.Bucket, checkpoint.DescriptionKey("default", topic))
	if err != nil {
		s.t.Fatal(err)
	}
	if head := pages[0].GetHead(); head.GetNumber() != 0 || head.GetAgentGroup() != "default" {
		s.t.Errorf("head %v", head)
	}
	return pages[0].GetTopics()[0]
}

// While the description cannot be written the object lies in the bucket and is not committed; then both are, once.
func TestP9_NothingIsCommittedOfATopicThatTheBucketSaysNothingOf(t *testing.T) {
	tell(t, 3, func(s *story) {
		a := s.Start("a")
		s.leads(a, 0)
		s.leads(a, 1)
		before := s.Bucket.Puts()
		s.Bucket.Refuse("/topics/")
		stored := make(chan struct{})
		go func() {
			defer close(stored)
			s.store(a, 0, s.batch("x", 0, -1), 0)
		}()
		time.Sleep(3 * time.Second)
		if puts := s.Bucket.Puts() - before; puts != 1 || s.Control.Decided() != 0 {
			t.Fatalf("%d objects are in the bucket, %d are committed: want 1 and none", puts, s.Control.Decided())
		}
		s.Bucket.Refuse("")
		<-stored
		if got := s.described(s.topic); got.GetName() != "orders" || got.GetPartitionCount() != 3 || got.GetConfig().GetMaxRecordBytes() != 1<<20 {
			t.Errorf("described as %v", got)
		}
		s.store(a, 0, s.batch("y", 0, -1), 1)
		s.store(a, 1, s.batch("z", 0, -1), 0)
		if puts := s.Bucket.Descriptions(); len(puts) != 1 || puts[checkpoint.DescriptionKey("default", s.topic)] != 1 {
			t.Errorf("descriptions %v, want one, written once", puts)
		}
		if got := s.read(a, 0); !slices.Equal(got, []string{"x", "y"}) {
			t.Errorf("read %q", got)
		}
	})
}

// Two objects of a topic go up at once, and one of them brings the description; the other waits for it.
func TestP9_ObjectsInFlightShareADescription(t *testing.T) {
	tell(t, 2, func(s *story) {
		a := s.Start("a")
		s.leads(a, 0)
		s.leads(a, 1)
		before := s.Bucket.Puts()
		s.Bucket.Delay(500 * time.Millisecond)
		done := make(chan struct{}, 2)
		for p := range int32(2) {
			go func() {
				s.store(a, p, s.batch("x", 0, -1), 0)
				done <- struct{}{}
			}()
			time.Sleep(100 * time.Millisecond)
		}
		<-done
		<-done
		if puts := s.Bucket.Descriptions()[checkpoint.DescriptionKey("default", s.topic)]; puts != 1 || s.Bucket.Puts()-before != 2 {
			t.Errorf("%d objects and %d descriptions, want 2 and 1", s.Bucket.Puts()-before, puts)
		}
	})
}

// Whoever comes later finds the description there, and a topic of the same name is another topic.
func TestP9_AnotherAgentAndATopicMadeAgain(t *testing.T) {
	tell(t, 1, func(s *story) {
		a := s.Start("a")
		s.leads(a, 0)
		s.store(a, 0, s.batch("x", 0, -1), 0)
		a.Kill()
		b := s.Start("b")
		s.leads(b, 0)
		s.store(b, 0, s.batch("y", 0, -1), 1)
		first := s.topic
		s.Control.DeleteTopic(first)
		s.topic = s.Control.CreateTopic("orders", 1, nil)
		s.leads(b, 0)
		s.store(b, 0, s.batch("z", 0, -1), 0)
		puts := s.Bucket.Descriptions()
		if len(puts) != 2 || puts[checkpoint.DescriptionKey("default", first)] != 2 || puts[checkpoint.DescriptionKey("default", s.topic)] != 1 {
			t.Errorf("descriptions %v, want one of each topic, the first tried by both agents", puts)
		}
	})
}

// What a checkpoint has costs no PUT.
func TestP9_ATopicThatACheckpointHasIsNotDescribed(t *testing.T) {
	tell(t, 1, func(s *story) {
		s.Control.Record(s.topic)
		a := s.Start("a")
		s.leads(a, 0)
		s.store(a, 0, s.batch("x", 0, -1), 0)
		if puts := s.Bucket.Descriptions(); len(puts) != 0 {
			t.Errorf("descriptions %v", puts)
		}
	})
}
