package recovery

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1/controlplanev1connect"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1/dataplanev1connect"
)

const (
	// maxAnswerBytes bounds an answer: the footer of one object with 65,536 segments is five million bytes.
	maxAnswerBytes = 64 << 20
	describeTime   = 5 * time.Second
	// tries is how often a call is made before its error counts: with the pauses, half a minute.
	tries      = 8
	firstPause = 100 * time.Millisecond
	maxPause   = 10 * time.Second
)

// Config says where the cluster is.
type Config struct {
	// ControlPlanes are base URLs, tried in turn.
	ControlPlanes []string
	// Agents are base URLs of agents; those that do not answer are left out.
	Agents []string
	APIKey string
	// Bucket is the name that the agents' bucket must have; empty: any.
	Bucket string
}

// Cluster is a way to the control plane, and to the agents of each agent group.
type Cluster struct {
	http    *http.Transport
	control []controlplanev1connect.RecoveryServiceClient
	agents  map[string][]dataplanev1connect.BucketServiceClient // by agent group; none is empty
	next    atomic.Uint64                                       // whose turn it is
	// Unreachable are the agents that did not answer, with their errors.
	Unreachable []error
}

// Reach asks every agent what it serves. An error: the agents' buckets are not the one that was named, or differ.
func Reach(ctx context.Context, config Config) (*Cluster, error) {
	c := &Cluster{
		http:   &http.Transport{Protocols: new(http.Protocols), ReadBufferSize: 64 << 10, WriteBufferSize: 64 << 10},
		agents: map[string][]dataplanev1connect.BucketServiceClient{},
	}
	c.http.Protocols.SetUnencryptedHTTP2(true)
	c.http.Protocols.SetHTTP2(true)
	for _, url := range config.ControlPlanes {
		c.control = append(c.control, controlplanev1connect.NewRecoveryServiceClient(c.dial(url, config.APIKey)))
	}
	bucket := config.Bucket
	for _, url := range slices.Compact(slices.Sorted(slices.Values(config.Agents))) {
		agent := dataplanev1connect.NewBucketServiceClient(c.dial(url, config.APIKey))
		described, err := describe(ctx, agent)
		if err != nil {
			c.Unreachable = append(c.Unreachable, fmt.Errorf("agent %s: %w", url, err))
			continue
		}
		if bucket == "" {
			bucket = described.GetBucket()
		}
		if described.GetBucket() != bucket {
			c.Close()
			return nil, fmt.Errorf("agent %s uses the bucket %s, not %s", url, described.GetBucket(), bucket)
		}
		c.agents[described.GetAgentGroup()] = append(c.agents[described.GetAgentGroup()], agent)
	}
	if len(c.agents) == 0 {
		c.Close()
		return nil, fmt.Errorf("no agent can be reached, and agents alone see the bucket: %w", errors.Join(c.Unreachable...))
	}
	return c, nil
}

// Close gives connections back.
func (c *Cluster) Close() { c.http.CloseIdleConnections() }

func (c *Cluster) dial(url, apiKey string) *connect.Client {
	authorize := func(next connect.ClientFunc) connect.ClientFunc {
		return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
			if info, ok := connect.CallInfoForClientContext(ctx); ok {
				info.RequestHeader().Set("Authorization", "Bearer "+apiKey)
			}
			return next(ctx, spec)
		}
	}
	return connect.NewClient(connecthttp.NewTransport(&http.Client{Transport: c.http}, url,
		connecthttp.WithReadMaxBytes(maxAnswerBytes), connecthttp.WithCompressors()), authorize)
}

func describe(ctx context.Context, agent dataplanev1connect.BucketServiceClient) (*dataplanev1.DescribeBucketResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, describeTime)
	defer cancel()
	return agent.DescribeBucket(ctx, &dataplanev1.DescribeBucketRequest{})
}

// AgentGroups are those of which an agent was reached.
func (c *Cluster) AgentGroups() (groups []string) {
	for group := range c.agents {
		groups = append(groups, group)
	}
	slices.Sort(groups)
	return groups
}

// lacking are the agent groups of the list of which no agent was reached.
func (c *Cluster) lacking(groups []string) (missing []string) {
	for _, group := range groups {
		if len(c.agents[group]) == 0 {
			missing = append(missing, group)
		}
	}
	return missing
}

// groupOf is the agent group of an object's key.
func groupOf(key string) string {
	group, _, _ := strings.Cut(key, "/")
	return group
}

// ask calls the control plane, one replica after the other.
func ask[T any](ctx context.Context, c *Cluster, call func(context.Context, controlplanev1connect.RecoveryServiceClient) (T, error)) (T, error) {
	return persist(ctx, c.control, 0, call)
}

// askAgent calls an agent of the group, another one each time.
func askAgent[T any](ctx context.Context, c *Cluster, group string, call func(context.Context, dataplanev1connect.BucketServiceClient) (T, error)) (T, error) {
	return persist(ctx, c.agents[group], int(c.next.Add(1)%1024), call)
}

// persist tries until an answer is definite, or it has been tried often enough. Everything that is asked here may be asked again.
func persist[C, T any](ctx context.Context, of []C, first int, call func(context.Context, C) (T, error)) (result T, err error) {
	if len(of) == 0 {
		return result, errors.New("nobody is known who could answer")
	}
	pause := firstPause
	for try := range tries {
		if try > 0 {
			select {
			case <-ctx.Done():
				return result, ctx.Err()
			case <-time.After(pause/2 + rand.N(pause)):
			}
			pause = min(2*pause, maxPause)
		}
		if result, err = call(ctx, of[(first+try)%len(of)]); err == nil || !passing(err) || ctx.Err() != nil {
			return result, err
		}
	}
	return result, err
}

// passing: the same may succeed a moment later.
func passing(err error) bool {
	if errors.Is(err, errTaking) {
		return false
	}
	switch connect.CodeOf(err) {
	case connect.CodeUnavailable, connect.CodeAborted, connect.CodeDeadlineExceeded, connect.CodeResourceExhausted, connect.CodeUnknown:
		return true
	default:
		return false
	}
}
