// Package client is StreamHouse's Go SDK: it produces records, consumes them, and administers a cluster.
//
//	c, err := client.New(
//		client.WithAgents("http://10.0.3.7:8080"),       // any agent of the agent group; it names the others
//		client.WithControlPlane("http://10.0.1.4:9090"), // only for c.Admin()
//		client.WithAPIKey(os.Getenv("STREAMHOUSE_API_KEY")),
//	)
//	p, err := c.NewProducer()
//	p.Produce(ctx, &client.Record{Topic: "orders", Key: key, Value: value}, nil)
//	err = p.Flush(ctx) // tells of every record that failed
//
//	k, err := c.NewConsumer(ctx, "orders", client.From(client.Beginning()))
//	for r, err := range k.Records(ctx) { … }
//
// # What it guarantees
//
// P1: done(r, nil) under AcksDurable (the default) means that the record is in the bucket and committed.
//
// P2: a producer's records of one partition are stored in the order of Produce. A consumer returns each offset
// of a partition once, in order, without a hole, whatever agents it has to change.
//
// P5: a producer is idempotent unless told otherwise: whatever is lost on the way, it repeats under the same
// sequence, so that no record is stored twice. Where it stays unknown whether a batch was stored, its sequences
// are never used for others: the partition goes on under a new producer id.
//
// P6: every [*Error] of a write says whether the record was surely not, or possibly, written. Only a server's own
// typed refusal, or a connection that was never made, counts as "surely not".
//
// # What may not live here
//
// Nothing of the servers, of the database or of the bucket; no state on disk; no dependency beyond Connect,
// protobuf and LZ4. Time is package time alone and servers are reached through [WithTransport], so that a program
// can run clients and servers in one process on virtual time.
//
// # Reading order
//
// record.go, error.go and reason.go: what users see. client.go, option.go, transport.go: what a client is made of.
// directory.go: who leads what, which agents are better. The way in: producer.go, intake.go (Produce: partitions, open
// batches), budget.go (memory), batch.go, lane.go (order, sequences, what an outcome means: pure), send.go (what is sent
// when and where), attempt.go (one request), outcome.go (verdicts, callbacks), identity.go, partition.go, backoff.go.
// append.go: the conditional append. consumer.go, fetch.go, codec.go, memory.go, views.go: the way out. offsets.go, metadata.go: questions. admin.go,
// agent.go, placement.go, status.go, group.go, catalog.go: administration. Package recordbatch, below, is the codec.
package client
