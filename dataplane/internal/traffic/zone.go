package traffic

import (
	"context"
	"regexp"
	"sync"
	"sync/atomic"

	"connectrpc.com/connect/v2"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

const (
	// maxZones bounds the zones that are told apart: clients name theirs.
	maxZones = 100
	// otherZone is what further ones are counted as.
	otherZone = "other"
	// ZoneHeader names the zone of a client whose request does not.
	ZoneHeader = "Streamhouse-Zone"
)

// zones counts bytes by zone and direction.
type zones struct {
	known sync.Map // name → *[directions]atomic.Int64
	count atomic.Int64
}

func (z *zones) add(direction controlplanev1.TrafficDirection, zone string, bytes int64) {
	z.of(zone)[direction].Add(bytes)
}

func (z *zones) of(zone string) *[directions]atomic.Int64 {
	known, ok := z.known.Load(zone)
	if !ok {
		if zone != otherZone && z.count.Add(1) > maxZones {
			z.count.Add(-1)
			return z.of(otherZone)
		}
		if known, ok = z.known.LoadOrStore(zone, &[directions]atomic.Int64{}); ok {
			z.count.Add(-1) // somebody was quicker
		}
	}
	return known.(*[directions]atomic.Int64) //nolint:forcetypeassert // nothing else is stored
}

// each visits what is not zero.
func (z *zones) each(visit func(direction controlplanev1.TrafficDirection, zone string, bytes int64)) {
	z.known.Range(func(zone, value any) bool {
		for direction := range directions {
			if bytes := value.(*[directions]atomic.Int64)[direction].Load(); bytes > 0 { //nolint:forcetypeassert // nothing else is stored
				visit(controlplanev1.TrafficDirection(direction), zone.(string), bytes) //nolint:forcetypeassert // nothing else is stored
			}
		}
		return true
	})
}

var name = regexp.MustCompile(`^[A-Za-z0-9._-]{1,100}$`)

// ClientZone is the zone that a request names, else that of the call's header; empty where neither names one, or what cannot be one.
func ClientZone(ctx context.Context, named string) string {
	if named == "" {
		if info, ok := connect.CallInfoForServerContext(ctx); ok {
			named = info.RequestHeader().Get(ZoneHeader)
		}
	}
	if named == "" || !name.MatchString(named) {
		return ""
	}
	return named
}
