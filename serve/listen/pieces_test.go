package listen

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestAnAnswerGoesOutInPieces over both versions of HTTP: the message and its pieces arrive as one body of a known length. A refusal, and what
// is no message, has none.
func TestAnAnswerGoesOutInPieces(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("large", 100_000)
	handler := InPieces(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pieces := PiecesOf(r.Context())
		if pieces == nil {
			_, _ = io.WriteString(w, "whole")
			return
		}
		pieces.Set([]Piece{{0, []byte("first ")}, {2, []byte(large)}, {2, []byte("!")}, {4, []byte(" last")}})
		if r.URL.Path == "/refused" {
			w.WriteHeader(http.StatusConflict)
		}
		if n, err := io.WriteString(w, "abcd"); n != 4 || err != nil {
			t.Errorf("%d bytes were written, %v", n, err)
		}
	}))
	for _, http2 := range []bool{false, true} {
		server := httptest.NewUnstartedServer(handler)
		protocols := new(http.Protocols)
		protocols.SetHTTP1(!http2)
		protocols.SetUnencryptedHTTP2(http2)
		server.Config.Protocols = protocols
		server.Start()
		transport := &http.Transport{Protocols: protocols}
		for _, c := range []struct{ path, kind, want string }{
			{"/", "application/proto", "first ab" + large + "!cd last"},
			{"/refused", "application/proto", "abcd"},
			{"/", "application/json", "whole"},
			{"/", "application/grpc", "whole"},
		} {
			response, err := (&http.Client{Transport: transport}).Post(server.URL+c.path, c.kind, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(response.Body)
			_ = response.Body.Close()
			if err != nil || string(got) != c.want || response.ContentLength != int64(len(c.want)) {
				t.Errorf("%s as %s, HTTP/2 %v: %d bytes, announced %d, want %d, %v", c.path, c.kind, http2, len(got), response.ContentLength, len(c.want), err)
			}
		}
		transport.CloseIdleConnections()
		server.Close()
	}
}
