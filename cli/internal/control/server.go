package control

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

const (
	headerTime = 5 * time.Second
	maxOrder   = 64 << 10 // bytes
	// maxSocketPath is the longest path that a socket can have everywhere.
	maxSocketPath = 100
)

// Listen makes the socket at path, or in a private temporary folder where that path is too long for a socket. The listener removes it when
// it is closed.
func Listen(ctx context.Context, path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		dir, err := os.MkdirTemp("", "streamhouse-") // 0700
		if err != nil {
			return nil, fmt.Errorf("listen for orders: %w", err)
		}
		path = dir + "/control.sock"
	}
	_ = os.Remove(path) // of an owner that was killed; this process holds the lock
	l, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err == nil {
		err = os.Chmod(path, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("listen for orders: %w", err)
	}
	return l, nil
}

// Serve takes orders until ctx ends, and then until those that it has taken are done or their time is up.
func Serve(ctx context.Context, l net.Listener, orders Orders, log func(error)) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, orders.Status()) })
	mux.HandleFunc("POST /stop", func(w http.ResponseWriter, _ *http.Request) {
		orders.Stop()
		answer(w, http.StatusOK, struct{}{})
	})
	mux.HandleFunc("POST /agents", func(w http.ResponseWriter, r *http.Request) { startAgent(w, r, orders) })
	server := &http.Server{Handler: mux, ReadHeaderTimeout: headerTime}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	select {
	case err := <-served:
		log(fmt.Errorf("take orders: %w", err))
		return
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), headerTime)
	defer cancel()
	if server.Shutdown(stop) != nil {
		_ = server.Close()
	}
	<-served //nolint:errcheck // it was told to end
}

func startAgent(w http.ResponseWriter, r *http.Request, orders Orders) {
	var agent NewAgent
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOrder)).Decode(&agent); err != nil {
		answer(w, http.StatusBadRequest, refused{Error: err.Error()})
		return
	}
	part, err := orders.StartAgent(r.Context(), agent)
	if err != nil {
		answer(w, http.StatusConflict, refused{Error: err.Error()})
		return
	}
	answer(w, http.StatusOK, part)
}

type refused struct {
	Error string `json:"error"`
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) //nolint:errchkjson // one that has gone away needs no answer
}
