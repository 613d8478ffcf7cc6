package peer

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"

	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
)

// absent is a transport that opens no stream.
type absent struct {
	dials *int
	err   error
}

func (a absent) NewClientStream(context.Context, connect.Spec) (connect.ClientStream, error) {
	*a.dials++
	return nil, a.err
}

func TestP6_AnAddressThatWasNotReachedIsLeftAloneForAMoment(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	for name, c := range map[string]struct {
		err   error
		dials int // of three calls at once, and one later
	}{
		"refused":                      {refused, 2},
		"lost: something was sent":     {&net.OpError{Op: "read", Err: syscall.ECONNRESET}, 4},
		"an error of another kind too": {errors.New("broken"), 4},
	} {
		synctest.Test(t, func(t *testing.T) {
			dials := 0
			peers := New(func(string) connect.Transport { return absent{&dials, c.err} }, nil)
			ask := func() {
				t.Helper()
				_, err := peers.ForwardProduce(t.Context(), "http://a", &dataplanev1.ForwardProduceRequest{})
				if err == nil || NeverSent(err) != errors.Is(c.err, syscall.ECONNREFUSED) {
					t.Errorf("%s: %v", name, err)
				}
			}
			ask()
			ask()
			ask()
			time.Sleep(awayFor)
			ask()
			if dials != c.dials {
				t.Errorf("%s: %d dials", name, dials)
			}
		})
	}
}

// TestLargeAnswersHaveAWayOfTheirOwn: each way is made once for an address, and an address that was not reached is left alone by both.
func TestLargeAnswersHaveAWayOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plain, bulk, made := 0, 0, 0
		refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
		dial := func(calls *int) Dial {
			return func(string) connect.Transport {
				made++
				return absent{calls, refused}
			}
		}
		peers := New(dial(&plain), dial(&bulk))
		for range 3 {
			c, err := peers.Bulk("http://a")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.ReadObject(t.Context(), &dataplanev1.ReadObjectRequest{}); !NeverSent(err) {
				t.Error(err)
			}
		}
		if _, err := peers.ForwardProduce(t.Context(), "http://a", &dataplanev1.ForwardProduceRequest{}); !NeverSent(err) {
			t.Error(err)
		}
		if plain != 1 || bulk != 3 || made != 2 {
			t.Errorf("%d calls, %d of them for large answers, by %d transports", plain+bulk, bulk, made)
		}
		if _, err := peers.Bulk("http://a"); !NeverSent(err) {
			t.Errorf("an address that was not reached just now: %v", err)
		}
	})
}
