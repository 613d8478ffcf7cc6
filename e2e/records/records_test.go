package records_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/e2e/cluster"
	"github.com/streamhouse/streamhouse/e2e/command"
	"github.com/streamhouse/streamhouse/e2e/workload"
)

// patience is exceeded by a hang alone.
const patience = 2 * time.Minute

// suite is one cluster, shared by tests that each use topics of their own.
type suite struct {
	*cluster.Cluster

	admin, user command.Command
}

func TestRecords(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	c := cluster.Start(t, cluster.Options{SessionDuration: 30 * time.Second})
	s := &suite{Cluster: c, admin: command.Of(t, c, c.AdminKey), user: command.Of(t, c, c.ClientKey)}
	for name, test := range map[string]func(context.Context, *testing.T, *suite){
		"json in, json out, by the command":       commandJSON,
		"lines in, values out, by the command":    commandLines,
		"one mebibyte by the command":             commandMebibyte,
		"headers of the command":                  commandHeaders,
		"the SDK gives back what it took":         sdkRoundTrip,
		"what the SDK wrote, the command prints":  sdkToCommand,
		"plain JSON over HTTP in, SDK out":        httpToSDK,
		"many calls of one record, few batches":   manyCalls,
		"fetch decodes what it would send raw":    fetchDecodes,
		"reading begins where it should":          positions,
		"a topic made anew starts at 0":           recreated,
		"a topic made anew again and again":       recreatedOften,
		"a conditional append":                    conditionalAppend,
		"of concurrent conditional appenders one": racingAppenders,
		"buffered acks":                           bufferedAcks,
		"a follower on another agent":             follower,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			test(ctx, t, s)
		})
	}
}

// create makes a topic that nobody else uses and returns its name.
func (s *suite) create(ctx context.Context, t *testing.T, name string, partitions int32) string {
	t.Helper()
	s.CreateTopic(ctx, t, name, partitions, client.TopicConfig{})
	return name
}

// readAll reads a topic from its beginning to its end by the SDK, partition after partition.
func (s *suite) readAll(ctx context.Context, t *testing.T, topic string) []*client.Record {
	t.Helper()
	consumer, err := s.Client(t).NewConsumer(ctx, topic, client.From(client.Beginning()), client.UntilEnd())
	if err != nil {
		t.Fatalf("consume %s: %v", topic, err)
	}
	defer func() { _ = consumer.Close() }()
	var all []*client.Record
	for r, err := range consumer.Records(ctx) {
		if err != nil {
			t.Fatalf("consume %s: %v", topic, err)
		}
		all = append(all, r)
	}
	return all
}

// store produces records to partition 0 by the SDK.
func (s *suite) store(ctx context.Context, t *testing.T, topic string, values ...string) {
	t.Helper()
	for _, v := range values {
		if _, err := s.Client(t).Append(ctx, topic, 0, client.AnyOffset, &client.Record{Value: []byte(v)}); err != nil {
			t.Fatalf("append to %s: %v", topic, err)
		}
	}
}

// raw asks one agent by its index.
func (s *suite) raw(i int) *workload.Agent { return workload.NewAgent(s.Agents[i].URL, s.ClientKey) }

// noise does not compress, and has every byte.
func noise(n int) []byte {
	b := make([]byte, n)
	random := rand.New(rand.NewPCG(uint64(n), 2))
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
}

// specials are records that something on the way could spoil.
func specials() []*client.Record {
	at := time.UnixMilli(1_700_000_000_123)
	return []*client.Record{
		{Value: []byte("null key")},
		{Key: []byte{}, Value: []byte("empty key")},
		{Key: []byte("empty value"), Value: []byte{}},
		{Key: []byte("null value")},
		{},
		{Key: []byte{}, Value: []byte{}},
		{Key: []byte("crlf\r\n"), Value: []byte("a\r\nb\r\n\n\r")},
		{Key: []byte{0, 0xff, 0xfe}, Value: noise(4096)},
		{Key: []byte("text"), Value: []byte("grüße, \u4e16\u754c, \u2028, \ufffd, <&>, \"quoted\", \\")},
		{Key: []byte("headers"), Value: []byte("v"), Headers: []client.Header{
			{Key: "text", Value: []byte("1")},
			{Key: "text", Value: []byte("again")},
			{Key: "null"},
			{Key: "empty", Value: []byte{}},
			{Key: "", Value: []byte("no name")},
			{Key: "binary", Value: []byte{0xff, 0, '\r', '\n'}},
			{Key: "Ünïcode", Value: []byte("ü")},
		}},
		{Key: []byte("time"), Value: []byte("of its own"), Timestamp: at},
		{Value: bytes.Repeat([]byte("compresses well "), 4096)},
		{Value: noise(1 << 20)},
	}
}

// same compares what went in with what came out: null is not empty, and every byte counts.
func same(t *testing.T, wrote, read *client.Record) {
	t.Helper()
	if !sameBytes(wrote.Key, read.Key) {
		t.Errorf("offset %d: the key %q came back as %q", read.Offset, shown(wrote.Key), shown(read.Key))
	}
	if !sameBytes(wrote.Value, read.Value) {
		t.Errorf("offset %d: the value %q came back as %q", read.Offset, shown(wrote.Value), shown(read.Value))
	}
	if !wrote.Timestamp.IsZero() && !wrote.Timestamp.Equal(read.Timestamp) {
		t.Errorf("offset %d: the timestamp %v came back as %v", read.Offset, wrote.Timestamp, read.Timestamp)
	}
	if len(wrote.Headers) != len(read.Headers) {
		t.Errorf("offset %d: %d headers came back as %d", read.Offset, len(wrote.Headers), len(read.Headers))
		return
	}
	for i, h := range wrote.Headers {
		if h.Key != read.Headers[i].Key || !sameBytes(h.Value, read.Headers[i].Value) {
			t.Errorf("offset %d: the header %q came back as %q", read.Offset, h, read.Headers[i])
		}
	}
}

func sameBytes(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

// shown is short, and tells null from empty.
func shown(b []byte) string {
	if b == nil {
		return "(null)"
	}
	return string(b[:min(len(b), 40)])
}
