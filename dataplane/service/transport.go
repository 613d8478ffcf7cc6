package service

import (
	"context"
	"net"
	"net/http"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/streamhouse/streamhouse/dataplane/internal/answer"
	"github.com/streamhouse/streamhouse/serve/secret"
)

// maxAnswerBytes bounds one message from the control plane or from another agent: a page of grants with their producers is the largest.
const maxAnswerBytes = 16 << 20

// bulkConnections are open to one agent at a time for large answers; a call waits for a free one.
const bulkConnections = 16

// callConnections are open to one control plane at a time for calls, idleCallConnections stay open between them.
const (
	callConnections     = 256
	idleCallConnections = 16
)

// newHTTPClient talks HTTP/2, without TLS too.
func newHTTPClient() *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Client{Transport: newTransport(protocols)}
}

// newBulkClient talks HTTP/1.1 where there is no TLS: a large answer costs three fifths of what it does in frames with flow control.
func newBulkClient() *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	transport := newTransport(protocols)
	transport.MaxConnsPerHost, transport.MaxIdleConnsPerHost = bulkConnections, bulkConnections
	return &http.Client{Transport: transport}
}

// newCallClient talks HTTP/1.1: calls to the control plane are small, each is awaited, and few are made at a time; in frames they take longer, and more of
// both sides' CPU. Every attempt ends after seconds (catalog.DefaultAttempt), and its connection with it, so that a process that stands still is noticed as
// soon as by pings.
func newCallClient() *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	transport := newTransport(protocols)
	transport.MaxConnsPerHost, transport.MaxIdleConnsPerHost = callConnections, idleCallConnections
	return &http.Client{Transport: transport}
}

// newTransport finds out within seconds that the other side is gone: by HTTP/2 also that its process stands still, which keeps its connections open.
func newTransport(protocols *http.Protocols) *http.Transport {
	dialer := &net.Dialer{Timeout: 2 * time.Second, KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 3 * time.Second, Interval: time.Second, Count: 3,
	}}
	return &http.Transport{
		DialContext:         dialer.DialContext,
		TLSHandshakeTimeout: 5 * time.Second,
		IdleConnTimeout:     90 * time.Second,
		ReadBufferSize:      64 << 10,
		WriteBufferSize:     64 << 10,
		Protocols:           protocols,
		HTTP2: &http.HTTP2Config{
			MaxReceiveBufferPerStream: 16 << 20, MaxReceiveBufferPerConnection: 64 << 20, MaxReadFrameSize: 1 << 20,
			SendPingTimeout: 3 * time.Second, PingTimeout: 3 * time.Second,
		},
	}
}

// dialer makes Connect transports over one HTTP client.
func dialer(client *http.Client) func(address string) connect.Transport {
	return func(address string) connect.Transport {
		return connecthttp.NewTransport(client, address,
			connecthttp.WithReadMaxBytes(maxAnswerBytes), connecthttp.WithCompressors(), connecthttp.WithCodecs(answer.NewCodec()))
	}
}

// bearer sends the API key with every call.
func bearer(key secret.Secret) connect.ClientInterceptor {
	return func(next connect.ClientFunc) connect.ClientFunc {
		return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
			if info, ok := connect.CallInfoForClientContext(ctx); ok {
				info.RequestHeader().Set("Authorization", "Bearer "+key.Reveal())
			}
			return next(ctx, spec)
		}
	}
}
