package client

import (
	"context"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	accessv1 "github.com/streamhouse/streamhouse/gen/streamhouse/access/v1"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1/controlplanev1connect"
)

const (
	adminTimeout = 15 * time.Second // one call to one control plane
	adminRounds  = 4                // times that all control planes are asked
	adminPage    = 1000             // rows a page
)

// Admin administers topics, keys and the cluster through the control plane.
//
// A call goes to the next control plane where it surely had no effect: the connection was not made, or the
// control plane says that it did nothing. Calls without effects are repeated in any case.
type Admin struct {
	servers []controlPlane
}

type controlPlane struct {
	topics  controlplanev1connect.TopicServiceClient
	keys    controlplanev1connect.KeyServiceClient
	cluster controlplanev1connect.ClusterServiceClient
	catalog controlplanev1connect.CatalogServiceClient
	groups  controlplanev1connect.AgentGroupServiceClient
}

func newAdmin(urls []string, connectTo connector) *Admin {
	a := &Admin{}
	for _, url := range urls {
		c := connectTo(url, false)
		a.servers = append(a.servers, controlPlane{
			topics:  controlplanev1connect.NewTopicServiceClient(c),
			keys:    controlplanev1connect.NewKeyServiceClient(c),
			cluster: controlplanev1connect.NewClusterServiceClient(c),
			catalog: controlplanev1connect.NewCatalogServiceClient(c),
			groups:  controlplanev1connect.NewAgentGroupServiceClient(c),
		})
	}
	return a
}

// repeatable says whether a call without an answer may be made again.
type repeatable bool

// call asks one control plane after the other.
func (a *Admin) call(ctx context.Context, again repeatable, f func(context.Context, controlPlane) error) error {
	if len(a.servers) == 0 {
		return failure(ReasonMisconfigured, "no control plane is known: pass WithControlPlane")
	}
	var last *Error
	for round := range adminRounds {
		if round > 0 && sleep(ctx, backoff(round)) != nil {
			return canceled(ctx, last.Error())
		}
		for _, s := range a.servers {
			last = a.once(ctx, s, f)
			if last == nil {
				return nil
			}
			harmless := last.Reason == ReasonUnreachable || last.Reason == ReasonCatalogUnavailable || last.Reason == ReasonCatalogHalted
			if ctx.Err() != nil || !last.Reason.transient() || (!harmless && !bool(again)) {
				return last
			}
		}
	}
	return last
}

func (a *Admin) once(ctx context.Context, s controlPlane, f func(context.Context, controlPlane) error) *Error {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	if err := f(ctx, s); err != nil {
		return fromCall(err).but(WrittenNothing)
	}
	return nil
}

// TopicConfig is what can be set on a topic. Nil fields: the default at creation, no change in an update.
type TopicConfig struct {
	// MaxRecordBytes is the largest record (key, value and headers). Default: 1 MiB; 1 byte to 3 MiB.
	MaxRecordBytes *int32
	// AllowBufferedAcks lets producers use AcksBuffered. Default: false.
	AllowBufferedAcks *bool
	// PreferredZones are the zones whose agents should lead the topic's partitions, e.g. "eu-west-1a"; while none lives there, other zones
	// take over. At most 10. Default, and if it points to none: every zone with agents leads its share.
	PreferredZones *[]string
	// Retention is how long records are kept from when they were stored, whatever their timestamps say; Unbounded: for ever. Default: 168 h; 1 ms
	// to 100 years.
	Retention *time.Duration
	// RetentionBytes is how many bytes each partition keeps at least, as stored; Unbounded: all. Default: Unbounded.
	RetentionBytes *int64
	// CleanupPolicy is what becomes of old records. Default: CleanupDelete.
	CleanupPolicy *CleanupPolicy
	// DeleteRetention is how long compaction by key keeps records without a value. Default: 24 h; 0 to 100 years.
	DeleteRetention *time.Duration
	// MinCompactionLag is how long compaction by key leaves records alone. Default: 0; at most 100 years.
	MinCompactionLag *time.Duration
}

// Unbounded is a retention without a bound.
const Unbounded = -1

// CleanupPolicy is what becomes of a topic's old records.
type CleanupPolicy int8

const (
	// CleanupDelete deletes what exceeds the topic's retention.
	CleanupDelete = CleanupPolicy(controlplanev1.CleanupPolicy_CLEANUP_POLICY_DELETE)
	// CleanupCompact keeps of each key the newest record, for ever. Older ones go some time after they were replaced; a record without a value goes,
	// too, DeleteRetention after that. What is left keeps its offset. Records need a key (ReasonInvalid).
	CleanupCompact = CleanupPolicy(controlplanev1.CleanupPolicy_CLEANUP_POLICY_COMPACT)
	// CleanupCompactAndDelete does both: what is left of a key goes with the topic's retention.
	CleanupCompactAndDelete = CleanupPolicy(controlplanev1.CleanupPolicy_CLEANUP_POLICY_COMPACT_AND_DELETE)
)

// String is the name that the command line has for it.
func (p CleanupPolicy) String() string {
	switch p {
	case CleanupDelete:
		return "delete"
	case CleanupCompact:
		return "compact"
	case CleanupCompactAndDelete:
		return "compact_and_delete"
	}
	return "unknown"
}

func (c TopicConfig) message() *controlplanev1.TopicConfig {
	m := &controlplanev1.TopicConfig{
		MaxRecordBytes: c.MaxRecordBytes, AllowBufferedAcks: c.AllowBufferedAcks, RetentionMs: milliseconds(c.Retention), RetentionBytes: c.RetentionBytes,
		DeleteRetentionMs: milliseconds(c.DeleteRetention), MinCompactionLagMs: milliseconds(c.MinCompactionLag),
	}
	if c.CleanupPolicy != nil {
		m.CleanupPolicy = new(controlplanev1.CleanupPolicy(*c.CleanupPolicy))
	}
	if c.PreferredZones != nil {
		m.PreferredZones = &controlplanev1.PreferredZones{Zones: *c.PreferredZones}
	}
	return m
}

// milliseconds rounds up, so that no bound becomes none; Unbounded stays.
func milliseconds(d *time.Duration) *int64 {
	if d == nil {
		return nil
	}
	if *d < 0 {
		return new(int64(Unbounded))
	}
	return new(int64((*d + time.Millisecond - 1) / time.Millisecond))
}

// kept is a retention as an answer has it. What does not fit a Duration (292 years) is more than any topic may have.
func kept(ms int64) time.Duration {
	if ms < 0 {
		return Unbounded
	}
	return time.Duration(ms) * time.Millisecond
}

// Topic is a topic as the catalog has it.
type Topic struct {
	ID                string // UUID: the topic's identity
	Name              string
	AgentGroup        string
	PartitionCount    int32
	MaxRecordBytes    int32
	AllowBufferedAcks bool
	PreferredZones    []string      // empty: none
	Retention         time.Duration // Unbounded: for ever
	RetentionBytes    int64         // of each partition; Unbounded: all
	CleanupPolicy     CleanupPolicy
	DeleteRetention   time.Duration
	MinCompactionLag  time.Duration
	CreatedAt         time.Time
}

func topicFrom(t *controlplanev1.Topic) Topic {
	return Topic{
		ID: t.GetTopicId(), Name: t.GetName(), AgentGroup: t.GetAgentGroup(), PartitionCount: t.GetPartitionCount(),
		MaxRecordBytes: t.GetConfig().GetMaxRecordBytes(), AllowBufferedAcks: t.GetConfig().GetAllowBufferedAcks(),
		PreferredZones: t.GetConfig().GetPreferredZones().GetZones(), CreatedAt: timeFrom(t.GetCreatedAt()),
		Retention: kept(t.GetConfig().GetRetentionMs()), RetentionBytes: t.GetConfig().GetRetentionBytes(),
		CleanupPolicy: CleanupPolicy(t.GetConfig().GetCleanupPolicy()), DeleteRetention: kept(t.GetConfig().GetDeleteRetentionMs()),
		MinCompactionLag: kept(t.GetConfig().GetMinCompactionLagMs()),
	}
}

// timeFrom is zero where the message has none.
func timeFrom(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

// PartitionStatus is a partition as the catalog has it.
type PartitionStatus struct {
	Partition       int32
	Epoch           int32  // of the newest tenure; 0: never led
	LeaderAgentID   string // empty: nobody leads it
	LeaderZone      string
	AssignedAgentID string // who should lead it; empty: nobody
	LogStartOffset  int64
	HighWatermark   int64
}

// NewTopic describes a topic to be made.
type NewTopic struct {
	// Name: 1 to 200 of letters, digits, "_" and "-".
	Name string
	// PartitionCount: 1 to 100,000.
	PartitionCount int32
	// AgentGroup whose agents serve it. Empty: "default".
	AgentGroup string
	// Config; nil fields: defaults.
	Config TopicConfig
}

// CreateTopic makes a topic. Refused with ReasonTopicExists, ReasonInvalid or ReasonUnknownAgentGroup. It is not
// idempotent: after ReasonNoAnswer look whether the topic is there.
func (a *Admin) CreateTopic(ctx context.Context, t NewTopic) (Topic, error) {
	var made Topic
	err := a.call(ctx, false, func(ctx context.Context, s controlPlane) error {
		answer, err := s.topics.CreateTopic(ctx, &controlplanev1.CreateTopicRequest{
			Name: t.Name, PartitionCount: t.PartitionCount, AgentGroup: t.AgentGroup, Config: t.Config.message(),
		})
		made = topicFrom(answer.GetTopic())
		return err
	})
	return made, err
}

// DescribeTopic returns a topic and its partitions in order. Refused with ReasonUnknownTopic.
func (a *Admin) DescribeTopic(ctx context.Context, name string) (Topic, []PartitionStatus, error) {
	var topic Topic
	var partitions []PartitionStatus
	err := pages(func(token string) (string, error) {
		var page *controlplanev1.GetTopicResponse
		err := a.call(ctx, true, func(ctx context.Context, s controlPlane) (err error) {
			page, err = s.topics.GetTopic(ctx, &controlplanev1.GetTopicRequest{Name: name, PageToken: token})
			return err
		})
		if err != nil {
			return "", err
		}
		topic = topicFrom(page.GetTopic())
		for _, p := range page.GetPartitions() {
			partitions = append(partitions, PartitionStatus{
				Partition: p.GetPartition(), Epoch: p.GetEpoch(), LeaderAgentID: p.GetLeaderAgentId(), LeaderZone: p.GetLeaderZone(),
				AssignedAgentID: p.GetAssignedAgentId(), LogStartOffset: p.GetLogStartOffset(), HighWatermark: p.GetHighWatermark(),
			})
		}
		return page.GetNextPageToken(), nil
	})
	if err != nil {
		return Topic{}, nil, err
	}
	return topic, partitions, nil
}

// ListTopics returns all topics that the key may see, by name.
func (a *Admin) ListTopics(ctx context.Context) ([]Topic, error) {
	var all []Topic
	err := pages(func(token string) (string, error) {
		var page *controlplanev1.ListTopicsResponse
		err := a.call(ctx, true, func(ctx context.Context, s controlPlane) (err error) {
			page, err = s.topics.ListTopics(ctx, &controlplanev1.ListTopicsRequest{PageSize: adminPage, PageToken: token})
			return err
		})
		for _, t := range page.GetTopics() {
			all = append(all, topicFrom(t))
		}
		return page.GetNextPageToken(), err
	})
	return all, err
}

// pages calls get with each page's token until there is none. A token that comes twice ends it with an error.
func pages(get func(token string) (next string, err error)) error {
	token := ""
	for {
		next, err := get(token)
		if err != nil || next == "" {
			return err
		}
		if next == token {
			return failure(ReasonInternal, "a page names itself as the next one")
		}
		token = next
	}
}

// UpdateTopic changes what is not nil in config. Refused with ReasonUnknownTopic or ReasonInvalid.
func (a *Admin) UpdateTopic(ctx context.Context, name string, config TopicConfig) (Topic, error) {
	return a.updateTopic(ctx, name, config, 0)
}

// AddPartitions gives a topic more partitions, count in all. Where it has as many already, nothing changes. Producers and consumers learn of them
// within about half a minute; from then on records with a key may go to other partitions than before, so that records of one key are in
// order within the old partition and within the new one, but not across them. Refused with ReasonUnknownTopic, or ReasonInvalid where it has more.
func (a *Admin) AddPartitions(ctx context.Context, name string, count int32) (Topic, error) {
	return a.updateTopic(ctx, name, TopicConfig{}, count)
}

func (a *Admin) updateTopic(ctx context.Context, name string, config TopicConfig, partitions int32) (Topic, error) {
	var updated Topic
	err := a.call(ctx, true, func(ctx context.Context, s controlPlane) error {
		answer, err := s.topics.UpdateTopic(ctx, &controlplanev1.UpdateTopicRequest{Name: name, Config: config.message(), PartitionCount: partitions})
		updated = topicFrom(answer.GetTopic())
		return err
	})
	return updated, err
}

// DeleteTopic deletes a topic and returns its id. Its name is free at once, and a topic made anew under it shares
// nothing with it. Refused with ReasonUnknownTopic.
func (a *Admin) DeleteTopic(ctx context.Context, name string) (id string, err error) {
	err = a.call(ctx, false, func(ctx context.Context, s controlPlane) error {
		answer, err := s.topics.DeleteTopic(ctx, &controlplanev1.DeleteTopicRequest{Name: name})
		id = answer.GetTopicId()
		return err
	})
	return id, err
}

// DeleteRecords deletes the records of a topic below an offset of each partition that is named; -1: all that can be read now. It returns the first
// offset that is left of each, which is higher than the one asked for where it was so before. Up to 1,000 partitions, all or none. Refused
// with ReasonUnknownTopic, ReasonUnknownPartition, or ReasonOutOfRange where a partition ends before the offset.
func (a *Admin) DeleteRecords(ctx context.Context, topic string, before map[int32]int64) (begins map[int32]int64, err error) {
	request := &controlplanev1.DeleteRecordsRequest{Name: topic}
	for _, partition := range slices.Sorted(maps.Keys(before)) {
		request.Partitions = append(request.Partitions, &controlplanev1.RecordsBefore{Partition: partition, BeforeOffset: before[partition]})
	}
	err = a.call(ctx, true, func(ctx context.Context, s controlPlane) error {
		answer, err := s.topics.DeleteRecords(ctx, request)
		begins = make(map[int32]int64, len(answer.GetPartitions()))
		for _, p := range answer.GetPartitions() {
			begins[p.GetPartition()] = p.GetLogStartOffset()
		}
		return err
	})
	return begins, err
}

// Role is what an API key is good for.
type Role int8

const (
	// RoleAdmin administers the whole cluster.
	RoleAdmin = Role(accessv1.Role_ROLE_ADMIN)
	// RoleAgent is an agent of one agent group.
	RoleAgent = Role(accessv1.Role_ROLE_AGENT)
	// RoleClient produces to and consumes from the topics of one agent group.
	RoleClient = Role(accessv1.Role_ROLE_CLIENT)
)

func (r Role) String() string {
	switch r {
	case RoleAdmin:
		return "admin"
	case RoleAgent:
		return "agent"
	case RoleClient:
		return "client"
	}
	return "unknown"
}

// Key is an API key without its secret.
type Key struct {
	ID         string // UUID
	Name       string
	Role       Role
	AgentGroup string // empty for admins
	CreatedAt  time.Time
	RevokedAt  time.Time // zero: valid
}

func keyFrom(k *controlplanev1.Key) Key {
	return Key{
		ID: k.GetKeyId(), Name: k.GetName(), Role: Role(k.GetRole()), AgentGroup: k.GetAgentGroup(),
		CreatedAt: timeFrom(k.GetCreatedAt()), RevokedAt: timeFrom(k.GetRevokedAt()),
	}
}

// CreateKey makes an API key and returns its secret, which is shown this once. agentGroup must be empty for admins;
// for others empty means "default".
func (a *Admin) CreateKey(ctx context.Context, name string, role Role, agentGroup string) (key Key, secret string, err error) {
	err = a.call(ctx, false, func(ctx context.Context, s controlPlane) error {
		answer, err := s.keys.CreateKey(ctx, &controlplanev1.CreateKeyRequest{Name: name, Role: accessv1.Role(role), AgentGroup: agentGroup})
		key, secret = keyFrom(answer.GetKey()), answer.GetSecret()
		return err
	})
	return key, secret, err
}

// ListKeys returns all keys, revoked ones too, in the order in which they were made.
func (a *Admin) ListKeys(ctx context.Context) ([]Key, error) {
	var all []Key
	err := a.call(ctx, true, func(ctx context.Context, s controlPlane) error {
		answer, err := s.keys.ListKeys(ctx, &controlplanev1.ListKeysRequest{})
		all = make([]Key, 0, len(answer.GetKeys()))
		for _, k := range answer.GetKeys() {
			all = append(all, keyFrom(k))
		}
		return err
	})
	return all, err
}

// RevokeKey revokes a key: control planes refuse it at once, agents within 30 s. Refused with ReasonUnknownKey.
func (a *Admin) RevokeKey(ctx context.Context, id string) (Key, error) {
	var key Key
	err := a.call(ctx, true, func(ctx context.Context, s controlPlane) error {
		answer, err := s.keys.RevokeKey(ctx, &controlplanev1.RevokeKeyRequest{KeyId: id})
		key = keyFrom(answer.GetKey())
		return err
	})
	return key, err
}
