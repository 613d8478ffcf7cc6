package objectstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore/s3test"
	"github.com/streamhouse/streamhouse/serve/secret"
)

func newS3(t *testing.T, server *s3test.Server, change ...func(*objectstore.Config)) *objectstore.S3 {
	t.Helper()
	cfg := objectstore.Config{
		Bucket: server.Bucket, Endpoint: server.Endpoint, Region: server.Region, PathStyle: true,
		AccessKey: server.AccessKey, SecretKey: secret.New(server.SecretKey),
		BackoffBase: time.Millisecond, BackoffMax: 10 * time.Millisecond,
	}
	for _, f := range change {
		f(&cfg)
	}
	store, err := objectstore.NewS3(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	return store
}

// Both implementations keep the contract of Store; each test has a prefix of its own.
func TestConformance(t *testing.T) {
	t.Parallel()
	t.Run("s3", func(t *testing.T) {
		t.Parallel()
		conform(t, newS3(t, s3test.Start(t)))
	})
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		conform(t, &objectstore.Memory{})
	})
}

func conform(t *testing.T, store objectstore.Store) {
	for name, test := range map[string]func(*testing.T, objectstore.Store, string){
		"self test":                      conformSelfTest,
		"P8 a key has one content":       conformOneContent,
		"P8 one of many racing puts won": conformRace,
		"wrong checksum":                 conformWrongChecksum,
		"ranges":                         conformRanges,
		"tails":                          conformTails,
		"empty object":                   conformEmptyObject,
		"head":                           conformHead,
		"delete":                         conformDelete,
		"list":                           conformList,
		"bad input":                      conformBadInput,
		"ended context":                  conformEndedContext,
		"big object":                     conformBigObject,
		"P9 footers are readable":        conformFooter,
	} {
		t.Run(name, func(t *testing.T) { test(t, store, fmt.Sprintf("%x/", rand.Uint64())) })
	}
}

func put(t *testing.T, store objectstore.Store, key string, body []byte) {
	t.Helper()
	if err := store.Put(t.Context(), key, [][]byte{body}, objectstore.Checksum(body)); err != nil {
		t.Fatal(err)
	}
}

func wantError(t *testing.T, err, want error) *objectstore.OpError {
	t.Helper()
	var op *objectstore.OpError
	if !errors.Is(err, want) || !errors.As(err, &op) {
		t.Fatalf("got %v, want an OpError with %v", err, want)
	}
	return op
}

func conformSelfTest(t *testing.T, store objectstore.Store, prefix string) {
	if err := objectstore.SelfTest(t.Context(), store, prefix); err != nil {
		t.Fatal(err)
	}
	page, err := store.List(t.Context(), prefix, "", 10)
	if err != nil || len(page.Objects) != 0 {
		t.Fatalf("the self-test left %v behind, %v", page.Objects, err)
	}
}

func conformOneContent(t *testing.T, store objectstore.Store, prefix string) {
	key, body := prefix+"k", []byte("first")
	put(t, store, key, body)
	put(t, store, key, body) // a repeat is success
	for _, other := range []string{"other", "longer than the first", ""} {
		err := store.Put(t.Context(), key, [][]byte{[]byte(other)}, objectstore.Checksum([]byte(other)))
		if op := wantError(t, err, objectstore.ErrConflict); op.MayHaveArrived {
			t.Fatalf("%v: a conflict is definite", err)
		}
	}
	got := make([]byte, len(body))
	if err := store.GetRange(t.Context(), key, 0, got); err != nil || !bytes.Equal(got, body) {
		t.Fatalf("got %q, %v", got, err)
	}
}

func conformRace(t *testing.T, store objectstore.Store, prefix string) {
	var won atomic.Int32
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			body := []byte(fmt.Sprintf("content %2d", i))
			err := store.Put(t.Context(), prefix+"k", [][]byte{body}, objectstore.Checksum(body))
			if err == nil {
				won.Add(1)
			} else if !errors.Is(err, objectstore.ErrConflict) {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if won.Load() != 1 {
		t.Fatalf("%d of 20 won", won.Load())
	}
}

func conformWrongChecksum(t *testing.T, store objectstore.Store, prefix string) {
	body := []byte("body")
	wantError(t, store.Put(t.Context(), prefix+"k", [][]byte{body}, objectstore.Checksum(body)^1), objectstore.ErrRefused)
	_, err := store.Head(t.Context(), prefix+"k")
	wantError(t, err, objectstore.ErrNotFound)
}

func conformRanges(t *testing.T, store objectstore.Store, prefix string) {
	body := []byte("0123456789")
	put(t, store, prefix+"k", body)
	for _, r := range [][2]int{{0, 1}, {0, 10}, {3, 4}, {9, 1}} {
		dst := make([]byte, r[1])
		if err := store.GetRange(t.Context(), prefix+"k", int64(r[0]), dst); err != nil || !bytes.Equal(dst, body[r[0]:r[0]+r[1]]) {
			t.Errorf("range %v: %q, %v", r, dst, err)
		}
	}
	for _, r := range [][2]int{{0, 11}, {9, 2}, {10, 1}, {1 << 40, 1}} {
		wantError(t, store.GetRange(t.Context(), prefix+"k", int64(r[0]), make([]byte, r[1])), objectstore.ErrOutOfRange)
	}
	wantError(t, store.GetRange(t.Context(), prefix+"none", 0, make([]byte, 1)), objectstore.ErrNotFound)
}

func conformTails(t *testing.T, store objectstore.Store, prefix string) {
	body := []byte("0123456789")
	put(t, store, prefix+"k", body)
	for _, want := range []int{1, 4, 10, 11, 1 << 20} {
		dst := make([]byte, want)
		n, size, err := store.GetTail(t.Context(), prefix+"k", dst)
		if tail := body[len(body)-min(want, len(body)):]; err != nil || size != 10 || !bytes.Equal(dst[:n], tail) {
			t.Errorf("tail of %d: %q of %d, %v", want, dst[:n], size, err)
		}
	}
	_, _, err := store.GetTail(t.Context(), prefix+"none", make([]byte, 1))
	wantError(t, err, objectstore.ErrNotFound)
}

func conformEmptyObject(t *testing.T, store objectstore.Store, prefix string) {
	put(t, store, prefix+"k", nil)
	put(t, store, prefix+"k", nil)
	if n, size, err := store.GetTail(t.Context(), prefix+"k", make([]byte, 8)); n != 0 || size != 0 || err != nil {
		t.Errorf("tail: %d of %d, %v", n, size, err)
	}
	wantError(t, store.GetRange(t.Context(), prefix+"k", 0, make([]byte, 1)), objectstore.ErrOutOfRange)
}

func conformHead(t *testing.T, store objectstore.Store, prefix string) {
	body := []byte("0123456789")
	put(t, store, prefix+"k", body)
	info, err := store.Head(t.Context(), prefix+"k")
	if err != nil {
		t.Fatal(err)
	}
	if info.Key != prefix+"k" || info.SizeBytes != 10 || !info.HasCRC32C || info.CRC32C != objectstore.Checksum(body) || time.Since(info.ModifiedAt) > time.Hour {
		t.Fatalf("got %+v", info)
	}
	_, err = store.Head(t.Context(), prefix+"none")
	wantError(t, err, objectstore.ErrNotFound)
}

func conformDelete(t *testing.T, store objectstore.Store, prefix string) {
	keys := []string{prefix + "never"}
	for i := range 5 {
		keys = append(keys, fmt.Sprintf("%sk%d", prefix, i))
		put(t, store, keys[i+1], []byte("x"))
	}
	put(t, store, prefix+"stays", []byte("x"))
	for range 2 { // the second time all are gone
		if err := store.Delete(t.Context(), keys); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Delete(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if got := listAll(t, store, prefix, 100); !slices.Equal(got, []string{prefix + "stays"}) {
		t.Fatalf("left: %v", got)
	}
}

func listAll(t *testing.T, store objectstore.Store, prefix string, limit int) (keys []string) {
	t.Helper()
	after := ""
	for {
		page, err := store.List(t.Context(), prefix, after, limit)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Objects) > limit || (page.More && len(page.Objects) == 0) {
			t.Fatalf("page of %d, more %v", len(page.Objects), page.More)
		}
		for _, o := range page.Objects {
			keys = append(keys, o.Key)
		}
		if !page.More {
			return keys
		}
		after = keys[len(keys)-1]
	}
}

func conformList(t *testing.T, store objectstore.Store, prefix string) {
	want := []string{}
	for _, name := range []string{"a/1", "a/2", "a-b/1", "b", "a/10", "c/d/e"} {
		want = append(want, prefix+name)
		put(t, store, prefix+name, []byte(name))
	}
	slices.Sort(want)
	for _, limit := range []int{1, 2, 5, 6, 1000} {
		if got := listAll(t, store, prefix, limit); !slices.Equal(got, want) {
			t.Errorf("limit %d: %v, want %v", limit, got, want)
		}
	}
	if got := listAll(t, store, prefix+"a/", 2); !slices.Equal(got, []string{prefix + "a/1", prefix + "a/10", prefix + "a/2"}) {
		t.Errorf("prefix a/: %v", got)
	}
	page, err := store.List(t.Context(), prefix+"b", "", 1)
	if err != nil || len(page.Objects) != 1 || page.Objects[0].SizeBytes != 1 || page.Objects[0].HasCRC32C {
		t.Errorf("got %+v, %v", page, err)
	}
	if got := listAll(t, store, prefix+"none", 5); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

func conformBadInput(t *testing.T, store objectstore.Store, prefix string) {
	ctx := t.Context()
	wantError(t, store.GetRange(ctx, prefix, -1, make([]byte, 1)), objectstore.ErrRefused)
	wantError(t, store.GetRange(ctx, prefix, 0, nil), objectstore.ErrRefused)
	_, _, err := store.GetTail(ctx, prefix, nil)
	wantError(t, err, objectstore.ErrRefused)
	for _, limit := range []int{-1, 0, 1001} {
		_, err := store.List(ctx, prefix, "", limit)
		wantError(t, err, objectstore.ErrRefused)
	}
}

func conformEndedContext(t *testing.T, store objectstore.Store, prefix string) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, err := range map[string]error{
		"put":    store.Put(ctx, prefix+"k", nil, 0),
		"get":    store.GetRange(ctx, prefix+"k", 0, make([]byte, 1)),
		"delete": store.Delete(ctx, []string{prefix + "k"}),
	} {
		op := wantError(t, err, objectstore.ErrUnavailable)
		if !errors.Is(err, context.Canceled) || op.MayHaveArrived || op.Attempts != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func conformBigObject(t *testing.T, store objectstore.Store, prefix string) {
	body := make([]byte, 8<<20)
	for i := range body {
		body[i] = byte(i * i >> 8)
	}
	put(t, store, prefix+"k", body)
	put(t, store, prefix+"k", body)
	got := make([]byte, len(body))
	if err := store.GetRange(t.Context(), prefix+"k", 0, got); err != nil || !bytes.Equal(got, body) {
		t.Fatalf("%v", err)
	}
	body[5_000_000] ^= 1
	err := store.Put(t.Context(), prefix+"k", [][]byte{body}, objectstore.Checksum(body))
	wantError(t, err, objectstore.ErrConflict)
}

// A footer comes back in one request, and in two when it is bigger than the first guess.
func conformFooter(t *testing.T, store objectstore.Store, _ string) {
	for _, segments := range []int{1, 2000} {
		b, err := object.NewBuilder(object.Key{AgentGroup: "footer", Session: object.UUID{1}, Counter: uint64(segments)})
		if err != nil {
			t.Fatal(err)
		}
		for i := range segments {
			if _, err := b.Append(object.Segment{Partition: int32(i), Epoch: 1, RecordCount: 1}, object.PartOf([]byte("batch"))); err != nil {
				t.Fatal(err)
			}
		}
		sealed, err := b.Seal()
		if err != nil {
			t.Fatal(err)
		}
		key := sealed.Key.String()
		if err := store.Put(t.Context(), key, sealed.Body, sealed.CRC32C); err != nil {
			t.Fatal(err)
		}
		footer, err := object.ReadFooter(t.Context(), store, key)
		if err != nil || footer.Key != sealed.Key || !slices.Equal(footer.Segments, sealed.Segments) {
			t.Errorf("%d segments: %v", segments, err)
		}
	}
}
