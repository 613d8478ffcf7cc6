package client

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/streamhouse/streamhouse/client/internal/fakecluster"
	"github.com/streamhouse/streamhouse/client/recordbatch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bubble runs a test on virtual time with a cluster and a client of it.
func bubble(t *testing.T, agents []string, test func(t *testing.T, f *fakecluster.Cluster, c *Client), options ...Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := fakecluster.New(agents...)
		c, err := New(append([]Option{
			WithAgents(f.URLs()...), WithControlPlane(fakecluster.ControlPlaneURL), WithTransport(f.Dial), WithZone(""),
		}, options...)...)
		if err != nil {
			t.Fatal(err)
		}
		test(t, f, c)
	})
}

func producer(t *testing.T, c *Client, options ...ProducerOption) *Producer {
	t.Helper()
	p, err := c.NewProducer(options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close(context.Background()) })
	return p
}

// answer is what became of one record.
type answer struct {
	record *Record
	err    error
	after  time.Duration
}

// answers collects what became of records, by their value.
type answers struct {
	began time.Time
	got   chan answer
}

func newAnswers(n int) *answers { return &answers{began: time.Now(), got: make(chan answer, n)} }

func (a *answers) done(r *Record, err error) {
	a.got <- answer{record: r, err: err, after: time.Since(a.began)}
}

func (a *answers) next(t *testing.T) answer {
	t.Helper()
	select {
	case g := <-a.got:
		return g
	case <-time.After(time.Hour):
		t.Fatal("no answer within an hour")
		return answer{}
	}
}

func values(rs []recordbatch.Record) []string {
	var all []string
	for _, r := range rs {
		all = append(all, string(r.Value))
	}
	return all
}

func numbered(topic string, n int) []*Record {
	rs := make([]*Record, n)
	for i := range rs {
		rs[i] = &Record{Topic: topic, Key: []byte(fmt.Sprint(i % 7)), Value: []byte(fmt.Sprint(i))}
	}
	return rs
}

func plain(topic, value string) *Record { return &Record{Topic: topic, Value: []byte(value)} }
