// Package wire speaks to both services in each protocol that they understand, without the SDK: Connect with JSON and with protobuf, gRPC and
// gRPC-web; and it sends bytes that no client would. Its tests walk every RPC in every protocol and run the commands of docs/api.md; packages badinput
// and access borrow it. Nothing here knows what an RPC is for.
// Read: wire.go, raw.go.
package wire

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	// The services.
	_ "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	_ "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/e2e/workload"
)

// Protocol is a way to say the same.
type Protocol string

// The protocols.
const (
	ConnectJSON  Protocol = "Connect JSON"
	ConnectProto Protocol = "Connect protobuf"
	GRPC         Protocol = "gRPC"
	GRPCWeb      Protocol = "gRPC-web"
)

// Protocols are all of them.
func Protocols() []Protocol { return []Protocol{ConnectJSON, ConnectProto, GRPC, GRPCWeb} }

// answerBytes bounds what a test takes for an answer.
const answerBytes = 16 << 20

func (p Protocol) options() []connecthttp.Option {
	options := []connecthttp.Option{connecthttp.WithReadMaxBytes(answerBytes), connecthttp.WithCompressors()}
	switch p {
	case ConnectJSON:
		return append(options, connecthttp.WithProtoJSON())
	case GRPC:
		return append(options, connecthttp.WithGRPC())
	case GRPCWeb:
		return append(options, connecthttp.WithGRPCWeb())
	case ConnectProto:
	}
	return options
}

// Dial returns a client of the server at a base URL; connections are closed when the test ends. key empty: without one.
func Dial(t testing.TB, p Protocol, base, key string) *connect.Client {
	t.Helper()
	h := httpClient(t, p == GRPC)
	h.Transport = keyed{key: key, next: h.Transport}
	return connect.NewClient(connecthttp.NewTransport(h, base, p.options()...))
}

func httpClient(t testing.TB, http2 bool) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!http2)
	protocols.SetUnencryptedHTTP2(http2)
	transport := &http.Transport{Protocols: protocols, DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext, TLSClientConfig: &tls.Config{}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// keyed sends an API key with every request.
type keyed struct {
	key  string
	next http.RoundTripper
}

// RoundTrip adds the key.
func (k keyed) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if k.key != "" {
		r.Header.Set("Authorization", "Bearer "+k.key)
	}
	return k.next.RoundTrip(r)
}

// Methods are the RPCs of a protobuf package, from its descriptors.
func Methods(protoPackage protoreflect.FullName) []protoreflect.MethodDescriptor {
	var all []protoreflect.MethodDescriptor
	protoregistry.GlobalFiles.RangeFilesByPackage(protoPackage, func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				all = append(all, methods.Get(j))
			}
		}
		return true
	})
	return all
}

// Procedure is the path of an RPC.
func Procedure(m protoreflect.MethodDescriptor) string {
	return "/" + string(m.Parent().FullName()) + "/" + string(m.Name())
}

// Response is an empty answer of an RPC.
func Response(m protoreflect.MethodDescriptor) proto.Message {
	return dynamicpb.NewMessage(m.Output())
}

// Call calls any RPC and decodes the answer into response; of a stream it takes the first message.
func Call(ctx context.Context, c *connect.Client, m protoreflect.MethodDescriptor, request, response proto.Message) error {
	return Take(ctx, c, m, request, response, func() bool { return true })
}

// Take is Call, but goes on with a stream until the message is enough.
func Take(ctx context.Context, c *connect.Client, m protoreflect.MethodDescriptor, request, response proto.Message, enough func() bool) error {
	spec := connect.Spec{Procedure: Procedure(m), Schema: m, StreamType: connect.StreamTypeUnary}
	if !m.IsStreamingServer() {
		return c.CallUnary(ctx, spec, request, response)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := open(ctx, c, m, spec, request)
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	for {
		if err := stream.Receive(response); err != nil || enough() {
			return err
		}
	}
}

// open begins a stream with its first message.
func open(ctx context.Context, c *connect.Client, m protoreflect.MethodDescriptor, spec connect.Spec, request proto.Message) (connect.ClientStream, error) {
	if !m.IsStreamingClient() {
		spec.StreamType = connect.StreamTypeServer
		return c.CallServerStream(ctx, spec, request)
	}
	spec.StreamType = connect.StreamTypeBidi
	stream, err := c.CallClientStream(ctx, spec)
	if err != nil {
		return nil, err
	}
	_ = stream.Send(request) // where it fails, Receive says why
	return stream, nil
}

// Suited is the protocol by which an RPC can be called: Connect, but where both sides stream, gRPC, whose client here speaks HTTP/2.
func Suited(m protoreflect.MethodDescriptor) Protocol {
	if m.IsStreamingClient() {
		return GRPC
	}
	return ConnectProto
}

// Refusal is the typed detail of an error that a server gave; nil: it gave none.
func Refusal(err error) *refusalv1.Refusal { return workload.Refusal(err) }
