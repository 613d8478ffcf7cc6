// Package peer reaches the other agents of the agent group: a Produce that arrived at the wrong one goes one hop further.
// Nothing here chooses whom to ask, and nothing is ever sent twice.
//
// Promises: P6 (an error says whether the records may have arrived).
// Read: peer.go.
package peer

import (
	"context"
	"errors"
	"net"
	"sync"

	"connectrpc.com/connect/v2"

	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1/dataplanev1connect"
)

// maxClients bounds the addresses that are remembered; beyond it all are forgotten and made anew.
const maxClients = 1024

// Dial makes the transport to a base URL. It does not connect yet.
type Dial func(address string) connect.Transport

// Peers calls other agents. It is safe for concurrent use.
type Peers struct {
	dial         Dial
	interceptors []connect.ClientInterceptor

	mu      sync.Mutex
	clients map[string]dataplanev1connect.PeerServiceClient
}

// New returns peers that are reached through dial.
func New(dial Dial, interceptors ...connect.ClientInterceptor) *Peers {
	return &Peers{dial: dial, interceptors: interceptors, clients: map[string]dataplanev1connect.PeerServiceClient{}}
}

// ForwardProduce hands a Produce to the agent at address.
func (p *Peers) ForwardProduce(ctx context.Context, address string, req *dataplanev1.ProduceRequest) (*dataplanev1.ProduceResponse, error) {
	res, err := p.client(address).ForwardProduce(ctx, &dataplanev1.ForwardProduceRequest{Produce: req})
	return res.GetProduce(), err
}

func (p *Peers) client(address string) dataplanev1connect.PeerServiceClient {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c, ok := p.clients[address]; ok {
		return c
	}
	if len(p.clients) >= maxClients {
		clear(p.clients)
	}
	c := dataplanev1connect.NewPeerServiceClient(connect.NewClient(p.dial(address), p.interceptors...))
	p.clients[address] = c
	return c
}

// NeverSent tells whether err proves that no connection was had, so that nothing can have arrived.
func NeverSent(err error) bool {
	dial, ok := errors.AsType[*net.OpError](err)
	return ok && dial.Op == "dial"
}
