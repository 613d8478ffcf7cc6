// Package keycompact_test compacts a topic by key with real processes: what consumers see before, during and after, agents that are killed at it,
// and tombstones that go.
package keycompact_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/e2e/cluster"
	"github.com/streamhouse/streamhouse/e2e/command"
)

const (
	topic       = "profiles"
	keys        = 40
	testTimeout = 8 * time.Minute
	lastKey     = "the last" // of the last record that a story writes
)

// written is the newest record of a key.
type written struct {
	offset int64
	value  []byte // nil: a tombstone
}

// story is a cluster with a topic of one partition, and what was acknowledged.
type story struct {
	*testing.T
	ctx      context.Context // a story is one bounded piece of work
	cluster  *cluster.Cluster
	sdk      *client.Client
	producer *client.Producer
	newest   map[string]written
	content  map[int64]string // of every offset that was acknowledged
	n        int
}

func begin(t *testing.T, config client.TopicConfig, controlPlane ...string) *story {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	t.Cleanup(cancel)
	c := cluster.Start(t, cluster.Options{
		Zones: []string{"az-a"}, AgentsPerZone: 2, SuspectAfter: 2 * time.Second, AgentArgs: []string{"--job-interval", "100ms"},
		ControlPlaneArgs: append(controlPlane, "--key-compaction-interval", "300ms", "--key-compaction-min-age", "200ms"),
	})
	config.CleanupPolicy = new(client.CleanupCompact)
	c.CreateTopic(ctx, t, topic, 1, config)
	s := &story{T: t, ctx: ctx, cluster: c, newest: map[string]written{}, content: map[int64]string{}}
	s.connect()
	return s
}

// connect is with the keys that the cluster has now.
func (s *story) connect() {
	s.Helper()
	s.sdk = s.cluster.Client(s)
	producer, err := s.sdk.NewProducer()
	if err != nil {
		s.Fatal(err)
	}
	s.producer = producer
	s.Cleanup(func() { _ = producer.Close(context.WithoutCancel(s.ctx)) })
}

func text(key string, value []byte) string {
	if value == nil {
		return key + " is gone"
	}
	return key + "=" + string(value)
}

// write stores some records of random keys, a fifth of them tombstones.
func (s *story) write(n int) {
	s.Helper()
	for range n {
		var value []byte
		if rand.IntN(5) > 0 {
			value = fmt.Appendf(nil, "value %d %s", s.n, bytes.Repeat([]byte("x"), 100))
		}
		s.n++
		s.put(fmt.Sprintf("key-%d", rand.IntN(keys)), value)
	}
}

func (s *story) put(key string, value []byte) {
	s.Helper()
	r := &client.Record{Topic: topic, Key: []byte(key), Value: value}
	if err := s.producer.ProduceSync(s.ctx, r); err != nil {
		s.Fatalf("produce: %v", err)
	}
	s.newest[key] = written{r.Offset, value}
	if other, twice := s.content[r.Offset]; twice {
		s.Fatalf("offset %d was given twice, to %q and %q", r.Offset, other, text(key, value))
	}
	s.content[r.Offset] = text(key, value)
}

// all reads the topic from its beginning to its end, and holds each record against what was acknowledged.
func (s *story) all() (found map[string]written, records int) {
	s.Helper()
	k, err := s.sdk.NewConsumer(s.ctx, topic, client.From(client.Beginning()), client.UntilEnd())
	if err != nil {
		s.Fatal(err)
	}
	defer k.Close()
	found = map[string]written{}
	last := int64(-1)
	for {
		rs, err := k.Poll(s.ctx)
		if errors.Is(err, io.EOF) {
			return found, records
		}
		if err != nil {
			s.Fatal(err)
		}
		for _, r := range rs {
			if r.Offset <= last || s.content[r.Offset] != text(string(r.Key), r.Value) {
				s.Fatalf("offset %d after %d: %q, acknowledged was %q", r.Offset, last, text(string(r.Key), r.Value), s.content[r.Offset])
			}
			last = r.Offset
			found[string(r.Key)] = written{r.Offset, r.Value}
			records++
		}
	}
}

// check expects each key's newest record where it was acknowledged; a tombstone may be gone, with everything of its key.
func (s *story) check(found map[string]written) {
	s.Helper()
	for key, want := range s.newest {
		got, there := found[key]
		if !there && want.value == nil {
			continue
		}
		if got.offset != want.offset || !bytes.Equal(got.value, want.value) {
			s.Errorf("%s is %q at %d, acknowledged was %q at %d", key, got.value, got.offset, want.value, want.offset)
		}
	}
}

// until waits for a condition on what is read.
func (s *story) until(what string, done func(found map[string]written, records int) bool) {
	s.Helper()
	for {
		found, records := s.all()
		s.check(found)
		if s.Failed() {
			s.FailNow()
		}
		if done(found, records) {
			return
		}
		select {
		case <-s.ctx.Done():
			s.Fatalf("%s: not within the time; %d records of %d keys are left of %d", what, records, len(found), len(s.content))
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// tail reads what comes, all the time, until it has seen the last record and nothing more comes: offsets rise, and what is read is what was acknowledged. It
// answers the newest record of each key.
func (s *story) tail() <-chan map[string]written {
	s.Helper()
	k, err := s.sdk.NewConsumer(s.ctx, topic, client.From(client.Beginning()))
	if err != nil {
		s.Fatal(err)
	}
	answer := make(chan map[string]written, 1)
	var reading sync.WaitGroup
	all, cancel := context.WithCancel(s.ctx)
	s.Cleanup(func() { cancel(); reading.Wait() })
	reading.Go(func() {
		defer k.Close()
		found, last := map[string]written{}, int64(-1)
		for {
			ctx, cancel := context.WithTimeout(all, time.Second)
			rs, err := k.Poll(ctx)
			cancel()
			for _, r := range rs {
				if r.Offset <= last {
					s.Errorf("the tail saw %d after %d", r.Offset, last)
				}
				last = r.Offset
				found[string(r.Key)] = written{r.Offset, r.Value}
			}
			if err == nil {
				continue
			}
			if e, ok := errors.AsType[*client.Error](err); !ok || e.Reason != client.ReasonCanceled || all.Err() != nil {
				s.Errorf("the tail ended: %v", err)
				answer <- found
				return
			}
			if _, seen := found[lastKey]; seen { // and nothing came for a second
				answer <- found
				return
			}
		}
	})
	return answer
}

// Of each key the newest record is read at its offset, whenever one begins to read, while agents that do the work are killed and the topic is
// written to; a reader at the tail sees every record of the end; in the end little more than a record a key is left.
func TestP1_TheNewestRecordOfEachKeyStays(t *testing.T) {
	t.Parallel()
	s := begin(t, client.TopicConfig{})
	seen := s.tail()
	for round := range 6 {
		s.write(150)
		found, _ := s.all()
		s.check(found)
		if round == 2 || round == 4 {
			killed := s.cluster.Agents[round/2-1]
			killed.Kill()
			s.write(20)
			killed.Start(s.ctx, t)
		}
	}
	s.until("compaction", func(_ map[string]written, records int) bool { return records <= 3*keys })
	s.put(lastKey, []byte("one"))
	s.check(<-seen)
	if err := s.producer.ProduceSync(s.ctx, &client.Record{Topic: topic, Value: []byte("no key")}); !errors.Is(err, client.ReasonInvalid) {
		t.Errorf("a record without a key: %v", err)
	}
	s.ends()
}

// ends runs the command, which ends where the topic does.
func (s *story) ends() {
	s.Helper()
	_, records := s.all()
	c := command.Of(s, s.cluster, s.cluster.ClientKey)
	result := c.Run(s.ctx, s, nil, "consume", topic, "--from-beginning", "--format", "json")
	if result.Status != 0 {
		s.Fatalf("consume: status %d, %s", result.Status, result.Stderr)
	}
	lines := bytes.Split(bytes.TrimSpace(result.Stdout), []byte("\n"))
	if len(lines) > records || len(lines) < len(s.newest)/2 {
		s.Errorf("the command printed %d records, %d are there", len(lines), records)
	}
	for _, line := range lines {
		var r struct {
			Offset int64   `json:"offset"`
			Key    string  `json:"key"`
			Value  *string `json:"value"`
		}
		if err := json.Unmarshal(line, &r); err != nil {
			s.Fatalf("%s: %v", line, err)
		}
		var value []byte
		if r.Value != nil {
			value = []byte(*r.Value)
		}
		if got := text(r.Key, value); got != s.content[r.Offset] {
			s.Errorf("the command printed %q at %d, acknowledged was %q", got, r.Offset, s.content[r.Offset])
		}
	}
}

// forgetful is a story in which half of the keys have been deleted, and their tombstones are gone.
func forgetful(t *testing.T) *story {
	t.Helper()
	s := begin(t, client.TopicConfig{DeleteRetention: new(time.Second)}, "--deletion-grace", "1s", "--checkpoint-interval", "1s")
	s.write(200)
	for i := range keys / 2 {
		s.put(fmt.Sprintf("key-%d", i), nil)
	}
	s.put(lastKey, []byte("one")) // the newest record of a partition stays in any case
	s.until("tombstones", func(found map[string]written, _ int) bool {
		for i := range keys / 2 {
			if _, there := found[fmt.Sprintf("key-%d", i)]; there {
				return false
			}
		}
		return true
	})
	return s
}

// What was deleted goes, with its tombstone, and nothing older of it comes back.
func TestTombstonesGoAndNothingComesBack(t *testing.T) {
	t.Parallel()
	s := forgetful(t)
	for range 5 { // further passes over what is left
		for range 40 {
			s.put(fmt.Sprintf("key-%d", keys/2+rand.IntN(keys/2)), []byte("later"))
		}
		s.nothingIsBack()
	}
}

// nothingIsBack reads everything, and finds nothing of what was deleted.
func (s *story) nothingIsBack() {
	s.Helper()
	found, _ := s.all()
	s.check(found)
	for i := range keys / 2 {
		if back, there := found[fmt.Sprintf("key-%d", i)]; there {
			s.Errorf("key-%d is back at %d: %q", i, back.offset, back.value)
		}
	}
}

// A catalog that is made of the bucket has what was left of every key, and what was deleted does not come back with it. Compaction begins anew.
func TestP9_ACompactedTopicComesBackAsItWas(t *testing.T) {
	t.Parallel()
	s := forgetful(t)
	_ = s.producer.Close(s.ctx)
	s.losesDatabase()
	operator := command.Of(s, s.cluster, s.cluster.AdminKey)
	if r := operator.Run(s.ctx, t, nil, "recover", "--bucket", s.cluster.S3.Bucket); r.Status != 0 {
		t.Fatalf("recover: %s", r)
	}
	s.cluster.AwaitLeaders(s.ctx, t, topic, func(l client.Lease) bool { return l.LeaderAgentID != "" })
	s.connect()
	s.nothingIsBack()
	for range 4 {
		for range 40 {
			s.put(fmt.Sprintf("key-%d", keys/2+rand.IntN(keys/2)), []byte("later"))
		}
		s.nothingIsBack()
	}
	s.until("compaction", func(_ map[string]written, records int) bool { return records <= 2*keys })
	if r := operator.Run(s.ctx, t, nil, "fsck", "--deep", "--orphan-age", "1h"); r.Status != 0 {
		t.Errorf("fsck: %s", r)
	}
}

// losesDatabase drops all tables, and brings the cluster up again with an empty catalog and new keys.
func (s *story) losesDatabase() {
	s.Helper()
	for _, a := range s.cluster.Agents {
		a.Kill()
	}
	for _, p := range s.cluster.ControlPlanes {
		p.Kill()
	}
	s.cluster.Postgres.SQL(s.ctx, s, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
	for _, p := range s.cluster.ControlPlanes {
		p.Start(s.ctx, s)
	}
	s.cluster.RenewKeys(s.ctx, s)
	for _, a := range s.cluster.Agents {
		a.Start(s.ctx, s)
	}
}
