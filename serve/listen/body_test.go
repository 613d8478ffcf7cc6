package listen

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// TestABodyThatStopsArrivingIsCut sends half a body and then nothing, over both versions of HTTP; then a whole one, whose answer takes
// longer than the bound.
func TestABodyThatStopsArrivingIsCut(t *testing.T) {
	t.Parallel()
	const timeout = 100 * time.Millisecond
	for name, http2 := range map[string]bool{"http/1.1": false, "http/2": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			read := make(chan error, 1)
			handler := boundBody(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, err := io.ReadAll(r.Body)
				read <- err
				select {
				case <-r.Context().Done():
				case <-time.After(3 * timeout):
					_, _ = io.WriteString(w, "answer")
				}
			}), timeout)
			server := httptest.NewUnstartedServer(handler)
			protocols := new(http.Protocols)
			protocols.SetHTTP1(!http2)
			protocols.SetUnencryptedHTTP2(http2)
			server.Config.Protocols = protocols
			server.Start()
			defer server.Close()
			transport := &http.Transport{Protocols: protocols}
			defer transport.CloseIdleConnections()
			client := &http.Client{Transport: transport}

			half, writer := io.Pipe()
			go func() { _, _ = writer.Write([]byte("half")) }()
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				post(t.Context(), client, server.URL, half)
			}()
			select {
			case err := <-read:
				if err == nil {
					t.Error("half a body was taken for a whole one")
				}
			case <-time.After(10 * time.Second):
				t.Error("the body is still awaited")
			}
			_ = writer.Close()
			<-sent
			whole, writer := io.Pipe()
			go func() { _, _ = writer.Write([]byte("whole")); _ = writer.Close() }()
			if answer := post(t.Context(), client, server.URL, whole); answer != "answer" {
				t.Errorf("a long answer was cut: %q", answer)
			}
		})
	}
}

func post(ctx context.Context, client *http.Client, url string, body io.Reader) string {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, body)
	if err != nil {
		return err.Error()
	}
	response, err := client.Do(request)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return err.Error()
	}
	return string(answer)
}

// TestABodyMayBeReadAfterItsHandlerReturned: a goroutine of a stream's call waits for the next message when the handler returns.
func TestABodyMayBeReadAfterItsHandlerReturned(t *testing.T) {
	t.Parallel()
	returned, read := make(chan struct{}), make(chan error, 1)
	handler := boundBody(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		go func() {
			<-returned
			_, err := io.ReadAll(r.Body)
			read <- err
		}()
		w.WriteHeader(http.StatusNoContent)
	}), time.Second)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(w, r)
	}))
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	server.Config.Protocols = protocols
	server.Start()
	defer server.Close()
	transport := &http.Transport{Protocols: protocols}
	defer transport.CloseIdleConnections()
	open, writer := io.Pipe()
	defer func() { _ = writer.Close() }()
	post(t.Context(), &http.Client{Transport: transport}, server.URL, open)
	time.Sleep(50 * time.Millisecond) // the server has let go of the call
	close(returned)
	if err := <-read; err == nil {
		t.Error("a body that did not end was read to its end")
	}
}
