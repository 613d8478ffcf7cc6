package cluster

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/e2e/process"
)

// Network is where the parts of a cluster run: a place for each zone, and the region, whose name is empty, for PostgreSQL, the bucket, and the test
// itself.
type Network interface {
	// Address is the IP address of a place.
	Address(zone string) string
	// Enter leads the calling thread to a place.
	Enter(zone string) error
}

// loopback is one place for everything: this one.
type loopback struct{}

func (loopback) Address(string) string { return "127.0.0.1" }
func (loopback) Enter(string) error    { return nil }

// place is one place of a network.
type place struct {
	network Network
	zone    string
}

func (c *Cluster) place(zone string) place { return place{c.Options.Network, zone} }

// address that a part in the zone can listen on.
func (c *Cluster) address(t testing.TB, zone string) string {
	t.Helper()
	return net.JoinHostPort(c.Options.Network.Address(zone), strconv.Itoa(process.FreePort(t)))
}

func (p place) enter() error { return p.network.Enter(p.zone) }

// dial connects from this place. The address must be numeric: a name might be looked up on another thread.
func (p place) dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: 2 * time.Second, KeepAlive: 15 * time.Second}
	if p.network == (loopback{}) {
		return dialer.DialContext(ctx, network, address)
	}
	var connection net.Conn
	err := process.Within(p.enter, func() (err error) {
		connection, err = dialer.DialContext(ctx, network, address)
		return err
	})
	return connection, err
}

// transport makes requests from this place, by HTTP/2 where h2 is true.
func (p place) transport(h2 bool) *http.Transport {
	t := &http.Transport{DialContext: p.dial, IdleConnTimeout: 90 * time.Second, MaxIdleConnsPerHost: 16, DisableCompression: true, Protocols: new(http.Protocols)}
	t.Protocols.SetHTTP1(!h2)
	t.Protocols.SetUnencryptedHTTP2(h2)
	t.HTTP2 = &http.HTTP2Config{SendPingTimeout: 5 * time.Second, PingTimeout: 10 * time.Second} // as the SDK does: a silent peer is given up
	return t
}

// HTTP makes requests from the region.
func (c *Cluster) HTTP() http.RoundTripper {
	if c.Options.Network == (loopback{}) {
		return http.DefaultTransport
	}
	return c.place("").transport(false)
}

// From are the options of an SDK client that runs in the zone ("": in the region, which is no zone).
func (c *Cluster) From(zone string) []client.Option {
	var options []client.Option
	if zone != "" {
		options = append(options, client.WithZone(zone))
	}
	if c.Options.Network == (loopback{}) {
		return options
	}
	transport := sync.OnceValue(func() *http.Transport { return c.place(zone).transport(true) })
	return append(options, client.WithTransport(func(url string) connect.Transport {
		return connecthttp.NewTransport(&http.Client{Transport: transport()}, url, connecthttp.WithReadMaxBytes(16<<20), connecthttp.WithCompressors())
	}))
}

// controlPlanesFrom are the addresses of the control planes, those of the zone first.
func (c *Cluster) controlPlanesFrom(zone string) []string {
	var near, far []string
	for _, p := range c.ControlPlanes {
		if p.Zone == zone && c.Options.Network != (loopback{}) {
			near = append(near, p.URL)
		} else {
			far = append(far, p.URL)
		}
	}
	return append(near, far...)
}

// answers is nil when a GET of the URL succeeds from this place.
func (p place) answers(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	transport := http.DefaultTransport
	if p.network != (loopback{}) {
		own := p.transport(false)
		defer own.CloseIdleConnections()
		transport = own
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return err
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	return nil
}
