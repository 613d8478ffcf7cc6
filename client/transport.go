package client

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
)

// maxAnswerBytes bounds one message from a server: a fetch answer is 3 MiB and one more batch at most.
const maxAnswerBytes = 16 << 20

// httpTransports reaches http URLs by HTTP/2 without TLS and https URLs by what TLS negotiates. Large requests, and those for large answers, go by
// HTTP/1.1 where there is no TLS: its bodies cost a quarter less than frames with flow control, to the one who sends an answer half as much, and no
// small call waits behind one.
type httpTransports struct {
	plain, bulk, secure *http.Transport
}

func newHTTPTransports(t *tls.Config) *httpTransports {
	h := &httpTransports{plain: httpTransport(), bulk: httpTransport(), secure: httpTransport()}
	h.bulk.Protocols.SetHTTP1(true)
	h.plain.Protocols.SetUnencryptedHTTP2(true)
	h.secure.Protocols.SetHTTP1(true)
	h.secure.Protocols.SetHTTP2(true)
	if t != nil {
		h.secure.TLSClientConfig = t.Clone()
	}
	return h
}

// httpTransport finds out by itself that a peer is gone: a stopped process keeps its connections. Whoever must know
// sooner asks sooner (Producer.watch, fetchGrace).
func httpTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: 2 * time.Second, KeepAlive: 15 * time.Second}
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dialer.DialContext,
		TLSHandshakeTimeout: 5 * time.Second,
		IdleConnTimeout:     90 * time.Second,
		MaxIdleConnsPerHost: requestsAtLeader + 8,
		ReadBufferSize:      64 << 10,
		WriteBufferSize:     64 << 10,
		DisableCompression:  true,
		Protocols:           new(http.Protocols),
		HTTP2: &http.HTTP2Config{
			MaxReceiveBufferPerStream: 16 << 20, MaxReceiveBufferPerConnection: 64 << 20, MaxReadFrameSize: 1 << 20,
			SendPingTimeout: 5 * time.Second, PingTimeout: 10 * time.Second,
		},
	}
}

func (h *httpTransports) dial(base string, bulk bool) connect.Transport {
	t := h.plain
	switch {
	case strings.HasPrefix(base, "https:"):
		t = h.secure
	case bulk:
		t = h.bulk
	}
	return connecthttp.NewTransport(&http.Client{Transport: t}, base,
		connecthttp.WithReadMaxBytes(maxAnswerBytes), connecthttp.WithCodecs(newCodec()),
		connecthttp.WithCompressors()) // batches are compressed already; gzip would cost ten times the copy
}

func (h *httpTransports) close() {
	h.plain.CloseIdleConnections()
	h.bulk.CloseIdleConnections()
	h.secure.CloseIdleConnections()
}

// withHeaders sends the API key, and the zone for counting bytes across zones, with every request.
func withHeaders(key, zone string) connect.ClientInterceptor {
	return func(next connect.ClientFunc) connect.ClientFunc {
		return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
			if info, ok := connect.CallInfoForClientContext(ctx); ok {
				if key != "" {
					info.RequestHeader().Set("Authorization", "Bearer "+key)
				}
				if zone != "" {
					info.RequestHeader().Set("Streamhouse-Zone", zone)
				}
			}
			return next(ctx, spec)
		}
	}
}

// normalURL checks a base URL and removes what does not matter, so that equal servers have equal URLs.
func normalURL(raw string) (string, *Error) {
	u, err := url.Parse(strings.TrimSpace(raw))
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", failure(ReasonMisconfigured, "%q is not a base URL: write http://HOST:PORT or https://HOST:PORT", raw)
	}
	return u.Scheme + "://" + strings.ToLower(u.Host) + strings.TrimRight(u.Path, "/"), nil
}
