package badinput_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/streamhouse/streamhouse/e2e/wire"
	"github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1/controlplanev1connect"
	"github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1/dataplanev1connect"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// bodies are what no client would send, whatever the RPC.
func bodies() map[string]string {
	return map[string]string{
		"nothing":         "",
		"no json":         "hello",
		"cut json":        `{"name":"a",`,
		"two values":      `{} {}`,
		"an array":        `[]`,
		"unknown field":   `{"nonsense":1}`,
		"wrong type":      `{"name":7,"entries":"many","partitions":7}`,
		"huge number":     `{"partitionCount":99999999999999999999,"entries":[{"partition":99999999999999999999}]}`,
		"broken base64":   `{"name":"a","entries":[{"topicName":"orders","batch":"!!!"}]}`,
		"half a rune":     "{\"name\":\"\xff\",\"entries\":[{\"topicName\":\"\xff\"}]}",
		"deeply nested":   strings.Repeat(`{"entries":[`, 100_000),
		"null for a list": `{"name":null,"entries":null}`,
	}
}

// rawBytes sends malformed messages to both services.
func (s *suite) rawBytes(ctx context.Context, t *testing.T) {
	t.Helper()
	doors := map[string]string{
		s.Agents[0].URL + dataplanev1connect.RecordServiceProduceProcedure:              s.ClientKey,
		s.ControlPlanes[0].URL + controlplanev1connect.TopicServiceCreateTopicProcedure: s.AdminKey,
	}
	for url, key := range doors {
		for name, body := range bodies() {
			s.expectInvalid(ctx, t, name, url, key, "application/json", strings.NewReader(body), http.StatusBadRequest)
		}
		for name, body := range map[string]string{"garbage": "\xff\xff\xff", "length beyond the end": "\x0a\xff\x01a", "half a rune": "\x0a\x02\xff\xfe"} {
			s.expectInvalid(ctx, t, name, url, key, "application/proto", strings.NewReader(body), http.StatusBadRequest)
		}
		s.tooLarge(ctx, t, url, key)
		s.otherDoors(ctx, t, url, key)
		s.envelopes(ctx, t, url, key)
	}
}

func (s *suite) expectInvalid(ctx context.Context, t *testing.T, name, url, key, contentType string, body io.Reader, status int) {
	t.Helper()
	a := wire.Post(ctx, t, url, key, contentType, body)
	if a.Status != status || a.Code != "invalid_argument" || a.Refusal.GetReason() != refusalv1.Reason_REASON_INVALID || leaks(a.Refusal.GetMessage()) {
		t.Errorf("%s to %s as %s: %d %s", name, url, contentType, a.Status, a.Body)
	}
}

func (s *suite) tooLarge(ctx context.Context, t *testing.T, url, key string) {
	t.Helper()
	for contentType, body := range map[string]string{
		"application/json": `{"name":"` + strings.Repeat("a", 5<<20) + `"}`, "application/proto": strings.Repeat("a", 5<<20),
	} {
		a := wire.Post(ctx, t, url, key, contentType, strings.NewReader(body))
		if a.Status != http.StatusTooManyRequests || a.Code != "resource_exhausted" || a.Refusal.GetReason() != refusalv1.Reason_REASON_MESSAGE_TOO_LARGE {
			t.Errorf("5 MiB to %s as %s: %d %.300s", url, contentType, a.Status, a.Body)
		}
	}
}

// otherDoors sends what is no RPC at all.
func (s *suite) otherDoors(ctx context.Context, t *testing.T, url, key string) {
	t.Helper()
	if a := wire.Post(ctx, t, url, key, "text/html", strings.NewReader("<html>")); a.Status != http.StatusUnsupportedMediaType {
		t.Errorf("HTML to %s: %d", url, a.Status)
	}
	if a := wire.Post(ctx, t, url+"s", key, "application/json", strings.NewReader("{}")); a.Status != http.StatusNotImplemented || a.Code != "unimplemented" {
		t.Errorf("POST %ss: %d %s", url, a.Status, a.Body)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET %s: %s", url, response.Status)
	}
}

// envelopes sends frames of gRPC-web that lie about their length, or are compressed.
func (s *suite) envelopes(ctx context.Context, t *testing.T, url, key string) {
	t.Helper()
	frame := func(flags byte, length uint32, payload string) string {
		head := make([]byte, 5)
		head[0] = flags
		binary.BigEndian.PutUint32(head[1:], length)
		return string(head) + payload
	}
	for name, c := range map[string]struct{ body, status string }{
		"nothing":             {"", "12"},
		"half a header":       {"\x00\x00", "3"},
		"longer than sent":    {frame(0, 100, "short"), "3"},
		"4 GiB, it says":      {frame(0, 1<<32-1, "short"), "8"},
		"garbage":             {frame(0, 3, "\xff\xff\xff"), "3"},
		"a bomb in gzip":      {frame(1, uint32(len(zeros())), zeros()), "3"},
		"compressed, it says": {frame(1, 5, "short"), "3"},
	} {
		a := wire.Post(ctx, t, url, key, "application/grpc-web+proto", strings.NewReader(c.body))
		status := grpcStatus(a)
		if a.Status != http.StatusOK || status != c.status {
			t.Errorf("%s to %s: HTTP %d, gRPC status %q, wanted %s: %q", name, url, a.Status, status, c.status, a.Body)
		}
	}
}

// zeros are 64 MiB, compressed: a mebibyte, again and again, as gzip allows. To compress all of them takes seconds under the race detector.
func zeros() string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(make([]byte, 1<<20)) // into memory
	_ = w.Close()
	return strings.Repeat(b.String(), 64)
}

// grpcStatus is in the headers, or in a trailer at the end of the body.
func grpcStatus(a wire.Answer) string {
	if s := a.Header.Get("Grpc-Status"); s != "" {
		return s
	}
	_, rest, found := bytes.Cut(bytes.ToLower(a.Body), []byte("grpc-status:"))
	if !found {
		return ""
	}
	status, _, _ := bytes.Cut(rest, []byte("\r\n"))
	return string(bytes.TrimSpace(status))
}
