package failover

import (
	"context"
	"net/http"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1/dataplanev1connect"
)

// claimTimeout bounds a question to one agent.
const claimTimeout = 5 * time.Second

// claims asks agents one by one what they themselves lead. The SDK asks any agent, which may have heard of a new leader later than that
// leader began to accept.
type claims struct {
	http   *http.Client
	apiKey string
	topic  string
}

func newClaims(apiKey, topic string) *claims {
	return &claims{http: &http.Client{Transport: &http.Transport{}}, apiKey: apiKey, topic: topic}
}

func (c *claims) close() { c.http.CloseIdleConnections() }

// of lists the partitions that the agent leads and takes batches for; none if it does not answer.
func (c *claims) of(ctx context.Context, agent Agent) map[int32]bool {
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	records := dataplanev1connect.NewRecordServiceClient(connect.NewClient(connecthttp.NewTransport(c.http, agent.URL), c.authorize))
	answer, err := records.GetMetadata(ctx, &dataplanev1.GetMetadataRequest{Topics: []string{c.topic}})
	if err != nil || len(answer.GetTopics()) != 1 {
		return nil
	}
	led := map[int32]bool{}
	for _, p := range answer.GetTopics()[0].GetPartitions() {
		if p.GetLeader().GetAgentId() == agent.ID {
			led[p.GetPartition()] = true
		}
	}
	return led
}

// authorize sends the API key with every call.
func (c *claims) authorize(next connect.ClientFunc) connect.ClientFunc {
	return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
		if info, ok := connect.CallInfoForClientContext(ctx); ok {
			info.RequestHeader().Set("Authorization", "Bearer "+c.apiKey)
		}
		return next(ctx, spec)
	}
}
