// Package peer reaches the other agents of the agent group: a Produce that arrived at the wrong one goes one hop further, and whoever gets a
// partition is told so. Nothing here chooses whom to ask, and nothing is ever sent twice.
//
// Promises: P6 (an error says whether the records may have arrived).
// Read: peer.go.
package peer

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"connectrpc.com/connect/v2"

	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1/dataplanev1connect"
)

// maxClients bounds the addresses that are remembered; beyond it all are forgotten and made anew.
const maxClients = 1024

// awayFor is how long an address that could not be reached is not tried again: when an agent dies, every request that waits for its
// partitions would knock there at the same moment.
const awayFor = 100 * time.Millisecond

// Dial makes the transport to a base URL. It does not connect yet.
type Dial func(address string) connect.Transport

// Peers calls other agents. It is safe for concurrent use.
type Peers struct {
	dial, bulk   Dial
	interceptors []connect.ClientInterceptor

	mu      sync.Mutex
	clients map[way]dataplanev1connect.PeerServiceClient
	away    map[string]absence // by address; bounded like clients
}

// way is an address, and how it is reached.
type way struct {
	address string
	bulk    bool
}

// absence is why an address was not reached, and until when that holds.
type absence struct {
	err   error
	until time.Time
}

// New returns peers that are reached through dial, and through bulk where the answer is large; nil: through dial, too.
func New(dial, bulk Dial, interceptors ...connect.ClientInterceptor) *Peers {
	if bulk == nil {
		bulk = dial
	}
	return &Peers{
		dial: dial, bulk: bulk, interceptors: interceptors, clients: map[way]dataplanev1connect.PeerServiceClient{}, away: map[string]absence{},
	}
}

// ForwardProduce hands a Produce to the agent at address.
func (p *Peers) ForwardProduce(
	ctx context.Context, address string, req *dataplanev1.ForwardProduceRequest,
) (*dataplanev1.ProduceResponse, error) {
	client, err := p.reach(way{address: address})
	if err != nil {
		return nil, err
	}
	res, err := client.ForwardProduce(ctx, req)
	if NeverSent(err) && ctx.Err() == nil {
		p.missed(address, err)
	}
	return res.GetProduce(), err
}

// Client reaches the agent at address for what may be asked of any agent, and asked again. Errors as for reach.
func (p *Peers) Client(address string) (dataplanev1connect.PeerServiceClient, error) {
	return p.reach(way{address: address})
}

// Bulk is Client for calls whose answers are large.
func (p *Peers) Bulk(address string) (dataplanev1connect.PeerServiceClient, error) {
	return p.reach(way{address: address, bulk: true})
}

// TakeOver tells the agent at address what it has been granted.
func (p *Peers) TakeOver(ctx context.Context, address string, req *dataplanev1.TakeOverRequest) error {
	client, err := p.reach(way{address: address})
	if err != nil {
		return err
	}
	_, err = client.TakeOver(ctx, req)
	return err
}

// reach is the client of an address, unless it was not reached just now: then that error, which proves that nothing was sent.
func (p *Peers) reach(to way) (dataplanev1connect.PeerServiceClient, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if away, known := p.away[to.address]; known {
		if time.Now().Before(away.until) {
			return nil, away.err
		}
		delete(p.away, to.address)
	}
	return p.client(to), nil
}

func (p *Peers) missed(address string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.away) >= maxClients {
		clear(p.away)
	}
	p.away[address] = absence{err, time.Now().Add(awayFor)}
}

// client requires mu.
func (p *Peers) client(to way) dataplanev1connect.PeerServiceClient {
	if c, ok := p.clients[to]; ok {
		return c
	}
	if len(p.clients) >= maxClients {
		clear(p.clients)
	}
	dial := p.dial
	if to.bulk {
		dial = p.bulk
	}
	c := dataplanev1connect.NewPeerServiceClient(connect.NewClient(dial(to.address), p.interceptors...))
	p.clients[to] = c
	return c
}

// NeverSent tells whether err proves that no connection was had, so that nothing can have arrived.
func NeverSent(err error) bool {
	dial, ok := errors.AsType[*net.OpError](err)
	return ok && dial.Op == "dial"
}
