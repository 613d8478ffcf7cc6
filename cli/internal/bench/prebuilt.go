package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1/dataplanev1connect"
)

// prebuilt sends the same batches again and again, but for their time, each to its leader: what agents, bucket and catalog can do where clients cost nothing.
// The senders share one schedule, in requests.
type prebuilt struct {
	config  ProduceConfig
	tally   *tally
	http    *http.Client
	senders []*batchSender
	records int // of a request
}

// batchSender is one request at a time to one agent.
type batchSender struct {
	home    *prebuilt
	client  dataplanev1connect.RecordServiceClient
	request *dataplanev1.ProduceRequest
}

// requestBytes is about how many bytes of batches, as stored, a request carries.
const requestBytes = 1 << 20

// httpClient speaks HTTP/1.1: on one machine that is the cheapest way for large messages.
func httpClient() *http.Client {
	return &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 256, ReadBufferSize: 64 << 10, WriteBufferSize: 64 << 10, DisableCompression: true,
	}}
}

// agentClient calls one agent with the API key.
func agentClient(client *http.Client, apiKey, url string) dataplanev1connect.RecordServiceClient {
	transport := connecthttp.NewTransport(client, url, connecthttp.WithReadMaxBytes(16<<20), connecthttp.WithCompressors())
	return dataplanev1connect.NewRecordServiceClient(connect.NewClient(transport, authorize(apiKey)))
}

// authorize sends the API key with every call.
func authorize(apiKey string) connect.ClientInterceptor {
	return func(next connect.ClientFunc) connect.ClientFunc {
		return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
			if info, ok := connect.CallInfoForClientContext(ctx); ok {
				info.RequestHeader().Set("Authorization", "Bearer "+apiKey)
			}
			return next(ctx, spec)
		}
	}
}

func newPrebuilt(ctx context.Context, target Target, c ProduceConfig, t *tally, values *payload, topics *topics) (*prebuilt, error) {
	p := &prebuilt{config: c, tally: t, http: httpClient()}
	batch, records, err := values.batch(c.BatchBytes, c.Keyed)
	if err != nil {
		return nil, err
	}
	entries := max(requestBytes/len(batch), 1)
	p.records = records * entries
	homes, err := p.homes(ctx, topics)
	if err != nil {
		return nil, err
	}
	acks := dataplanev1.Acks_ACKS_DURABLE
	if c.Acks == AcksBuffered {
		acks = dataplanev1.Acks_ACKS_BUFFERED
	}
	for i := range c.Producers * c.InFlight { // round the agents, and round the partitions of each
		home := homes[i%len(homes)]
		request := &dataplanev1.ProduceRequest{Acks: acks}
		for j := range entries {
			at := home.partitions[(i/len(homes)*entries+j)%len(home.partitions)]
			request.Entries = append(request.Entries, &dataplanev1.ProduceEntry{
				Topic: &dataplanev1.ProduceEntry_TopicId{TopicId: at.topicID}, Partition: &at.partition, // as the SDK does: names are looked up anew
				Payload: &dataplanev1.ProduceEntry_Batch{Batch: bytes.Clone(batch)}, // send stamps it
			})
		}
		p.senders = append(p.senders, &batchSender{home: p, client: agentClient(p.http, target.APIKey, home.url), request: request})
	}
	return p, nil
}

// home is an agent with what it leads.
type home struct {
	url        string
	partitions []place
}

type place struct {
	topicID   string
	partition int32
}

func (p *prebuilt) homes(ctx context.Context, topics *topics) ([]*home, error) {
	var all []*home
	byURL := map[string]*home{}
	for _, topic := range topics.names {
		metadata, err := metadataOf(ctx, topics.sdk, topic)
		if err != nil {
			return nil, err
		}
		for partition, l := range metadata.Leaders {
			h := byURL[l.Address]
			if h == nil {
				h = &home{url: l.Address}
				byURL[l.Address], all = h, append(all, h)
			}
			h.partitions = append(h.partitions, place{metadata.ID, int32(partition)})
		}
	}
	return all, nil
}

func (p *prebuilt) run(ctx context.Context, s schedule) error {
	s.rate /= float64(p.records) // requests, from here on
	if s.limit != noLimit {
		s.limit = (s.limit + int64(p.records) - 1) / int64(p.records)
	}
	var sending sync.WaitGroup
	for i, sender := range p.senders {
		sending.Go(func() {
			s.part(i, len(p.senders)).run(ctx, 1, func(n int64, _ int, due func(int64) time.Time) { sender.send(ctx, due(n)) })
		})
	}
	sending.Wait()
	return ctx.Err()
}

// retryWait is how long a request waits after it was refused for want of room.
const retryWait = 20 * time.Millisecond

// send sends the request, with the present time as that of its records, until it is answered with something else than OVERLOADED.
func (s *batchSender) send(ctx context.Context, due time.Time) {
	for _, e := range s.request.GetEntries() {
		if err := recordbatch.SetTime(e.GetBatch(), time.Now().UnixMilli()); err != nil {
			s.home.tally.fail(int64(s.home.records), fmt.Errorf("stamp a batch: %w", err))
			return
		}
	}
	for {
		answer, err := s.client.Produce(ctx, s.request)
		full := connect.CodeOf(err) == connect.CodeResourceExhausted
		for _, o := range answer.GetOutcomes() {
			if r := o.GetRefusal(); r != nil && err == nil {
				err = errors.New(r.GetMessage())
				full = r.GetRetryAfterMs() > 0
			}
		}
		switch {
		case err == nil:
			s.home.tally.acked.Add(int64(s.home.records))
			if s.home.tally.counted.Load().holds(due) {
				s.home.tally.latency.Add(time.Since(due))
			}
			return
		case ctx.Err() != nil:
			return
		case !full:
			s.home.tally.fail(int64(s.home.records), fmt.Errorf("produce: %w", err))
			return
		}
		s.home.tally.retries.Add(1)
		if !pause(ctx, retryWait) {
			return
		}
	}
}

// flush: every run waits for its answers.
func (p *prebuilt) flush(context.Context) error { return nil }

func (p *prebuilt) retries() int64 { return p.tally.retries.Load() }

func (p *prebuilt) close(context.Context) error {
	p.http.CloseIdleConnections()
	return nil
}
