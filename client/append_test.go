package client

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/client/internal/fakecluster"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
)

func TestAppendOnlyWhereExpected(t *testing.T) {
	bubble(t, []string{"a1", "a2"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 2)
		first := []*Record{{Value: []byte("0")}, {Value: []byte("1")}}
		if base, err := c.Append(t.Context(), "orders", 1, 0, first...); err != nil || base != 0 || first[1].Offset != 1 {
			t.Fatalf("base %d, %v", base, err)
		}
		_, err := c.Append(t.Context(), "orders", 1, 0, &Record{Value: []byte("x")})
		e, _ := errors.AsType[*Error](err)
		if !errors.Is(err, ReasonExpectedOffset) || e.Written != SurelyNotWritten || e.Offsets.Next != 2 {
			t.Fatalf("got %v", err)
		}
		if base, err := c.Append(t.Context(), "orders", 1, AnyOffset, &Record{Value: []byte("2")}); err != nil || base != 2 {
			t.Fatalf("base %d, %v", base, err)
		}
		f.Kill("a2")
		time.AfterFunc(time.Second, func() { f.TakeOver("a1") })
		if base, err := c.Append(t.Context(), "orders", 1, 3, &Record{Value: []byte("3")}); err != nil || base != 3 {
			t.Fatalf("after the leader died: base %d, %v", base, err)
		}
		if got := values(f.Log("orders", 1)); !slices.Equal(got, []string{"0", "1", "2", "3"}) {
			t.Errorf("stored %v", got)
		}
	})
}

func TestP6_AppendNeverRepeatsWhatMayBeWritten(t *testing.T) {
	bubble(t, []string{"a1"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 1)
		f.OnProduce(func(string, *dataplanev1.ProduceRequest) fakecluster.Fault { return fakecluster.Fault{Lose: true} })
		_, err := c.Append(t.Context(), "orders", 0, AnyOffset, &Record{Value: []byte("0")})
		if WrittenBy(err) != PossiblyWritten || f.Requests("a1", "Produce") != 1 {
			t.Errorf("got %v after %d requests", err, f.Requests("a1", "Produce"))
		}
	})
}

func TestAppendChecksItsArguments(t *testing.T) {
	bubble(t, []string{"a1"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 1)
		for want, call := range map[Reason]func() (int64, error){
			ReasonUnknownTopic:     func() (int64, error) { return c.Append(t.Context(), "nowhere", 0, 0, &Record{}) },
			ReasonUnknownPartition: func() (int64, error) { return c.Append(t.Context(), "orders", 1, 0, &Record{}) },
			ReasonEmptyBatch:       func() (int64, error) { return c.Append(t.Context(), "orders", 0, 0) },
			ReasonInvalid:          func() (int64, error) { return c.Append(t.Context(), "orders", 0, -2, &Record{}) },
			ReasonRecordTooLarge: func() (int64, error) {
				return c.Append(t.Context(), "orders", 0, 0, &Record{Value: make([]byte, 1<<20+1)})
			},
		} {
			if _, err := call(); !errors.Is(err, want) || WrittenBy(err) != SurelyNotWritten {
				t.Errorf("got %v, want %v, surely not written", err, want)
			}
		}
	})
}
