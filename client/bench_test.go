package client

import (
	"context"
	"fmt"
	"testing"

	"github.com/streamhouse/streamhouse/client/internal/fakecluster"
)

// BenchmarkProduce measures Produce to callback against agents in the same process, keyed records of 100 bytes.
func BenchmarkProduce(b *testing.B) {
	f := fakecluster.New("a1", "a2", "a3")
	f.CreateTopic("orders", 6)
	c, err := New(WithAgents(f.URLs()...), WithTransport(f.Dial), WithZone(""))
	if err != nil {
		b.Fatal(err)
	}
	p, err := c.NewProducer()
	if err != nil {
		b.Fatal(err)
	}
	keys := make([][]byte, 1000)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "customer-%d", i)
	}
	value := []byte("a line of text such as people write, neither short nor long, that compresses a bit, not too much…")
	records := make([]Record, 1<<12)
	b.ReportAllocs()
	b.SetBytes(int64(len(value)))
	i := 0
	for b.Loop() {
		r := &records[i%len(records)]
		*r = Record{Topic: "orders", Key: keys[i%len(keys)], Value: value}
		p.Produce(context.Background(), r, nil)
		i++
		if i%len(records) == 0 { // the records are the producer's until they are stored
			if err := p.Flush(context.Background()); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := p.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
}
