package records_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/client"
)

func conditionalAppend(ctx context.Context, t *testing.T, s *suite) {
	topic, sdk := s.create(ctx, t, "conditional", 1), s.Client(t)
	record := func(v string) *client.Record { return &client.Record{Value: []byte(v)} }
	if at, err := sdk.Append(ctx, topic, 0, 0, record("a"), record("b")); err != nil || at != 0 {
		t.Fatalf("stored at %d, %v", at, err)
	}
	for _, wrong := range []int64{0, 1, 3, 1 << 40} {
		_, err := sdk.Append(ctx, topic, 0, wrong, record("never"))
		e, ok := errors.AsType[*client.Error](err)
		if !ok || e.Reason != client.ReasonExpectedOffset || e.Written != client.SurelyNotWritten || e.Offsets == nil || e.Offsets.Next != 2 {
			t.Errorf("expecting %d: %v", wrong, err)
		}
	}
	if at, err := sdk.Append(ctx, topic, 0, 2, record("c")); err != nil || at != 2 {
		t.Errorf("stored at %d, %v", at, err)
	}
	if at, err := sdk.Append(ctx, topic, 0, client.AnyOffset, record("d")); err != nil || at != 3 {
		t.Errorf("stored at %d, %v", at, err)
	}
	if got := s.readFrom(ctx, t, topic, client.Beginning(), 4); got != "abcd" {
		t.Errorf("read %q", got)
	}
}

const (
	appenders = 8
	rounds    = 10
)

// racingAppenders has writers, spread over the agents, that all want the same next offset, again and again.
func racingAppenders(ctx context.Context, t *testing.T, s *suite) {
	topic := s.create(ctx, t, "racing", 1)
	writers := make([]*client.Client, appenders)
	for i := range writers {
		writers[i] = s.Client(t, client.WithAgents(s.Agents[i%len(s.Agents)].URL))
	}
	for round := range rounds {
		var racing sync.WaitGroup
		won := make(chan string, appenders)
		for i, sdk := range writers {
			racing.Go(func() {
				value := fmt.Sprintf("%d/%d", round, i)
				at, err := sdk.Append(ctx, topic, 0, int64(round), &client.Record{Value: []byte(value)})
				switch {
				case err == nil && at == int64(round):
					won <- value
				case !errors.Is(err, client.ReasonExpectedOffset) || client.WrittenBy(err) != client.SurelyNotWritten:
					t.Errorf("round %d: %d, %v", round, at, err)
				}
			})
		}
		racing.Wait()
		close(won)
		winners := make([]string, 0, appenders)
		for w := range won {
			winners = append(winners, w)
		}
		all := s.readAll(ctx, t, topic)
		if len(winners) != 1 || len(all) != round+1 || string(all[round].Value) != winners[0] {
			t.Fatalf("round %d: %v won, the topic has %d records", round, winners, len(all))
		}
	}
}

func bufferedAcks(ctx context.Context, t *testing.T, s *suite) {
	topic := s.create(ctx, t, "buffered", 1)
	r := s.user.Run(ctx, t, []byte("never\n"), "produce", topic, "--acks", "buffered")
	if r.Status != 1 || !strings.Contains(string(r.Stderr), "buffered") {
		t.Errorf("not allowed: %s", r)
	}
	producer, err := s.Client(t).NewProducer(client.WithAcks(client.AcksBuffered))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = producer.Close(ctx) }()
	err = producer.ProduceSync(ctx, &client.Record{Topic: topic, Value: []byte("never")})
	if !errors.Is(err, client.ReasonBufferedAcksNotAllowed) || client.WrittenBy(err) != client.SurelyNotWritten {
		t.Errorf("not allowed: %v", err)
	}
	s.admin.Must(ctx, t, "topic", "update", topic, "--allow-buffered-acks")
	s.awaitAllowed(ctx, t, topic)
	s.user.MustWith(ctx, t, []byte("a\n"), "produce", topic, "--acks", "buffered")
	record := &client.Record{Topic: topic, Value: []byte("b")}
	if err := producer.ProduceSync(ctx, record); err != nil || record.Offset != client.UnknownOffset {
		t.Errorf("stored at %d, %v", record.Offset, err)
	}
	if got := s.follow(ctx, t, topic, 2); got != "ab" {
		t.Errorf("read %q", got)
	}
}

// awaitAllowed waits until each agent knows that the topic allows buffered acks.
func (s *suite) awaitAllowed(ctx context.Context, t *testing.T, topic string) {
	t.Helper()
	for _, a := range s.Agents {
		sdk := s.Client(t, client.WithAgents(a.URL))
		for {
			m, err := sdk.Metadata(ctx, topic)
			if err == nil && m.Topics[0].AllowBufferedAcks {
				break
			}
			select {
			case <-ctx.Done():
				t.Fatalf("%s: %+v, %v", a.ID, m, err)
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
}

// follow waits for n records from the beginning on.
func (s *suite) follow(ctx context.Context, t *testing.T, topic string, n int) string {
	t.Helper()
	consumer, err := s.Client(t).NewConsumer(ctx, topic, client.From(client.Beginning()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = consumer.Close() }()
	var got string
	for r, err := range consumer.Records(ctx) {
		if err != nil {
			t.Fatalf("after %q: %v", got, err)
		}
		got += string(r.Value)
		if n--; n == 0 {
			break
		}
	}
	return got
}

const followed = 2000

// follower runs `consume --follow` on an agent that leads nothing of the topic's only partition, while another command produces.
func follower(ctx context.Context, t *testing.T, s *suite) {
	topic := s.create(ctx, t, "follower", 1)
	leases := s.AwaitLeaders(ctx, t, topic, func(l client.Lease) bool { return l.LeaderAgentID != "" })
	other := s.Agents[0]
	if other.ID == leases[0].LeaderAgentID {
		other = s.Agents[1]
	}
	following, stop := context.WithCancel(ctx)
	defer stop()
	cmd := s.user.Cmd(following, "consume", topic, "--from-beginning", "--follow", "--format", "json", "--agent", other.URL)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var input strings.Builder
	for i := range followed {
		fmt.Fprintf(&input, "%d\n", i)
	}
	s.user.MustWith(ctx, t, []byte(input.String()), "produce", topic, "--rate", "4000")
	lines := bufio.NewScanner(out)
	for i := 0; i < followed && lines.Scan(); i++ {
		var l line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil || l.Offset != int64(i) || l.Value == nil || *l.Value != fmt.Sprint(i) {
			t.Fatalf("line %d is %q (%v)", i, lines.Text(), err)
		}
	}
	stop() // as Ctrl-C
	if lines.Scan() {
		t.Errorf("one more line: %q", lines.Text())
	}
	if err := cmd.Wait(); err != nil && cmd.ProcessState.ExitCode() != 0 {
		t.Errorf("after Ctrl-C: %v", err)
	}
}
