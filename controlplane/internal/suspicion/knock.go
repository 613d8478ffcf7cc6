package suspicion

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"
)

// HTTP knocks with GET /healthz. Whatever comes back is an answer. No proxy is asked and no redirect followed: what they refuse says
// nothing about the agent.
func HTTP() Knock {
	client := &http.Client{
		Transport: &http.Transport{
			DialContext:       (&net.Dialer{KeepAlive: -1}).DialContext,
			DisableKeepAlives: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       time.Minute, // Asker's contexts are shorter
	}
	return func(ctx context.Context, address string) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/healthz", nil)
		if err != nil {
			return fmt.Errorf("address of agent: %w", err)
		}
		response, err := client.Do(request)
		if err != nil {
			return fmt.Errorf("knock: %w", err)
		}
		_ = response.Body.Close()
		return nil
	}
}
