package client

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/streamhouse/streamhouse/client/internal/fakecluster"
)

// serve puts an agent of the cluster on a real listener, without TLS or with it.
func serve(t *testing.T, f *fakecluster.Cluster, agentID string, secure bool, look func(*http.Request)) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	connecthttp.Mount(mux, f.Services(agentID), connecthttp.WithCompressors())
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		look(r)
		mux.ServeHTTP(w, r)
	}))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetHTTP2(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	if secure {
		s.EnableHTTP2 = true
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	f.Listen(agentID, s.URL)
	return s
}

func TestSpeaksHTTP2WithKeyAndWithoutGzip(t *testing.T) {
	for _, secure := range []bool{false, true} {
		f := fakecluster.New("a1")
		f.CreateTopic("orders", 1)
		s := serve(t, f, "a1", secure, func(r *http.Request) {
			major := 2
			if !secure && strings.HasSuffix(r.URL.Path, "/Produce") {
				major = 1 // cheaper for large bodies
			}
			if r.ProtoMajor != major || r.Header.Get("Authorization") != "Bearer shk_secret" || r.Header.Get("Streamhouse-Zone") != "z1" ||
				r.Header.Get("Accept-Encoding") == "gzip" {
				t.Errorf("HTTP/%d, %v", r.ProtoMajor, r.Header)
			}
		})
		options := []Option{WithAgents(s.URL + "/"), WithAPIKey("shk_secret"), WithZone("z1")}
		if secure {
			options = append(options, WithTLS(s.Client().Transport.(*http.Transport).TLSClientConfig))
		}
		c, err := New(options...)
		if err != nil {
			t.Fatal(err)
		}
		p := producer(t, c)
		if err := p.ProduceSync(t.Context(), &Record{Topic: "orders", Value: make([]byte, 1<<20)}); err != nil {
			t.Fatal(err)
		}
		k := consumer(t, c, From(Beginning()), UntilEnd())
		if got := drain(t, k); len(got[0]) != 1 {
			t.Errorf("read %v", got)
		}
		_ = p.Close(t.Context())
		_ = k.Close()
		_ = c.Close()
	}
}

func TestP5_CutConnectionsAndRefusedOnes(t *testing.T) {
	f := fakecluster.New("a1", "a2")
	f.CreateTopic("orders", 1)
	var calls atomic.Int32
	s1 := serve(t, f, "a1", false, func(*http.Request) { calls.Add(1) })
	s2 := serve(t, f, "a2", false, func(*http.Request) {})
	c, err := New(WithAgents(s1.URL, s2.URL), WithZone(""))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := producer(t, c, WithLinger(0))
	for i := range 60 {
		switch i {
		case 20:
			s1.CloseClientConnections()
		case 40:
			f.Lead("orders", 0, "a2")
			s1.CloseClientConnections()
			s1.Close()
		}
		if err := p.ProduceSync(t.Context(), plain("orders", string(rune('0'+i)))); err != nil {
			t.Fatal(err)
		}
	}
	got := values(f.Log("orders", 0))
	if len(got) != 60 || !slices.IsSorted(got) || calls.Load() == 0 {
		t.Errorf("stored %v", got)
	}
	_ = p.Close(t.Context())
}

func TestP6_RefusedConnectionIsSurelyNotWritten(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + l.Addr().String()
	_ = l.Close()
	c, err := New(WithAgents(url), WithZone(""))
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Metadata(t.Context())
	if !errors.Is(err, ReasonUnreachable) {
		t.Errorf("got %v, want unreachable", err)
	}
	if e := fromCall(errors.Unwrap(err)); e.Written != SurelyNotWritten {
		t.Errorf("got %v, want surely not written", e)
	}
}

// A page of a proxy, an empty answer, a closed connection: none is an agent's verdict.
func TestP6_WhatIsNotAnAgentSaysNothing(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"502 page": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "bad gateway", http.StatusBadGateway) },
		"503 page": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "unavailable", http.StatusServiceUnavailable)
		},
		"504 page": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "timeout", http.StatusGatewayTimeout) },
		"cut":      func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"empty":    func(http.ResponseWriter, *http.Request) {},
	} {
		s := httptest.NewUnstartedServer(handler)
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetUnencryptedHTTP2(true)
		s.Start()
		c, err := New(WithAgents(s.URL), WithZone(""))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		to := &topic{id: "00000000-0000-4000-8000-000000000001", partitions: 1, maxRecordBytes: 100}
		entry, e := appendEntry(to, 0, AnyOffset, []*Record{{}})
		if e != nil {
			t.Fatal(e)
		}
		if _, e := c.appendOnce(ctx, &topic{}, c.anyAgent(""), entry, true); e == nil || e.Written != PossiblyWritten {
			t.Errorf("%s: %v, want possibly written", name, e)
		}
		cancel()
		_ = c.Close()
		s.Close()
	}
}

func TestP6_CodesWithoutDetail(t *testing.T) {
	for code := connect.CodeCanceled; code <= connect.CodeUnauthenticated; code++ {
		local := connect.NewError(code, "mine")
		if e := fromCall(local); e.Written != PossiblyWritten || e.Reason != ReasonNoAnswer {
			t.Errorf("local %v: %v", code, e)
		}
		remote := fromCall(local.WithRemote())
		early := slices.Contains([]connect.Code{
			connect.CodeUnauthenticated, connect.CodePermissionDenied, connect.CodeInvalidArgument, connect.CodeUnimplemented,
			connect.CodeResourceExhausted,
		}, code)
		if (remote.Written == SurelyNotWritten) != early {
			t.Errorf("remote %v: %v", code, remote)
		}
	}
}

func TestURLs(t *testing.T) {
	for raw, want := range map[string]string{
		//nolint:gocritic // the space is what is tested
		"http://Host:80/": "http://host:80", " https://h/x/ ": "https://h/x", "host:80": "", "ftp://h": "", "http://": "",
		"http://u:p@h": "", "http://h?q": "", "http://h#f": "",
	} {
		got, e := normalURL(raw)
		if got != want || (e == nil) != (want != "") {
			t.Errorf("%q: %q, %v", raw, got, e)
		}
	}
}
