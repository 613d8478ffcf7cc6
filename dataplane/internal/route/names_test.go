package route_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/route"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

// slowNames answers after a second what was true when the call began.
type slowNames struct {
	mu    sync.Mutex // guards all
	topic *controlplanev1.PlacedTopic
	calls int
	err   error
}

func (s *slowNames) set(topic *controlplanev1.PlacedTopic, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.topic, s.err = topic, err
}

func (s *slowNames) ResolveTopics(ctx context.Context, _ *controlplanev1.ResolveTopicsRequest) (*controlplanev1.ResolveTopicsResponse, error) {
	s.mu.Lock()
	s.calls++
	res, err := &controlplanev1.ResolveTopicsResponse{}, s.err
	if s.topic != nil {
		res.Topics = append(res.Topics, s.topic)
	}
	s.mu.Unlock()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(time.Second):
		return res, err
	}
}

func placedNamed(id byte, revision int64) *controlplanev1.PlacedTopic {
	return &controlplanev1.PlacedTopic{TopicId: append(make([]byte, 15), id), Name: "orders", PartitionCount: 1, Revision: revision}
}

// A topic is deleted and another takes its name while the table has not heard of it, and while a call that saw the old one is under way.
func TestANameIsAskedForByACallThatStartsLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		catalog := &slowNames{topic: placedNamed(1, 1)}
		table := route.New("a", catalog)
		table.Apply(&controlplanev1.Placement{Revision: 1, Topics: []*controlplanev1.PlacedTopic{placedNamed(1, 1)}})
		var running sync.WaitGroup
		running.Go(func() { _, _ = table.ResolveTopic(t.Context(), "orders", "") })
		time.Sleep(500 * time.Millisecond) // that call is under way
		catalog.set(placedNamed(2, 3), nil)
		for range 50 {
			running.Go(func() {
				topic, err := table.ResolveTopic(t.Context(), "orders", "")
				if err != nil || topic.ID[15] != 2 {
					t.Errorf("orders is %v (%v)", topic.ID, err)
				}
			})
		}
		running.Wait()
		if catalog.calls > 3 {
			t.Errorf("%d calls for 51 askers", catalog.calls)
		}
	})
}

// Whoever has heard of the new topic knows that the old one is gone, and does not take its name back from an old page.
func TestANewTopicOfTheNameEndsTheOldOne(t *testing.T) {
	t.Parallel()
	table := route.New("a", &slowNames{})
	for _, topic := range []*controlplanev1.PlacedTopic{placedNamed(1, 1), placedNamed(2, 3), placedNamed(1, 1)} {
		table.Apply(&controlplanev1.Placement{Revision: topic.GetRevision(), Topics: []*controlplanev1.PlacedTopic{topic}})
	}
	if _, ok := table.ByID(object.UUID{15: 1}); ok || !table.Deleted(object.UUID{15: 1}) {
		t.Error("the old topic is still there")
	}
	if _, ok := table.ByID(object.UUID{15: 2}); !ok {
		t.Error("the new topic is not there")
	}
}

func TestANameOfADeletedTopicIsUnknownAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		table := route.New("a", &slowNames{})
		table.Apply(&controlplanev1.Placement{Revision: 1, Topics: []*controlplanev1.PlacedTopic{placedNamed(1, 1)}})
		_, err := table.ResolveTopic(t.Context(), "orders", "")
		if !refusal.Is(err, refusalv1.Reason_REASON_UNKNOWN_TOPIC) {
			t.Errorf("orders: %v", err)
		}
	})
}

// While the control plane is out of reach names are answered from memory, and one that is not there is no verdict.
func TestNamesWithoutAControlPlane(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		table := route.New("a", &slowNames{err: errors.New("out of reach")})
		table.Apply(&controlplanev1.Placement{Revision: 1, Topics: []*controlplanev1.PlacedTopic{placedNamed(1, 1)}})
		if topic, err := table.ResolveTopic(t.Context(), "orders", ""); err != nil || topic.ID[15] != 1 {
			t.Errorf("orders: %v, %v", topic, err)
		}
		if _, err := table.ResolveTopic(t.Context(), "other", ""); !refusal.Is(err, refusalv1.Reason_REASON_CATALOG_UNAVAILABLE) {
			t.Errorf("other: %v", err)
		}
	})
}

// The asker who makes a shared call hangs up: the others ask again.
func TestAnAskerWhoHangsUpSpoilsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		table := route.New("a", &slowNames{topic: placedNamed(1, 1)})
		var all sync.WaitGroup
		for i := range 20 { // two calls may be under way: later askers share a round that waits for a slot
			ctx, cancel := context.WithCancel(t.Context())
			all.Go(func() {
				defer cancel()
				_, err := table.ResolveTopic(ctx, "orders", "")
				if i%2 == 1 && err != nil {
					t.Errorf("asker %d: %v", i, err)
				}
			})
			synctest.Wait()
			if i%2 == 0 {
				time.AfterFunc(100*time.Millisecond, cancel)
			}
		}
		all.Wait()
	})
}
