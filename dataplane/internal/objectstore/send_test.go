package objectstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/streamhouse/streamhouse/serve/secret"
)

// seen is a connection that notes which bodies it is given as such.
type seen struct {
	conn

	bodies *atomic.Int64
}

func (s seen) ReadFrom(r io.Reader) (int64, error) {
	if limited, ok := r.(*io.LimitedReader); ok {
		if _, ok := limited.R.(*sentBody); ok {
			s.bodies.Add(1)
		}
	}
	return s.conn.ReadFrom(r)
}

// TestBodiesReachTheConnectionAsTheyLie: what this rests on is how net/http hands a body on.
func TestBodiesReachTheConnectionAsTheyLie(t *testing.T) {
	t.Parallel()
	var got atomic.Pointer[[]byte]
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		all, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got.Store(&all)
	}))
	defer server.Close()
	var bodies atomic.Int64
	transport := newTransport(4)
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if ours, ok := c.(conn); ok {
			c = seen{ours, &bodies}
		}
		return c, err
	}
	store, err := NewS3(t.Context(), Config{
		Bucket: "bucket", Endpoint: server.URL, PathStyle: true, AccessKey: "key", SecretKey: secret.New("secret"), Attempts: 1, Transport: transport,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for n, size := range []int{300 << 10, 1 << 20, 5 << 20} {
		body := make([]byte, size)
		_, _ = rand.Read(body)
		pieces := slices.Collect(slices.Chunk(body, 7+size/(1<<(4*n))))
		pieces = slices.Insert(pieces, 1, nil)
		before := slices.Clone(pieces)
		if err := store.Put(t.Context(), "key", pieces, ChecksumOf(pieces)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(*got.Load(), body) {
			t.Errorf("%d bytes in %d pieces arrived as %d others", size, len(pieces), len(*got.Load()))
		}
		if !slices.EqualFunc(pieces, before, bytes.Equal) {
			t.Error("the pieces are not the caller's any more")
		}
		if bodies.Load() != int64(n+1) {
			t.Errorf("%d of %d bodies reached the connection as they lay", bodies.Load(), n+1)
		}
	}
}
