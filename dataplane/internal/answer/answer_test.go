package answer

import (
	"bytes"
	"context"
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"testing"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/connect/v2/connectproto"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1/dataplanev1connect"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/listen"
)

// joined encodes a message and puts the pieces in by hand; copied is what of it was copied.
func joined(t *testing.T, message proto.Message) (whole []byte, copied int) {
	t.Helper()
	var pieces *listen.Pieces
	take := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pieces = listen.PiecesOf(r.Context())
		buffer := bytes.NewBuffer(make([]byte, 0, 512))
		if err := NewCodec().MarshalWrite(r.Context(), buffer, message); err != nil {
			t.Error(err)
		}
		copied = buffer.Len()
		if _, err := w.Write(buffer.Bytes()); err != nil {
			t.Error(err)
		}
	})
	recorder := httptest.NewRecorder()
	request := httptest.NewRequest(http.MethodPost, "/", nil)
	request.Header.Set("Content-Type", "application/proto")
	listen.InPieces(take).ServeHTTP(recorder, request)
	if pieces == nil {
		t.Fatal("the call has no pieces")
	}
	return recorder.Body.Bytes(), copied
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

// full is a partition with every field set, those of tomorrow included.
func full(t *testing.T, batches int) *dataplanev1.FetchedPartition {
	t.Helper()
	p := &dataplanev1.FetchedPartition{
		TopicId: "id", Partition: 3, Refusal: &refusalv1.Refusal{Reason: refusalv1.Reason_REASON_INTERNAL, Message: "no"}, LogStartOffset: 1, HighWatermark: 9,
		Batches: random(batches), Records: []*dataplanev1.Record{{Value: []byte("v")}, {Key: []byte("k")}}, NextOffset: 7, SkippedOffsets: 2,
	}
	fields := p.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		if f := fields.Get(i); !p.ProtoReflect().Has(f) && (f.Number() != partitionBatches || batches > 0) {
			t.Fatalf("set %s, too", f.Name())
		}
	}
	p.ProtoReflect().SetUnknown(protoreflect.RawFields{0xf8, 0x07, 0x05}) // field 127
	return p
}

// TestMessagesAreWhatTheyWere: what a reader decodes is what was answered, whatever was sent as a piece.
func TestMessagesAreWhatTheyWere(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		message proto.Message
		copied  int // at most
	}{
		"nothing":        {&dataplanev1.FetchResponse{}, 0},
		"empty ones":     {&dataplanev1.FetchResponse{Partitions: []*dataplanev1.FetchedPartition{{}, {}}}, 8},
		"small":          {&dataplanev1.FetchResponse{Partitions: []*dataplanev1.FetchedPartition{full(t, 100), full(t, 0)}}, 400},
		"just not large": {&dataplanev1.FetchResponse{Partitions: []*dataplanev1.FetchedPartition{full(t, pieceBytes-1)}}, pieceBytes + 100},
		"large": {&dataplanev1.FetchResponse{Partitions: []*dataplanev1.FetchedPartition{
			full(t, pieceBytes), full(t, 7), full(t, 3<<20), {Batches: random(1 << 20)}, full(t, 0),
		}}, 500},
		"object, none":  {&dataplanev1.ReadObjectResponse{}, 0},
		"object, small": {&dataplanev1.ReadObjectResponse{Bytes: random(50)}, 60},
		"object, large": {&dataplanev1.ReadObjectResponse{Bytes: random(3 << 20)}, 10},
		"another":       {&dataplanev1.FetchRequest{MaxBytes: 5}, 10},
	} {
		before := proto.Clone(c.message)
		whole, copied := joined(t, c.message)
		got := c.message.ProtoReflect().New().Interface()
		if err := proto.Unmarshal(whole, got); err != nil || !proto.Equal(got, before) || !proto.Equal(c.message, before) {
			t.Errorf("%s: %v", name, err)
		}
		if copied > c.copied || len(whole) != proto.Size(before) {
			t.Errorf("%s: %d of %d bytes were copied, want %d; it was %d bytes", name, copied, len(whole), c.copied, proto.Size(before))
		}
	}
}

// TestFieldNumbers: the numbers that are written by hand are the schema's.
func TestFieldNumbers(t *testing.T) {
	t.Parallel()
	for name, number := range map[protoreflect.Name]int{
		"partitions": answerPartitions, "batches": partitionBatches, "bytes": objectBytes,
	} {
		for _, m := range []proto.Message{&dataplanev1.FetchResponse{}, &dataplanev1.FetchedPartition{}, &dataplanev1.ReadObjectResponse{}} {
			if f := m.ProtoReflect().Descriptor().Fields().ByName(name); f != nil && int(f.Number()) != number {
				t.Errorf("%s is field %d", f.FullName(), f.Number())
			}
		}
	}
}

// answers is a RecordService with one answer.
type answers struct {
	dataplanev1connect.UnimplementedRecordServiceHandler

	answer *dataplanev1.FetchResponse
}

func (a answers) Fetch(context.Context, *dataplanev1.FetchRequest) (*dataplanev1.FetchResponse, error) {
	return a.answer, nil
}

// TestEveryProtocolGetsTheSame: Connect in both encodings, gRPC and gRPC-Web, by both versions of HTTP, through the codec of an agent.
func TestEveryProtocolGetsTheSame(t *testing.T) {
	t.Parallel()
	want := &dataplanev1.FetchResponse{Partitions: []*dataplanev1.FetchedPartition{
		{TopicId: "a", Batches: random(700_000)}, {TopicId: "b", Batches: random(10), NextOffset: 4}, {TopicId: "c", Batches: random(100_000)},
	}}
	rpc := connect.NewServer()
	dataplanev1connect.RegisterRecordServiceHandler(rpc, answers{answer: want})
	mux := http.NewServeMux()
	connecthttp.Mount(mux, rpc, connecthttp.WithCompressors(), connecthttp.WithCodecs(NewCodec(), connectproto.NewJSONCodec()))
	server := httptest.NewUnstartedServer(listen.InPieces(mux))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	defer server.Close()
	for name, options := range map[string][]connecthttp.Option{
		"Connect": nil, "Connect, JSON": {connecthttp.WithSendCodec(connect.CodecNameJSON)}, "gRPC": {connecthttp.WithGRPC()}, "gRPC-Web": {connecthttp.WithGRPCWeb()},
	} {
		for _, http2 := range []bool{false, true} {
			if name == "gRPC" && !http2 {
				continue
			}
			transport := &http.Transport{Protocols: new(http.Protocols)}
			transport.Protocols.SetHTTP1(!http2)
			transport.Protocols.SetUnencryptedHTTP2(http2)
			client := dataplanev1connect.NewRecordServiceClient(connect.NewClient(connecthttp.NewTransport(
				&http.Client{Transport: transport}, server.URL, append(options, connecthttp.WithReadMaxBytes(16<<20))...)))
			for range 3 {
				got, err := client.Fetch(t.Context(), &dataplanev1.FetchRequest{})
				if err != nil || !proto.Equal(got, want) {
					t.Errorf("%s, HTTP/2 %v: %v", name, http2, err)
				}
			}
			transport.CloseIdleConnections()
		}
	}
}
