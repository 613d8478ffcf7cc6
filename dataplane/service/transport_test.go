package service

import (
	"bytes"
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/streamhouse/streamhouse/dataplane/internal/answer"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1/dataplanev1connect"
	"github.com/streamhouse/streamhouse/serve/listen"
)

// owner answers every ReadObject with the same bytes.
type owner struct {
	dataplanev1connect.UnimplementedPeerServiceHandler

	answer *dataplanev1.ReadObjectResponse
}

func (o owner) ReadObject(context.Context, *dataplanev1.ReadObjectRequest) (*dataplanev1.ReadObjectResponse, error) {
	return o.answer, nil
}

// serveOwner serves b as agents do; major is the version of HTTP of the last call.
func serveOwner(t testing.TB, b []byte, secure bool) (server *httptest.Server, major *atomic.Int32) {
	t.Helper()
	rpc := connect.NewServer()
	dataplanev1connect.RegisterPeerServiceHandler(rpc, owner{answer: &dataplanev1.ReadObjectResponse{Bytes: b}})
	mux := http.NewServeMux()
	connecthttp.Mount(mux, rpc, connecthttp.WithCompressors(), connecthttp.WithCodecs(answer.NewCodec()))
	major = &atomic.Int32{}
	pieces := listen.InPieces(mux)
	server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		major.Store(int32(r.ProtoMajor))
		pieces.ServeHTTP(w, r)
	}))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetHTTP2(secure)
	server.Config.Protocols.SetUnencryptedHTTP2(!secure)
	if server.EnableHTTP2 = secure; secure {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	return server, major
}

// reach is a client of a server's.
func reach(t testing.TB, client *http.Client, server *httptest.Server) dataplanev1connect.PeerServiceClient {
	t.Helper()
	t.Cleanup(client.CloseIdleConnections)
	if server.TLS != nil {
		roots := server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
		client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	return dataplanev1connect.NewPeerServiceClient(connect.NewClient(dialer(client)(server.URL)))
}

// TestProtocols: large answers go by HTTP/1.1 without TLS, and by what TLS negotiates with it; calls to the control plane by HTTP/1.1; all else by HTTP/2.
func TestProtocols(t *testing.T) {
	t.Parallel()
	b := bytes.Repeat([]byte("bytes"), 600_000)
	for name, c := range map[string]struct {
		client *http.Client
		secure bool
		major  int32
	}{
		"large":            {newBulkClient(), false, 1},
		"large, with TLS":  {newBulkClient(), true, 2},
		"calls":            {newCallClient(), false, 1},
		"calls, with TLS":  {newCallClient(), true, 1},
		"others":           {newHTTPClient(), false, 2},
		"others, with TLS": {newHTTPClient(), true, 2},
	} {
		server, major := serveOwner(t, b, c.secure)
		res, err := reach(t, c.client, server).ReadObject(t.Context(), &dataplanev1.ReadObjectRequest{})
		if err != nil || !bytes.Equal(res.GetBytes(), b) || major.Load() != c.major {
			t.Errorf("%s: HTTP/%d, %d bytes, %v", name, major.Load(), len(res.GetBytes()), err)
		}
	}
}

// BenchmarkReadObject measures what an agent has from another one, both sides together: an iteration is 3 MiB.
func BenchmarkReadObject(b *testing.B) {
	for name, client := range map[string]*http.Client{"bulk": newBulkClient(), "plain": newHTTPClient()} {
		b.Run(name, func(b *testing.B) {
			part := bytes.Repeat([]byte("bytes of"), 3<<17)
			server, _ := serveOwner(b, part, false)
			peer := reach(b, client, server)
			b.SetBytes(int64(len(part)))
			b.ReportAllocs()
			began := used()
			for b.Loop() {
				if _, err := peer.ReadObject(b.Context(), &dataplanev1.ReadObjectRequest{}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric((used()-began).Seconds()/float64(b.N)/float64(len(part))*(1<<30), "cpu-s/GiB")
		})
	}
}

// BenchmarkCall measures a small call as to the control plane, both sides together.
func BenchmarkCall(b *testing.B) {
	for name, client := range map[string]*http.Client{"calls": newCallClient(), "others": newHTTPClient()} {
		b.Run(name, func(b *testing.B) {
			server, _ := serveOwner(b, []byte("small"), false)
			peer := reach(b, client, server)
			b.ReportAllocs()
			began := used()
			for b.Loop() {
				if _, err := peer.ReadObject(b.Context(), &dataplanev1.ReadObjectRequest{}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((used()-began).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

// used is the processor time of this process.
func used() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
