package store

import (
	"context"
	"time"

	"github.com/google/uuid"

	accessv1 "github.com/streamhouse/streamhouse/gen/streamhouse/access/v1"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

// AgentGroup names an agent group: 1 to 40 of [a-z0-9-].
type AgentGroup string

const (
	// EveryAgentGroup is the bound of a caller who is bound to none (an admin).
	EveryAgentGroup AgentGroup = ""
	// DefaultAgentGroup exists in every catalog.
	DefaultAgentGroup AgentGroup = "default"
)

// Store is all of the catalog. Every method is safe for concurrent use, by any number of replicas, and returns when its context ends.
type Store interface {
	Sessions
	Leases
	Objects
	Lookups
	Topics
	Cluster
	AgentGroups
	Keys
	Placements
	Planning
	Judging
	Retention
	Catalog
	Jobs
	Compactions
	KeyCompactions

	// Ping says whether the database answers.
	Ping(ctx context.Context) error
}

// Sessions are the liveness of agents (protocol, section 2).
type Sessions interface {
	// Register starts a session and supersedes a live one of the same agent id, at once. A repeat of the same registration id answers the session
	// that the first has begun, whatever has become of it, and changes nothing. Refusals: UNKNOWN_AGENT_GROUP, WRONG_AGENT_GROUP (the request
	// names another one than agentGroup, or the agent id lives in another), INVALID (another agent used the registration id).
	Register(ctx context.Context, agentGroup AgentGroup, request *controlplanev1.RegisterRequest) (*controlplanev1.RegisterResponse, error)
	// Heartbeat renews the session, clears suspicion, takes over draining and unfit, keeps the report, and answers with at most PlacementPage
	// partitions and whether the agent is to be drained.
	// Refusals: SESSION_EXPIRED, SESSION_SUPERSEDED.
	Heartbeat(ctx context.Context, agentGroup AgentGroup, request *controlplanev1.HeartbeatRequest) (*controlplanev1.HeartbeatResponse, error)
	// Deregister ends the session. Idempotent: a session that has ended, or never was, is no refusal.
	Deregister(ctx context.Context, agentGroup AgentGroup, request *controlplanev1.DeregisterRequest) (*controlplanev1.DeregisterResponse, error)
	// CheckSession refuses with SESSION_EXPIRED or SESSION_SUPERSEDED unless the session lives.
	CheckSession(ctx context.Context, agentGroup AgentGroup, sessionID uuid.UUID) error
}

// Leases are tenures of sessions over partitions (protocol, sections 3 and 5).
type Leases interface {
	// Acquire grants or refuses each partition for itself; its refusals are in the outcomes.
	Acquire(ctx context.Context, agentGroup AgentGroup, request *controlplanev1.AcquireRequest) (*controlplanev1.AcquireResponse, error)
	// Release ends tenures and grants each partition to its live assignee, in one transaction.
	Release(ctx context.Context, agentGroup AgentGroup, request *controlplanev1.ReleaseRequest) (*controlplanev1.ReleaseResponse, error)
}

// Objects are committed, or dead (protocol, sections 4 and 7).
type Objects interface {
	// Commit commits uploaded objects in order. Idempotent by object key. Refusals: INVALID (a key is not the session's, segments out of
	// order, producer batches outside their segment), WRONG_AGENT_GROUP (the session is another agent group's); UNANSWERED: repeat the same commit.
	Commit(ctx context.Context, agentGroup AgentGroup, request *controlplanev1.CommitRequest) (*controlplanev1.CommitResponse, error)
	// Tombstone kills the keys of objects that were never committed, and answers those that are dead now (also those that already
	// were). A key that was committed stays as it is and is left out.
	Tombstone(ctx context.Context, keys []string) (dead []string, err error)
}

// Lookups read the primary, each answer from one snapshot that was taken after the call began (P4).
type Lookups interface {
	Lookup(ctx context.Context, agentGroup AgentGroup, request *controlplanev1.LookupRequest) (*controlplanev1.LookupResponse, error)
	LookupProducers(ctx context.Context, agentGroup AgentGroup, request *controlplanev1.LookupProducersRequest) (*controlplanev1.LookupProducersResponse, error)
	ResolveTopics(ctx context.Context, agentGroup AgentGroup, request *controlplanev1.ResolveTopicsRequest) (*controlplanev1.ResolveTopicsResponse, error)
	AllocateProducerIds(ctx context.Context, request *controlplanev1.AllocateProducerIdsRequest) (*controlplanev1.AllocateProducerIdsResponse, error)
}

// Topics are made and removed by admins. An agentGroup bounds what a caller sees: of other groups' topics it knows nothing.
type Topics interface {
	// CreateTopic creates the topic and its partitions; their assignment follows at once where agents live.
	// Refusals: TOPIC_EXISTS, UNKNOWN_AGENT_GROUP.
	CreateTopic(ctx context.Context, request *controlplanev1.CreateTopicRequest) (*controlplanev1.CreateTopicResponse, error)
	// GetTopic describes a topic, with at most 10,000 of its partitions. It refuses with UNKNOWN_TOPIC, a malformed page token with INVALID.
	GetTopic(ctx context.Context, agentGroup AgentGroup, request *controlplanev1.GetTopicRequest) (*controlplanev1.GetTopicResponse, error)
	// ListTopics refuses a malformed page token with INVALID.
	ListTopics(ctx context.Context, agentGroup AgentGroup, request *controlplanev1.ListTopicsRequest) (*controlplanev1.ListTopicsResponse, error)
	// UpdateTopic refuses with UNKNOWN_TOPIC, INVALID (fewer partitions than there are). New partitions are assigned in the background.
	UpdateTopic(ctx context.Context, request *controlplanev1.UpdateTopicRequest) (*controlplanev1.UpdateTopicResponse, error)
	// DeleteTopic marks the topic and frees its name; PurgeDeleted removes its rows. Refusal: UNKNOWN_TOPIC.
	DeleteTopic(ctx context.Context, request *controlplanev1.DeleteTopicRequest) (*controlplanev1.DeleteTopicResponse, error)
	// DeleteRecords raises log starts, of all partitions that are named or of none. Refusals: UNKNOWN_TOPIC, UNKNOWN_PARTITION, OUT_OF_RANGE
	// (beyond the high watermark), INVALID (a partition named twice); while the catalog is not verified CATALOG_UNAVAILABLE.
	DeleteRecords(ctx context.Context, request *controlplanev1.DeleteRecordsRequest) (*controlplanev1.DeleteRecordsResponse, error)
}

// Cluster is what people see of agents and leases.
type Cluster interface {
	// ListAgents lists agents that live or ended within the last day; both agentGroup and the request's field bound it.
	ListAgents(ctx context.Context, agentGroup AgentGroup, request *controlplanev1.ListAgentsRequest) (*controlplanev1.ListAgentsResponse, error)
	// DescribeAgent refuses with UNKNOWN_AGENT one of another agent group, too.
	DescribeAgent(ctx context.Context, agentGroup AgentGroup, request *controlplanev1.DescribeAgentRequest) (*controlplanev1.DescribeAgentResponse, error)
	// ClusterView reads what package overview tells people, in one snapshot.
	ClusterView(ctx context.Context, agentGroup AgentGroup) (*ClusterView, error)
	// ListLeases refuses a malformed page token with INVALID, an unknown topic with UNKNOWN_TOPIC.
	ListLeases(ctx context.Context, agentGroup AgentGroup, request *controlplanev1.ListLeasesRequest) (*controlplanev1.ListLeasesResponse, error)
	// PartitionHistory lists a partition's tenures, newest first. It refuses a malformed page token with INVALID, what is unknown with UNKNOWN_TOPIC
	// or UNKNOWN_PARTITION.
	PartitionHistory(ctx context.Context, agentGroup AgentGroup, request *controlplanev1.GetPartitionHistoryRequest) (
		*controlplanev1.GetPartitionHistoryResponse, error)
}

// AgentGroups come and go by the admins' will. One that was removed may be made again; until then whatever names it is refused with
// UNKNOWN_AGENT_GROUP. An agent id stays with its agent group even then (P7).
type AgentGroups interface {
	// EnsureAgentGroup creates the agent group where it does not exist. Refusal: INVALID (its name).
	EnsureAgentGroup(ctx context.Context, agentGroup AgentGroup) error
	// CreateAgentGroup refuses with AGENT_GROUP_EXISTS, INVALID (its name).
	CreateAgentGroup(ctx context.Context, request *controlplanev1.CreateAgentGroupRequest) (*controlplanev1.CreateAgentGroupResponse, error)
	// ListAgentGroups lists them by name, with what is in them.
	ListAgentGroups(ctx context.Context) (*controlplanev1.ListAgentGroupsResponse, error)
	// DeleteAgentGroup removes one that has no topic (nor partitions of deleted ones that are still to be purged), no session that lives and no
	// valid key. Refusals: UNKNOWN_AGENT_GROUP, AGENT_GROUP_NOT_EMPTY, INVALID (the default one).
	DeleteAgentGroup(ctx context.Context, request *controlplanev1.DeleteAgentGroupRequest) (*controlplanev1.DeleteAgentGroupResponse, error)
}

// KeyHash is the SHA-256 of an API key, all of it ("shk_" included).
type KeyHash [32]byte

// Principal is whom a key stands for.
type Principal struct {
	KeyID uuid.UUID
	// Name is for people.
	Name string
	Role accessv1.Role
	// AgentGroup is EveryAgentGroup for admins.
	AgentGroup AgentGroup
}

// Keys are API keys; only their hashes are known here.
type Keys interface {
	// CreateKey stores the hash of a new key. An empty agent group means DefaultAgentGroup for agents and clients.
	// Refusals: INVALID (an admin with an agent group), UNKNOWN_AGENT_GROUP.
	CreateKey(ctx context.Context, hash KeyHash, request *controlplanev1.CreateKeyRequest) (*controlplanev1.Key, error)
	ListKeys(ctx context.Context) ([]*controlplanev1.Key, error)
	// RevokeKey refuses with UNKNOWN_KEY; to revoke again changes nothing.
	RevokeKey(ctx context.Context, keyID uuid.UUID) (*controlplanev1.Key, error)
	// Authenticate refuses an unknown or revoked key with UNKNOWN_KEY.
	Authenticate(ctx context.Context, hash KeyHash) (Principal, error)
	// EnsureBootstrapKey stores a key where its hash is not known yet: an agent's of the agent group, with EveryAgentGroup an admin's. A revoked
	// one stays revoked.
	EnsureBootstrapKey(ctx context.Context, hash KeyHash, agentGroup AgentGroup) error
}

// PlacementPage is the greatest number of partitions in a page of placement.
const PlacementPage = 1000

// Placements are what agents are told. Within an agent group commits order is revision order: a reader that has seen revision r will
// never be shown a row of revision r or less that it has not seen.
type Placements interface {
	// Revisions answers the newest revision of every agent group.
	Revisions(ctx context.Context) (map[AgentGroup]int64, error)
	// PlacementAfter reads a page of what changed after the revision, from one snapshot: at most limit topics and limit partitions
	// (0 or more than PlacementPage: PlacementPage). A revision beyond the newest is answered from the start.
	PlacementAfter(ctx context.Context, agentGroup AgentGroup, revision int64, limit int) (*controlplanev1.Placement, error)
	// PlacementChanged signals (level-triggered, capacity one) after this process itself changed some agent group's placement.
	// It has one reader: the hub of package watch.
	PlacementChanged() <-chan struct{}
	// Hearing says whether PlacementChanged signals what other processes change, too.
	Hearing() bool
}

// Pulse is the sign of life of the judges as a whole, by PostgreSQL's clock.
type Pulse struct {
	// BeatAt is when a judge last beat.
	BeatAt time.Time
	// QuietUntil is when silence may be judged again.
	QuietUntil time.Time
	// Now is PostgreSQL's clock.
	Now time.Time
}

// Judging ends and suspects sessions, and gives their partitions new homes. For packages judge and suspicion alone.
type Judging interface {
	// Beat records that a judge is present, and answers the pulse as it is afterwards. Pauses judging where the judges were absent.
	Beat(ctx context.Context) (Pulse, error)
	// EndSilent ends sessions that were silent for longer than their duration; nobody while the pulse says quiet.
	EndSilent(ctx context.Context) (ended int, err error)
	// SuspectSilent marks sessions that were silent for longer than after; nobody while the pulse says quiet.
	SuspectSilent(ctx context.Context, after time.Duration) (suspected int, err error)
	// UntilSilent answers when the first session that lives and is not suspect will have been silent for so long, if it stays silent: 0 or less
	// where one has been already, after where nobody lives.
	UntilSilent(ctx context.Context, after time.Duration) (time.Duration, error)
	// SessionAddress answers where the session's agent can be reached. It refuses with SESSION_EXPIRED or SESSION_SUPERSEDED unless the session lives.
	SessionAddress(ctx context.Context, agentGroup AgentGroup, sessionID uuid.UUID) (string, error)
	// SuspectRefused marks a session whose agent refuses connections, whatever the pulse says. False: it had ended, or was suspect before.
	SuspectRefused(ctx context.Context, agentGroup AgentGroup, sessionID uuid.UUID) (suspected bool, err error)
	// Unsettled signals (level-triggered, capacity one) after this process itself ended, started or changed a session, or a topic.
	// It has one reader: package judge.
	Unsettled() <-chan struct{}
	// UnsettledAgentGroups lists the agent groups in which partitions may need another agent.
	UnsettledAgentGroups(ctx context.Context) ([]AgentGroup, error)
	// AssignOrphans assigns a bounded number of partitions without a fit agent; more says that some are left. Those that an agent which drains
	// still leads wait until few enough hand-offs are under way: nothing is assigned then, and more is true.
	AssignOrphans(ctx context.Context, agentGroup AgentGroup) (assigned int, more bool, err error)
	// PurgeDeleted removes a bounded number of rows of deleted topics; more says that some are left.
	PurgeDeleted(ctx context.Context) (purged int, more bool, err error)
}
