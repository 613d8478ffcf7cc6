package client

import (
	"log/slog"
	"os"

	"connectrpc.com/connect/v2"
)

// Client knows the agents of one agent group and, for administration, the control plane. It is safe for
// concurrent use and is meant to be shared; producers and consumers are made from it.
type Client struct {
	zone      string
	logger    *slog.Logger
	agents    *directory
	admin     *Admin
	tracing   *tracing // nil: nothing is traced
	closeIdle func()
}

// New checks the options and returns a client. It makes no connection: the first call does.
func New(options ...Option) (*Client, error) {
	var c config
	for _, o := range options {
		o.applyClient(&c)
	}
	if c.logger == nil {
		c.logger = slog.New(slog.DiscardHandler)
	}
	zone := os.Getenv("STREAMHOUSE_ZONE")
	if c.zone != nil {
		zone = *c.zone
	}
	if len(zone) > 100 {
		return nil, failure(ReasonMisconfigured, "zone: at most 100 bytes")
	}
	traced, err := newTracing(&c)
	if err != nil {
		return nil, err
	}
	cl := &Client{zone: zone, logger: c.logger, tracing: traced, closeIdle: func() {}}
	dial := func(url string, _ bool) connect.Transport { return c.dial(url) }
	if c.dial == nil {
		h := newHTTPTransports(c.tls)
		dial, cl.closeIdle = h.dial, h.close
	}
	connectTo := func(url string, bulk bool) *connect.Client {
		interceptors := []connect.ClientInterceptor{withHeaders(c.key, zone)}
		if traced != nil {
			interceptors = append(interceptors, withTrace)
		}
		return connect.NewClient(dial(url, bulk), interceptors...)
	}
	agents, err := normalURLs(c.agents)
	if err != nil {
		return nil, err
	}
	controlPlanes, err := normalURLs(c.controlPlanes)
	if err != nil {
		return nil, err
	}
	cl.agents = newDirectory(agents, zone, c.logger, connectTo)
	cl.admin = newAdmin(controlPlanes, connectTo)
	return cl, nil
}

func normalURLs(raw []string) ([]string, error) {
	urls := make([]string, 0, len(raw))
	for _, r := range raw {
		u, err := normalURL(r)
		if err != nil {
			return nil, err
		}
		urls = append(urls, u)
	}
	return urls, nil
}

// Zone is the zone that the client prefers; empty: none.
func (c *Client) Zone() string { return c.zone }

// Admin administers topics, keys and the cluster; its calls need WithControlPlane.
func (c *Client) Admin() *Admin { return c.admin }

// Close gives idle connections back. Close producers and consumers before.
func (c *Client) Close() error {
	c.closeIdle()
	return nil
}
