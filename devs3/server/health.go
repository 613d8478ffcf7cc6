package server

import (
	"context"
	"fmt"
	"net/http"
	"strings"
)

// CheckHealth returns nil when the server at endpoint (http://host:port) answers its health path.
func CheckHealth(ctx context.Context, endpoint string) error {
	url := strings.TrimSuffix(endpoint, "/") + HealthPath
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("check health: %w", err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return fmt.Errorf("check health: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("check health: %s answered %s", url, resp.Status)
	}
	return nil
}
