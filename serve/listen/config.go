// Package listen is the HTTP server of both services: Connect, gRPC, gRPC-Web and JSON on one port, over HTTP/1.1 and HTTP/2, with or
// without TLS; authentication, validation, refusals and telemetry in front of every RPC; health, reflection, and a stop with a deadline.
// Nothing here knows which RPCs are behind it.
// Promises: P6 (what is refused here says so, and that nothing was written).
// Read: config.go, server.go, rpc.go, pieces.go, measure.go, health.go, body.go, check.go.
package listen

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"
)

// Config of a listener.
type Config struct {
	Listen      string        `default:"127.0.0.1:8080"                         help:"Address to listen on. Port 0: any free one."`
	TLSCert     string        `placeholder:"FILE"       help:"Certificate chain in PEM. Empty: no TLS."`
	TLSKey      string        `placeholder:"FILE"       help:"Private key in PEM, for --tls-cert."`
	CORSOrigins []string      `placeholder:"ORIGIN"     help:"Origins whose pages may call, e.g. https://console.example.com; * for all. Empty: none."`
	StopTimeout time.Duration `default:"10s"            help:"Longest wait at a stop for calls in flight; then they are cut."`
}

// Validate says what is wrong.
func (c Config) Validate() error {
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return fmt.Errorf("listen: must be HOST:PORT: %w", err)
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return errors.New("tls-cert and tls-key: give both or none")
	}
	if c.StopTimeout <= 0 {
		return errors.New("stop-timeout: must be above 0")
	}
	for _, origin := range c.CORSOrigins {
		if err := validOrigin(origin); err != nil {
			return err
		}
	}
	return nil
}

func validOrigin(origin string) error {
	if origin == "*" {
		return nil
	}
	u, err := url.Parse(origin)
	if err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil {
		return fmt.Errorf("cors-origins: %q must be * or scheme://host[:port]", origin)
	}
	return nil
}

// ValidBaseURL says what is wrong with an advertised address: http or https, a host, nothing else.
func ValidBaseURL(address string) error {
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" ||
		(u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return fmt.Errorf("address %q must be http://host:port or https://host:port", address)
	}
	return nil
}
