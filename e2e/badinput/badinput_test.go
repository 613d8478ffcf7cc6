package badinput_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/e2e/cluster"
	"github.com/streamhouse/streamhouse/e2e/process"
	"github.com/streamhouse/streamhouse/e2e/wire"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

const (
	// patience is exceeded by a hang alone.
	patience = 3 * time.Minute
	// orders has two partitions, and records 0 to 2 in partition 0; strict takes records of ten bytes.
	orders, strict = "orders", "strict"
	stored         = 3
)

// suite is a cluster of one agent: what it refuses it has not passed on.
type suite struct {
	*cluster.Cluster

	methods map[string]protoreflect.MethodDescriptor
}

// refused is a request and what it must be told.
type refused struct {
	method  string
	request proto.Message
	code    connect.Code
	reason  refusalv1.Reason
	// field at fault; "": none is named.
	field string
	// also checks what else the refusal must say; nil: nothing.
	also func(*refusalv1.Refusal) bool
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s := start(ctx, t)
	before := s.look(ctx, t)
	t.Run("refused", func(t *testing.T) {
		t.Run("produce", func(t *testing.T) {
			s.refuse(ctx, t, s.Agents[0].URL, s.ClientKey, s.badProduces(t), refusalv1.Written_WRITTEN_SURELY_NOT)
		})
		t.Run("read", func(t *testing.T) {
			s.refuse(ctx, t, s.Agents[0].URL, s.ClientKey, s.badReads(), refusalv1.Written_WRITTEN_UNSPECIFIED)
		})
		t.Run("control plane", func(t *testing.T) {
			s.refuse(ctx, t, s.ControlPlanes[0].URL, s.AdminKey, s.badTopics(), refusalv1.Written_WRITTEN_UNSPECIFIED)
		})
		t.Run("whole calls", func(t *testing.T) { t.Parallel(); s.wholeCalls(ctx, t) })
		t.Run("raw bytes", func(t *testing.T) { t.Parallel(); s.rawBytes(ctx, t) })
	})
	t.Run("nothing is stored", func(t *testing.T) { s.unchanged(ctx, t, before) })
	t.Run("memory is bounded", func(t *testing.T) { s.memoryStays(ctx, t) })
	t.Run("nothing is stored, again", func(t *testing.T) { s.unchanged(ctx, t, before) })
	t.Run("everything lives on", func(t *testing.T) { s.livesOn(ctx, t) })
}

func start(ctx context.Context, t *testing.T) *suite {
	t.Helper()
	s := &suite{methods: map[string]protoreflect.MethodDescriptor{}}
	s.Cluster = cluster.Start(t, cluster.Options{Zones: []string{"az-a"}, SessionDuration: 30 * time.Second})
	for _, m := range slices.Concat(wire.Methods("streamhouse.dataplane.v1"), wire.Methods("streamhouse.controlplane.v1")) {
		s.methods[string(m.Name())] = m
	}
	s.CreateTopic(ctx, t, orders, 2, client.TopicConfig{})
	s.CreateTopic(ctx, t, strict, 1, client.TopicConfig{MaxRecordBytes: new(int32(10))})
	for i := range stored {
		if _, err := s.Client(t).Append(ctx, orders, 0, int64(i), &client.Record{Value: []byte(fmt.Sprint(i))}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// refuse sends each request in each protocol.
func (s *suite) refuse(ctx context.Context, t *testing.T, url, key string, cases map[string]refused, written refusalv1.Written) {
	t.Helper()
	for _, protocol := range wire.Protocols() {
		t.Run(string(protocol), func(t *testing.T) {
			t.Parallel()
			caller := wire.Dial(t, protocol, url, key)
			for _, name := range slices.Sorted(maps.Keys(cases)) {
				s.refuseOne(ctx, t, caller, name, cases[name], written)
			}
		})
	}
}

func (s *suite) refuseOne(ctx context.Context, t *testing.T, caller *connect.Client, name string, c refused, written refusalv1.Written) {
	t.Helper()
	err := wire.Call(ctx, caller, s.methods[c.method], c.request, wire.Response(s.methods[c.method]))
	got := wire.Refusal(err)
	if connect.CodeOf(err) != c.code || got.GetReason() != c.reason || got.GetField() != c.field || got.GetWritten() != written {
		t.Errorf("%s, %s: %v; refusal %v; wanted %v, %v, field %q, %v", c.method, name, err, got, c.code, c.reason, c.field, written)
	}
	if err != nil && c.also != nil && !c.also(got) {
		t.Errorf("%s, %s: the refusal lacks something: %v", c.method, name, got)
	}
	if got.GetMessage() == "" || leaks(got.GetMessage()) || (err != nil && leaks(err.Error())) {
		t.Errorf("%s, %s: says %v", c.method, name, err)
	}
}

// leaks says whether a text tells of what is inside.
func leaks(text string) bool {
	for _, inside := range []string{"SQLSTATE", "pgx", "goroutine", ".go:", "panic", "postgres", "internal fault", "10.0."} {
		if strings.Contains(text, inside) {
			return true
		}
	}
	return false
}

// state is what bad input must not change.
type state struct {
	topics  string
	ends    []int64
	objects int
}

func (s *suite) look(ctx context.Context, t *testing.T) state {
	t.Helper()
	admin := s.Admin(t)
	topics, err := admin.ListTopics(ctx)
	if err != nil {
		t.Fatal(err)
	}
	now := state{topics: fmt.Sprint(topics), objects: s.objects(t)}
	for _, topic := range topics {
		_, partitions, err := admin.DescribeTopic(ctx, topic.Name)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range partitions {
			now.ends = append(now.ends, p.HighWatermark)
		}
	}
	return now
}

// objects counts the objects with records in the bucket: checkpoints come and go by themselves, and so do the S3 server's own locks.
func (s *suite) objects(t *testing.T) int {
	t.Helper()
	n := 0
	err := filepath.WalkDir(s.S3.Dir, func(_ string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "checkpoints" || strings.HasPrefix(entry.Name(), ".")):
			return fs.SkipDir
		case entry.Type().IsRegular():
			n++
		}
		return nil
	})
	if err != nil || n == 0 {
		t.Fatalf("%d objects in %s, %v", n, s.S3.Dir, err)
	}
	return n
}

func (s *suite) unchanged(ctx context.Context, t *testing.T, before state) {
	t.Helper()
	if now := s.look(ctx, t); fmt.Sprint(now) != fmt.Sprint(before) {
		t.Errorf("there is now %+v, before was %+v", now, before)
	}
}

// livesOn expects the processes to be the same, to have logged no fault, and to do their work.
func (s *suite) livesOn(ctx context.Context, t *testing.T) {
	t.Helper()
	for _, p := range []*process.Process{s.Agents[0].Process, s.ControlPlanes[0].Process} {
		log, err := p.Log()
		if !p.Running() || err != nil {
			t.Errorf("%s has ended (%v)", p.Name(), err)
		}
		for line := range bytes.Lines(log) {
			if bytes.Contains(line, []byte("level=ERROR")) || bytes.Contains(line, []byte("goroutine ")) || bytes.Contains(line, []byte("panic")) {
				t.Errorf("%s logged: %s", p.Name(), line)
			}
		}
	}
	for partition, want := range []int64{stored, 0} {
		at, err := s.Client(t).Append(ctx, orders, int32(partition), client.AnyOffset, &client.Record{Value: []byte("after all that")})
		if err != nil || at != want {
			t.Errorf("partition %d: stored at %d, %v", partition, at, err)
		}
	}
}
