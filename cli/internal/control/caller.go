package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
)

// Caller gives orders over a socket.
type Caller struct{ Socket string }

// Status lists the parts.
func (c Caller) Status(ctx context.Context) ([]Part, error) {
	var parts []Part
	return parts, c.call(ctx, http.MethodGet, "/status", nil, &parts)
}

// Stop makes the cluster stop; it has not stopped yet when this returns.
func (c Caller) Stop(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/stop", struct{}{}, &struct{}{})
}

// StartAgent starts an agent and waits until it is ready.
func (c Caller) StartAgent(ctx context.Context, agent NewAgent) (Part, error) {
	var part Part
	return part, c.call(ctx, http.MethodPost, "/agents", agent, &part)
}

func (c Caller) call(ctx context.Context, method, path string, body, into any) error {
	sent, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("give order: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://dev"+path, bytes.NewReader(sent))
	if err != nil {
		return fmt.Errorf("give order: %w", err)
	}
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", c.Socket)
		},
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return fmt.Errorf("speak with the running dev: %w", err)
	}
	defer response.Body.Close()
	return read(response, into)
}

func read(response *http.Response, into any) error {
	if response.StatusCode == http.StatusOK {
		if err := json.NewDecoder(response.Body).Decode(into); err != nil {
			return fmt.Errorf("speak with the running dev: %w", err)
		}
		return nil
	}
	var r refused
	if err := json.NewDecoder(response.Body).Decode(&r); err != nil || r.Error == "" {
		return fmt.Errorf("speak with the running dev: it answered %s", response.Status)
	}
	return errors.New(r.Error)
}
