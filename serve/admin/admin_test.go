package admin_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/streamhouse/streamhouse/serve/admin"
	"github.com/streamhouse/streamhouse/serve/logs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ask(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func TestOperatorsLookAndSetTheLevel(t *testing.T) {
	log, err := logs.New(new(bytes.Buffer), logs.Config{LogLevel: slog.LevelInfo, LogRate: logs.DefaultRate})
	if err != nil {
		t.Fatal(err)
	}
	server, err := admin.New(admin.Config{AdminListen: "127.0.0.1:0"}, log, func(mux *http.ServeMux) {
		mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "measured") })
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	url := "http://" + server.Addr().String()
	for _, step := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{http.MethodGet, "/log-level", "", http.StatusOK, "info\n"},
		{http.MethodPut, "/log-level", "debug\n", http.StatusOK, "debug\n"},
		{http.MethodPut, "/log-level", "loud", http.StatusBadRequest, "debug, info, warn or error"},
		{http.MethodPut, "/log-level", strings.Repeat("x", 1000), http.StatusBadRequest, "debug, info, warn or error"},
		{http.MethodGet, "/log-level", "", http.StatusOK, "debug\n"},
		{http.MethodGet, "/metrics", "", http.StatusOK, "measured"},
		{http.MethodGet, "/debug/pprof/goroutine?debug=1", "", http.StatusOK, "goroutine profile"},
		{http.MethodPost, "/debug/pprof/", "", http.StatusMethodNotAllowed, ""},
	} {
		if status, text := ask(t, step.method, url+step.path, step.body); status != step.status || !strings.Contains(text, step.want) {
			t.Errorf("%s %s: %d %q", step.method, step.path, status, text)
		}
	}
	if !log.Enabled(ctx, slog.LevelDebug) {
		t.Error("debug is off")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestWithoutAnAddressNothingListens(t *testing.T) {
	server, err := admin.New(admin.Config{}, nil, nil)
	if err != nil || server != nil || server.Run(t.Context()) != nil {
		t.Errorf("%v, %v", server, err)
	}
	server.Close()
	if (admin.Config{AdminListen: "6060"}).Validate() == nil {
		t.Error("an address without a port is valid")
	}
}
