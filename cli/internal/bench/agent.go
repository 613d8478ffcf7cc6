package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/streamhouse/streamhouse/client"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1/controlplanev1connect"
)

// benchAgent is an agent for the control plane alone: it has a session, leases and an address that answers, and serves nobody. It is the only
// one of an agent group of its own, so nothing that anybody uses is touched.
type benchAgent struct {
	sdk     *client.Client
	http    *http.Client
	service controlplanev1connect.AgentServiceClient
	beating sync.WaitGroup
	stop    context.CancelFunc
	server  *http.Server

	group, keyID, topic string
	session             string
	incarnation         int32
	topicID             []byte
	partitions          []benchPartition
	producerID          int64
	objects             int
}

// benchPartition is what a leader knows.
type benchPartition struct {
	number, epoch int32
	first, next   int64
	sequence      int32
}

const acquirePage = 1000

// newBenchAgent makes the agent group, its key, a topic and a session. What was made when it fails is in the agent all the same.
func newBenchAgent(ctx context.Context, target Target, sdk *client.Client, partitions int) (*benchAgent, error) {
	ctx, cancel := context.WithTimeout(ctx, prepareTime)
	defer cancel()
	a := &benchAgent{sdk: sdk, stop: func() {}, http: &http.Client{Transport: agents()}}
	name := "bench-" + strings.ToLower(rand.Text()[:10])
	if _, err := sdk.Admin().CreateAgentGroup(ctx, name); err != nil {
		return a, fmt.Errorf("create agent group: %w", err)
	}
	a.group = name
	key, secret, err := sdk.Admin().CreateKey(ctx, name, client.RoleAgent, name)
	if err != nil {
		return a, fmt.Errorf("create key: %w", err)
	}
	a.keyID = key.ID
	transport := connecthttp.NewTransport(a.http, target.ControlPlanes[0], connecthttp.WithReadMaxBytes(64<<20), connecthttp.WithCompressors())
	a.service = controlplanev1connect.NewAgentServiceClient(connect.NewClient(transport, authorize(secret)))
	if err := a.register(ctx, name); err != nil {
		return a, fmt.Errorf("register: %w", err)
	}
	topic, err := sdk.Admin().CreateTopic(ctx, client.NewTopic{Name: name, PartitionCount: int32(partitions), AgentGroup: name})
	if err != nil {
		return a, fmt.Errorf("create topic: %w", err)
	}
	a.topic = topic.Name
	if a.topicID, err = uuidBytes(topic.ID); err != nil {
		return a, err
	}
	for i := range partitions {
		a.partitions = append(a.partitions, benchPartition{number: int32(i)})
	}
	ids, err := a.service.AllocateProducerIds(ctx, &controlplanev1.AllocateProducerIdsRequest{Count: 1})
	a.producerID = ids.GetFirstProducerId()
	return a, err
}

// agents is HTTP/1.1 over a few connections, as agents make their calls.
func agents() *http.Transport {
	t := &http.Transport{Protocols: new(http.Protocols), ReadBufferSize: 64 << 10, WriteBufferSize: 64 << 10, MaxIdleConnsPerHost: 16}
	t.Protocols.SetHTTP1(true)
	return t
}

// register starts a session, and keeps it alive until leave.
func (a *benchAgent) register(ctx context.Context, name string) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	a.server = &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Second}
	a.beating.Go(func() { _ = a.server.Serve(l) }) // ends with Close
	answer, err := a.service.Register(ctx, &controlplanev1.RegisterRequest{
		AgentId: name, AgentGroup: name, Zone: "bench", Address: "http://" + l.Addr().String(), Version: "bench", RegistrationId: newUUID(),
	})
	if err != nil {
		return err
	}
	a.session, a.incarnation = answer.GetSessionId(), answer.GetIncarnation()
	beats, stop := context.WithCancel(context.WithoutCancel(ctx))
	a.stop = stop
	every := time.Duration(answer.GetHeartbeatIntervalMs()) * time.Millisecond
	a.beating.Go(func() {
		for pause(beats, every) { // one that is not answered is followed by the next
			_, _ = a.service.Heartbeat(beats, &controlplanev1.HeartbeatRequest{SessionId: a.session})
		}
	})
	return nil
}

// acquire asks for some partitions; false: they are not all assigned to this agent yet.
func (a *benchAgent) acquire(ctx context.Context, page []benchPartition) (bool, error) {
	request := &controlplanev1.AcquireRequest{SessionId: a.session}
	for _, p := range page {
		request.Partitions = append(request.Partitions, &controlplanev1.AcquirePartition{TopicId: a.topicID, Partition: p.number})
	}
	answer, err := a.service.Acquire(ctx, request)
	if err != nil {
		return false, err
	}
	for i, o := range answer.GetOutcomes() {
		g := o.GetGrant()
		if g == nil {
			return false, nil
		}
		page[i].epoch, page[i].first, page[i].next = g.GetEpoch(), g.GetTenureFirstOffset(), g.GetHighWatermark()
	}
	return len(answer.GetOutcomes()) == len(page), nil
}

// nextKey names an object that nobody uploads.
func (a *benchAgent) nextKey() string {
	name := fmt.Sprintf("%d-%s-%d", a.incarnation, a.session, a.objects)
	a.objects++
	return fmt.Sprintf("%s/%02x/%s", a.group, byte(crc32.Checksum([]byte(name), crc32.MakeTable(crc32.Castagnoli))), name)
}

// leave removes everything that was made, the last thing first.
func (a *benchAgent) leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime)
	defer cancel()
	a.stop()
	var faults []error
	if a.topic != "" {
		_, err := a.sdk.Admin().DeleteTopic(ctx, a.topic)
		faults = append(faults, unless(err, client.ReasonUnknownTopic))
	}
	if a.session != "" {
		_, err := a.service.Deregister(ctx, &controlplanev1.DeregisterRequest{SessionId: a.session})
		faults = append(faults, err)
	}
	if a.server != nil {
		faults = append(faults, a.server.Close())
	}
	a.beating.Wait()
	a.http.CloseIdleConnections()
	if a.keyID != "" {
		_, err := a.sdk.Admin().RevokeKey(ctx, a.keyID)
		faults = append(faults, unless(err, client.ReasonUnknownKey))
	}
	if a.group != "" {
		faults = append(faults, a.removeGroup(ctx))
	}
	return errors.Join(faults...)
}

// removeGroup removes the agent group, once the control plane has removed what the deleted topic left, which takes a moment.
func (a *benchAgent) removeGroup(ctx context.Context) error {
	for {
		err := a.sdk.Admin().DeleteAgentGroup(ctx, a.group)
		if !errors.Is(err, client.ReasonAgentGroupNotEmpty) || !pause(ctx, purgeEvery) {
			return unless(err, client.ReasonUnknownAgentGroup)
		}
	}
}

const purgeEvery = 200 * time.Millisecond
