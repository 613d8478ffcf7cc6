package checkpoint

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

// update rewrites the golden file: the format is another one then, and needs another version.
var update = flag.Bool("update", false, "rewrite the golden file")

const golden = "testdata/version1.hex"

func pages() []*controlplanev1.CheckpointPage {
	topic := bytes.Repeat([]byte{7}, 16)
	return []*controlplanev1.CheckpointPage{
		{
			Head: &controlplanev1.CheckpointHead{AgentGroup: "blue", Incarnation: 3, Number: 12, NextProducerId: 1000},
			Topics: []*controlplanev1.CheckpointTopic{
				{TopicId: topic, Name: "orders", PartitionCount: 2, Config: &controlplanev1.TopicConfig{MaxRecordBytes: new(int32(1 << 20))}, CreatedAtMs: 5},
				{TopicId: bytes.Repeat([]byte{8}, 16), Name: "gone", PartitionCount: 1, Deleted: true},
			},
		},
		{Partitions: []*controlplanev1.CheckpointPartition{
			{TopicId: topic, LogStartOffset: 10, HighWatermark: 20, Epoch: 3<<23 + 1}, {TopicId: topic, Partition: 1},
		}},
	}
}

func sealed(t testing.TB) []byte {
	t.Helper()
	w := NewWriter()
	for _, page := range pages() {
		if err := w.Add(page); err != nil {
			t.Fatal(err)
		}
	}
	return w.Seal()
}

// TestP9_Golden: what was written by the first release is read by this one.
func TestP9_Golden(t *testing.T) {
	t.Parallel()
	if *update {
		if err := os.WriteFile(golden, []byte(hex.Dump(sealed(t))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	dump, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.Dump(sealed(t)); got != string(dump) {
		t.Errorf("written:\n%s\nwant:\n%s", got, dump)
	}
	got, err := Read(sealed(t))
	if err != nil || len(got) != len(pages()) {
		t.Fatalf("%d pages, %v", len(got), err)
	}
	for i, page := range pages() {
		if !proto.Equal(got[i], page) {
			t.Errorf("page %d is %v, want %v", i, got[i], page)
		}
	}
}

// Every bit is under a checksum, and every length is checked.
func TestRead_Damaged(t *testing.T) {
	t.Parallel()
	whole := sealed(t)
	for i := range whole {
		damaged := bytes.Clone(whole)
		damaged[i] ^= 1
		if _, err := Read(damaged); !errors.Is(err, ErrInvalid) {
			t.Errorf("byte %d damaged: %v", i, err)
		}
		if _, err := Read(whole[:i]); !errors.Is(err, ErrInvalid) {
			t.Errorf("cut off at %d: %v", i, err)
		}
	}
	if _, err := Read(NewWriter().Seal()); !errors.Is(err, ErrInvalid) {
		t.Errorf("without a page: %v", err)
	}
	if err := NewWriter().Add(&controlplanev1.CheckpointPage{}); err == nil {
		t.Error("an empty page was taken: it would be the end")
	}
}

func FuzzRead(f *testing.F) {
	f.Add(sealed(f))
	f.Add(NewWriter().Seal())
	f.Fuzz(func(t *testing.T, whole []byte) {
		read, err := Read(whole)
		if (err == nil) != (len(read) > 0) || (err != nil && !errors.Is(err, ErrInvalid)) {
			t.Errorf("%d pages, %v", len(read), err)
		}
	})
}

func TestKeys(t *testing.T) {
	t.Parallel()
	key := Key("blue", 7, 123)
	if key != "blue/checkpoints/007-00000000000000000123" {
		t.Error(key)
	}
	if incarnation, number, ok := ParseKey("blue", key); !ok || incarnation != 7 || number != 123 {
		t.Errorf("%d, %d, %v", incarnation, number, ok)
	}
	if strings.Compare(Key("blue", 7, 1<<62), Key("blue", 12, 1)) > 0 || strings.Compare(Key("blue", 7, 99), Key("blue", 7, 100)) > 0 {
		t.Error("keys are not in the order of checkpoints")
	}
	for _, other := range []string{"blue/checkpoints/7-123", "green/checkpoints/007-00000000000000000123", "blue/checkpoints/", key + "0", ""} {
		if _, _, ok := ParseKey("blue", other); ok {
			t.Errorf("%q was taken", other)
		}
	}
	topic := object.UUID{1, 2}
	if got, ok := ParseDescriptionKey("blue", DescriptionKey("blue", topic)); !ok || got != topic {
		t.Errorf("%v, %v", got, ok)
	}
	if _, ok := ParseDescriptionKey("green", DescriptionKey("blue", topic)); ok {
		t.Error("P7: another agent group's description was taken")
	}
}

func TestDescribeAndLoad(t *testing.T) {
	t.Parallel()
	store := &objectstore.Memory{}
	body, err := Describe("blue", 2, pages()[0].GetTopics()[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Put(t.Context(), "k", [][]byte{body}, objectstore.Checksum(body)); err != nil {
		t.Fatal(err)
	}
	got, err := Load(t.Context(), store, "k")
	if err != nil || len(got) != 1 || got[0].GetHead().GetNumber() != 0 || got[0].GetTopics()[0].GetName() != "orders" {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := Load(t.Context(), store, "none"); !errors.Is(err, objectstore.ErrNotFound) {
		t.Errorf("%v", err)
	}
}
