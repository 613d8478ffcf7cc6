package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"time"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/client/internal/fakecluster"
)

// connect returns a client of a cluster in memory. Against a real one, leave WithTransport out:
//
//	client.New(client.WithAgents("http://127.0.0.1:8081"), client.WithControlPlane("http://127.0.0.1:8080"),
//		client.WithAPIKey(os.Getenv("STREAMHOUSE_API_KEY")))
func connect() *client.Client {
	cluster := fakecluster.New("agent-1/az-a", "agent-2/az-b")
	c, err := client.New(
		client.WithAgents(cluster.URLs()...),
		client.WithControlPlane(fakecluster.ControlPlaneURL),
		client.WithAPIKey("shk_example"),
		client.WithZone("az-a"),
		client.WithTransport(cluster.Dial),
	)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := c.Admin().CreateTopic(context.Background(), client.NewTopic{Name: "orders", PartitionCount: 3}); err != nil {
		log.Fatal(err)
	}
	return c
}

// Read records as views: nothing is allocated for a record, and what a view holds is valid until the next PollBatch.
func ExampleConsumer_PollBatch() {
	ctx := context.Background()
	c := connect()
	defer c.Close()
	if _, err := c.Append(ctx, "orders", 0, 0, &client.Record{Value: []byte("one")}, &client.Record{Value: []byte("two")}); err != nil {
		log.Fatal(err)
	}
	k, err := c.NewConsumer(ctx, "orders", client.From(client.Beginning()), client.UntilEnd())
	if err != nil {
		log.Fatal(err)
	}
	defer k.Close()
	for {
		batch, err := k.PollBatch(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		var v client.View
		for batch.Next(&v) {
			fmt.Println(v.Offset, string(v.Value))
		}
		if err := batch.Err(); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// 0 one
	// 1 two
}

// Produce many records, then read all of them.
func Example() {
	ctx := context.Background()
	c := connect()
	defer c.Close()

	p, err := c.NewProducer()
	if err != nil {
		log.Fatal(err)
	}
	for i := range 1000 {
		p.Produce(ctx, &client.Record{
			Topic: "orders",
			Key:   fmt.Appendf(nil, "customer-%d", i%10),
			Value: fmt.Appendf(nil, "order %d", i),
		}, nil) // no callback: Close tells whether any record failed
	}
	if err := p.Close(ctx); err != nil {
		log.Fatal(err)
	}

	k, err := c.NewConsumer(ctx, "orders", client.From(client.Beginning()), client.UntilEnd())
	if err != nil {
		log.Fatal(err)
	}
	defer k.Close()
	n := 0
	for _, err := range k.Records(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		n++
	}
	fmt.Println("read", n, "records")
	// Output: read 1000 records
}

// The callback hears of every record, once, in order by partition.
func ExampleProducer_Produce() {
	ctx := context.Background()
	c := connect()
	p, err := c.NewProducer(client.WithLinger(10 * time.Millisecond))
	if err != nil {
		log.Fatal(err)
	}
	record := &client.Record{Topic: "orders", Key: []byte("customer-1"), Value: []byte("an order")}
	p.Produce(ctx, record, func(r *client.Record, err error) {
		if err != nil {
			fmt.Println("failed:", err)
			return
		}
		fmt.Printf("%s is at offset %d\n", r.Value, r.Offset)
	})
	if err := p.Close(ctx); err != nil {
		log.Fatal(err)
	}
	// Output: an order is at offset 0
}

// Errors say why, and what became of the record.
func ExampleProducer_ProduceSync() {
	ctx := context.Background()
	c := connect()
	p, err := c.NewProducer()
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close(ctx)

	large := &client.Record{Topic: "orders", Value: make([]byte, 2<<20)}
	err = p.ProduceSync(ctx, large)
	if errors.Is(err, client.ReasonRecordTooLarge) {
		fmt.Println("too large,", client.WrittenBy(err))
	}
	// Output: too large, surely not written
}

// Poll returns what is there, and waits if nothing is. Offsets tells where another consumer would go on.
func ExampleConsumer_Poll() {
	ctx := context.Background()
	c := connect()
	p, err := c.NewProducer()
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close(ctx)

	k, err := c.NewConsumer(ctx, "orders", client.Partitions(2)) // from the end on
	if err != nil {
		log.Fatal(err)
	}
	defer k.Close()
	record := &client.Record{Topic: "orders", Value: []byte("hello"), Partition: 2, UsePartition: true}
	if err := p.ProduceSync(ctx, record); err != nil {
		log.Fatal(err)
	}
	records, err := k.Poll(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s, then %v\n", records[0].Value, k.Offsets())
	// Output: hello, then map[2:1]
}

// A consumer may start at a time, and end where the topic ended when it began.
func ExampleClient_NewConsumer() {
	ctx := context.Background()
	c := connect()
	p, err := c.NewProducer()
	if err != nil {
		log.Fatal(err)
	}
	noon := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for i := range 4 {
		p.Produce(ctx, &client.Record{
			Topic: "orders", Key: []byte("k"), Value: fmt.Appendf(nil, "at %d past", i), Timestamp: noon.Add(time.Duration(i) * time.Minute),
		}, nil)
	}
	if err := p.Close(ctx); err != nil {
		log.Fatal(err)
	}
	k, err := c.NewConsumer(ctx, "orders", client.From(client.AtTime(noon.Add(2*time.Minute))), client.UntilEnd())
	if err != nil {
		log.Fatal(err)
	}
	defer k.Close()
	for r, err := range k.Records(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(string(r.Value))
	}
	// Output:
	// at 2 past
	// at 3 past
}

// Of several writers that expect the same offset, one wins.
func ExampleClient_Append() {
	ctx := context.Background()
	c := connect()
	if _, err := c.Append(ctx, "orders", 0, 0, &client.Record{Value: []byte("leader: a")}); err != nil {
		log.Fatal(err)
	}
	_, err := c.Append(ctx, "orders", 0, 0, &client.Record{Value: []byte("leader: b")})
	var refused *client.Error
	if errors.As(err, &refused) && refused.Reason == client.ReasonExpectedOffset {
		fmt.Println("somebody was first; the next offset is", refused.Offsets.Next)
	}
	// Output: somebody was first; the next offset is 1
}

func ExampleClient_ListOffsets() {
	ctx := context.Background()
	c := connect()
	if _, err := c.Append(ctx, "orders", 1, client.AnyOffset, &client.Record{}, &client.Record{}); err != nil {
		log.Fatal(err)
	}
	ends, err := c.ListOffsets(ctx, "orders", client.End())
	if err != nil {
		log.Fatal(err)
	}
	for _, e := range ends {
		fmt.Printf("partition %d ends at %d\n", e.Partition, e.Offset)
	}
	// Output:
	// partition 0 ends at 0
	// partition 1 ends at 2
	// partition 2 ends at 0
}

func ExampleAdmin() {
	ctx := context.Background()
	admin := connect().Admin()
	limit := int32(64 << 10)
	topic, err := admin.CreateTopic(ctx, client.NewTopic{
		Name: "clicks", PartitionCount: 6, Config: client.TopicConfig{MaxRecordBytes: &limit},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(topic.Name, topic.PartitionCount, topic.MaxRecordBytes)
	_, err = admin.CreateTopic(ctx, client.NewTopic{Name: "clicks", PartitionCount: 6})
	fmt.Println(errors.Is(err, client.ReasonTopicExists))
	leases, err := admin.ListLeases(ctx, client.LeaseFilter{Topic: "clicks", LeaderAgentID: "agent-2"})
	if err != nil {
		log.Fatal(err)
	}
	for _, l := range leases {
		fmt.Println(l.Partition, l.LeaderAgentID, l.Epoch)
	}
	// Output:
	// clicks 6 65536
	// true
	// 1 agent-2 1
	// 3 agent-2 1
	// 5 agent-2 1
}
