package records_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/e2e/wire"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

func positions(ctx context.Context, t *testing.T, s *suite) {
	topic := s.create(ctx, t, "positions", 1)
	began := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	var records []*client.Record
	for i := range 10 {
		records = append(records, &client.Record{Value: []byte(fmt.Sprint(i)), Timestamp: began.Add(time.Duration(i) * time.Minute)})
	}
	s.produceAll(ctx, t, topic, records[:5])
	s.produceAll(ctx, t, topic, records[5:], client.WithBatchBytes(1<<10))
	for _, c := range []struct {
		args []string
		from client.Position
		want string
	}{
		{[]string{"--from-beginning"}, client.Beginning(), "0123456789"},
		{[]string{"--offset", "0"}, client.At(0), "0123456789"},
		{[]string{"--offset", "7"}, client.At(7), "789"},
		{[]string{"--offset", "10"}, client.At(10), ""},
		{nil, client.End(), ""},
		{[]string{"--at", "2026-01-31T12:03:00Z"}, client.AtTime(began.Add(3 * time.Minute)), "3456789"},
		{[]string{"--at", "2026-01-31T12:03:00.001Z"}, client.AtTime(began.Add(3*time.Minute + time.Millisecond)), "456789"},
		{[]string{"--at", "2025-01-01T00:00:00Z"}, client.AtTime(began.AddDate(-1, 0, 0)), "0123456789"},
		{[]string{"--at", "2026-01-31T12:09:00.001Z"}, client.AtTime(began.Add(time.Hour)), ""},
		{[]string{"--from-beginning", "--max", "3"}, client.Beginning(), "012"},
	} {
		args := append([]string{"consume", topic, "--format", "{{.Value}}"}, c.args...)
		if got := joined(s.user.Must(ctx, t, args...)); got != c.want {
			t.Errorf("%v printed %q, not %q", args, got, c.want)
		}
		if got := s.readFrom(ctx, t, topic, c.from, len(c.want)); got != c.want {
			t.Errorf("the SDK read %q, not %q, from where %v begins", got, c.want, c.args)
		}
	}
	if r := s.user.Run(ctx, t, nil, "consume", topic, "--offset", "11"); r.Status != 1 {
		t.Errorf("past the end: %s", r)
	}
}

// joined drops line feeds.
func joined(lines []byte) string {
	var s []byte
	for _, b := range lines {
		if b != '\n' {
			s = append(s, b)
		}
	}
	return string(s)
}

func (s *suite) readFrom(ctx context.Context, t *testing.T, topic string, from client.Position, most int) string {
	t.Helper()
	consumer, err := s.Client(t).NewConsumer(ctx, topic, client.From(from), client.UntilEnd())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = consumer.Close() }()
	var got string
	for r, err := range consumer.Records(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if got += string(r.Value); len(got) == most {
			break
		}
	}
	return got
}

// recreated deletes a topic that every agent has in its cache, and makes it anew with fewer partitions.
func recreated(ctx context.Context, t *testing.T, s *suite) {
	topic := s.create(ctx, t, "recreated", 3)
	s.store(ctx, t, topic, "old 0", "old 1", "old 2")
	for i := range s.Agents {
		if got := s.raw(i).ReadLog(ctx, t, topic); len(got) != 3 {
			t.Fatalf("%s reads %v", s.Agents[i].ID, got)
		}
	}
	old, _, err := s.Admin(t).DescribeTopic(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	s.admin.Must(ctx, t, "topic", "delete", topic)
	s.admin.Must(ctx, t, "topic", "create", topic, "--partitions", "1")
	for i := range s.Agents { // at once: nobody has waited for their caches
		s.expectNew(ctx, t, i, topic, old.ID)
	}
	if got := s.user.Must(ctx, t, "consume", topic, "--from-beginning"); len(got) > 0 {
		t.Errorf("consume printed %q", got)
	}
	s.produceAll(ctx, t, topic, []*client.Record{{Value: []byte("new 0")}, {Value: []byte("new 1")}})
	for i := range s.Agents {
		got := s.raw(i).ReadLog(ctx, t, topic)
		if len(got) != 2 || got[0].Offset != 0 || got[0].ID != "new 0" || got[1].ID != "new 1" {
			t.Errorf("%s reads %v", s.Agents[i].ID, got)
		}
	}
}

// expectNew expects an agent to know the new topic by its name, empty, and nothing by the old one's id.
func (s *suite) expectNew(ctx context.Context, t *testing.T, agent int, topic, oldID string) {
	t.Helper()
	who := s.Agents[agent].ID
	if f := s.fetch(ctx, t, agent, topic, 0, true); len(f.GetRecords()) > 0 || f.GetHighWatermark() != 0 || f.GetTopicId() == oldID {
		t.Errorf("%s: the new topic has %v", who, f)
	}
	if ends, err := s.raw(agent).Ends(ctx, topic, 1); err != nil || ends[0] != 0 {
		t.Errorf("%s: the new topic ends at %v (%v)", who, ends, err)
	}
	for _, gone := range []*dataplanev1.FetchPartition{
		{Topic: &dataplanev1.FetchPartition_TopicId{TopicId: oldID}},
		{Topic: &dataplanev1.FetchPartition_TopicName{TopicName: topic}, Partition: 2},
	} {
		_, err := s.raw(agent).Fetch(ctx, &dataplanev1.FetchRequest{Partitions: []*dataplanev1.FetchPartition{gone}})
		want := refusalv1.Reason_REASON_UNKNOWN_TOPIC
		if gone.GetTopicId() == "" {
			want = refusalv1.Reason_REASON_UNKNOWN_PARTITION
		}
		if got := wire.Refusal(err); got.GetReason() != want {
			t.Errorf("%s: %v answers %v, not %v", who, gone, err, want)
		}
	}
}

// insist repeats a record while the producer says that its topic is gone, as one does who has deleted it a moment ago: a producer learns of the new
// topic by being refused, surely not written, at the old one.
func insist(ctx context.Context, producer *client.Producer, r *client.Record) error {
	for {
		again := &client.Record{Topic: r.Topic, Value: r.Value}
		err := producer.ProduceSync(ctx, again)
		r.Offset = again.Offset
		if !errors.Is(err, client.ReasonUnknownTopic) || client.WrittenBy(err) != client.SurelyNotWritten {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// recreatedOften keeps one SDK client, with its own memory, across topics of one name.
func recreatedOften(ctx context.Context, t *testing.T, s *suite) {
	sdk, admin := s.Client(t), s.Admin(t)
	producer, err := sdk.NewProducer(client.WithLinger(0))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = producer.Close(ctx) }()
	for round := range 5 {
		if _, err := admin.CreateTopic(ctx, client.NewTopic{Name: "often", PartitionCount: 1}); err != nil {
			t.Fatal(err)
		}
		r := &client.Record{Topic: "often", Value: []byte(fmt.Sprint(round))}
		if err := insist(ctx, producer, r); err != nil || r.Offset != 0 {
			t.Errorf("round %d: stored at %d, %v", round, r.Offset, err)
		}
		if got := s.readAll(ctx, t, "often"); len(got) != 1 || string(got[0].Value) != fmt.Sprint(round) {
			t.Errorf("round %d: read %d records", round, len(got))
		}
		if _, err := admin.DeleteTopic(ctx, "often"); err != nil {
			t.Fatal(err)
		}
	}
	_, err = sdk.NewConsumer(ctx, "often")
	if !errors.Is(err, client.ReasonUnknownTopic) {
		t.Errorf("a deleted topic: %v", err)
	}
}
