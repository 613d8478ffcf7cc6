package cluster

import (
	"bytes"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
)

// doubler is a way to a control plane that sends every unary call twice and returns the second answer, as a network or a proxy may.
type doubler struct {
	target *url.URL
	client *http.Client
	stream *httputil.ReverseProxy
}

// newDoubler serves until the test ends and returns its base URL.
func newDoubler(t testing.TB, base string) string {
	t.Helper()
	target, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	plain := new(http.Protocols)
	plain.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: plain}
	d := &doubler{target: target, client: &http.Client{Transport: transport}, stream: httputil.NewSingleHostReverseProxy(target)}
	d.stream.Transport, d.stream.FlushInterval = transport, -1
	t.Cleanup(transport.CloseIdleConnections)
	return serveUntilEnd(t, d)
}

// serveUntilEnd serves HTTP/1.1 and HTTP/2 until the test ends and returns the base URL.
func serveUntilEnd(t testing.TB, handler http.Handler) string {
	t.Helper()
	both := new(http.Protocols)
	both.SetHTTP1(true)
	both.SetUnencryptedHTTP2(true)
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // returns at once
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, Protocols: both} //nolint:gosec // a test's own peer
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return "http://" + listener.Addr().String()
}

func (d *doubler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/Watch") {
		d.stream.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the caller is gone
	}
	if first, err := d.send(r, body); err == nil {
		_, _ = io.Copy(io.Discard, first.Body)
		_ = first.Body.Close()
	}
	second, err := d.send(r, body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer second.Body.Close()
	maps.Copy(w.Header(), second.Header)
	w.WriteHeader(second.StatusCode)
	_, _ = io.Copy(w, second.Body)
	for key, values := range second.Trailer {
		w.Header()[http.TrailerPrefix+key] = values
	}
}

func (d *doubler) send(r *http.Request, body []byte) (*http.Response, error) {
	again := r.Clone(r.Context())
	again.URL.Scheme, again.URL.Host, again.RequestURI = d.target.Scheme, d.target.Host, ""
	again.Body, again.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return d.client.Do(again)
}
