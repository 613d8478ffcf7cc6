package listen

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

var (
	errUnknownService = errors.New("unknown service")
	errOtherCert      = errors.New("the listener shows another certificate than tls-cert")
)

// localURL turns a listen address into a URL for this machine: a wildcard host becomes loopback.
func localURL(address string, encrypted bool) string {
	scheme := "http"
	if encrypted {
		scheme = "https"
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return scheme + "://" + address
	}
	if wildcard(host) {
		host = "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

func wildcard(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || (ip != nil && ip.IsUnspecified())
}

// remoteURL is localURL for other machines: a wildcard host becomes the first of the machine's addresses that they can reach, IPv4 before
// IPv6; loopback if it has none.
func remoteURL(address string, encrypted bool, own []net.Addr) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil || !wildcard(host) {
		return localURL(address, encrypted)
	}
	found := ""
	for _, a := range own {
		network, is := a.(*net.IPNet)
		if !is || !network.IP.IsGlobalUnicast() {
			continue
		}
		if v4 := network.IP.To4() != nil; v4 || found == "" {
			found = network.IP.String()
			if v4 {
				break
			}
		}
	}
	return localURL(net.JoinHostPort(found, port), encrypted)
}

// Healthcheck asks a listener of this machine, described by its own configuration, whether it is ready.
func Healthcheck(ctx context.Context, config Config) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout+time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, localURL(config.Listen, config.TLSCert != "")+"/readyz", nil)
	if err != nil {
		return fmt.Errorf("healthcheck: %w", err)
	}
	transport, err := pinned(config)
	if err != nil {
		return err
	}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return fmt.Errorf("healthcheck: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
		return fmt.Errorf("not ready: %s", said)
	}
	return nil
}

// pinned makes a transport that trusts the listener's own certificate and no other: it is issued for the advertised name, not loopback.
func pinned(config Config) (*http.Transport, error) {
	if config.TLSCert == "" {
		return &http.Transport{}, nil
	}
	own, err := tls.LoadX509KeyPair(config.TLSCert, config.TLSKey)
	if err != nil {
		return nil, fmt.Errorf("load certificate: %w", err)
	}
	verify := func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 || !bytes.Equal(state.PeerCertificates[0].Raw, own.Certificate[0]) {
			return errOtherCert
		}
		return nil
	}
	return &http.Transport{TLSClientConfig: &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // the next line compares the certificate itself, which is stricter than its name
		VerifyConnection:   verify,
	}}, nil
}
