package cluster

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// Proxy is a way between two parts that a test can cut.
type Proxy struct {
	// URL is where the proxy listens.
	URL   string
	proxy *toxiproxy.Proxy
}

type proxies struct{ server *toxiproxy.ApiServer }

func newProxies(t testing.TB) *proxies {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	t.Cleanup(func() { _ = server.Collection.Clear() })
	return &proxies{server: server}
}

// add opens a way to the server at base, an http URL.
func (p *proxies) add(t testing.TB, name, base string) *Proxy {
	t.Helper()
	target, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	proxy := toxiproxy.NewProxy(p.server, name, "127.0.0.1:0", target.Host)
	if err := p.server.Collection.Add(proxy, true); err != nil {
		t.Fatalf("proxy %s: %v", name, err)
	}
	return &Proxy{URL: "http://" + proxy.Listen, proxy: proxy}
}

// Refuse ends every connection and refuses new ones, as if the server were gone.
func (p *Proxy) Refuse() { p.proxy.Stop() }

// Accept undoes Refuse.
func (p *Proxy) Accept(t testing.TB) {
	t.Helper()
	if err := p.proxy.Start(); err != nil {
		t.Fatalf("proxy %s: %v", p.proxy.Name, err)
	}
}

// Silence swallows requests: connections stay open and nothing arrives.
func (p *Proxy) Silence(t testing.TB) {
	t.Helper()
	p.toxic(t, "silence-up", "timeout", "upstream", `{"timeout":0}`)
	p.toxic(t, "silence-down", "timeout", "downstream", `{"timeout":0}`)
}

// LoseAnswers lets requests through and swallows what comes back.
func (p *Proxy) LoseAnswers(t testing.TB) {
	t.Helper()
	p.toxic(t, "lose-answers", "timeout", "downstream", `{"timeout":0}`)
}

// Delay holds back what comes back.
func (p *Proxy) Delay(t testing.TB, by time.Duration) {
	t.Helper()
	p.toxic(t, "delay", "latency", "downstream", fmt.Sprintf(`{"latency":%d}`, by.Milliseconds()))
}

// Restore undoes Silence, LoseAnswers and Delay. Connections that were silenced are cut: what they swallowed is gone.
func (p *Proxy) Restore(ctx context.Context) { p.proxy.Toxics.ResetToxics(ctx) }

func (p *Proxy) toxic(t testing.TB, name, kind, stream, attributes string) {
	t.Helper()
	spec := fmt.Sprintf(`{"name":%q,"type":%q,"stream":%q,"attributes":%s}`, name, kind, stream, attributes)
	if _, err := p.proxy.Toxics.AddToxicJson(strings.NewReader(spec)); err != nil {
		t.Fatalf("proxy %s: %v", p.proxy.Name, err)
	}
}
