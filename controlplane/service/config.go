package service

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"time"

	"github.com/streamhouse/streamhouse/serve/access"
	"github.com/streamhouse/streamhouse/serve/admin"
	"github.com/streamhouse/streamhouse/serve/listen"
	"github.com/streamhouse/streamhouse/serve/logs"
	"github.com/streamhouse/streamhouse/serve/secret"
	"github.com/streamhouse/streamhouse/serve/telemetry"

	"github.com/streamhouse/streamhouse/controlplane/internal/judge"
	"github.com/streamhouse/streamhouse/controlplane/internal/retention"
	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// Config of a control plane. The tags are those of flags, environment and file (package serve/config); the zero Config is not valid, see
// DefaultConfig.
type Config struct {
	Listener  listen.Config    `embed:""`
	Log       logs.Config      `embed:""`
	Telemetry telemetry.Config `embed:""`
	Admin     admin.Config     `embed:""`

	AdvertisedAddress   string        `placeholder:"URL" help:"Base URL under which agents and people reach this process; empty: the one that it listens on. Shown when it is ready."`
	DatabaseURL         secret.Secret `placeholder:"URL" help:"PostgreSQL, e.g. postgres://user:password@host:5432/streamhouse. Required to serve and to migrate."`
	PoolSize            int           `default:"16"      help:"Most connections to PostgreSQL."`
	AllowUnsafeDatabase bool          `help:"Serve although PostgreSQL would lose acknowledged records in a crash (fsync, full_page_writes or synchronous_commit off). For tests."`
	MigrateOnStart      bool          `default:"true"    help:"Bring the schema up to date before serving, unless --no-migrate-on-start; of several replicas one does, the others wait."   negatable:""`
	BootstrapAdminKey   secret.Secret `placeholder:"KEY" help:"Admin API key (shk_ and 43 characters) that is added at the start if it is not there. A revoked one stays revoked."`
	BootstrapAgentKeys  secret.Secret `placeholder:"JSON" help:"Agent API keys that are added at the start if they are not there, and their agent groups with them: a JSON object of agent group and key. Revoked ones stay revoked."`
	AgentGroups         []string      `placeholder:"NAME" help:"Agent groups that are added at the start if they are not there; \"default\" always is."`

	SessionDuration   time.Duration `default:"30s"   help:"Silence that ends an agent's session."`
	HeartbeatInterval time.Duration `default:"1s"    help:"Time between an agent's heartbeats."`
	SuspectAfter      time.Duration `default:"2s"    help:"Silence after which an agent's partitions may be led by others; at least two heartbeat intervals. A long one makes takeovers rare on slow machines."`
	MaxMoves          int           `default:"256"   help:"Most partitions of an agent group that are handed over at once to balance, or because their agent drains."`
	WatchInterval     time.Duration `default:"100ms" help:"Time between two looks at what other replicas have changed, while PostgreSQL does not tell."`
	ProducerExpiry    time.Duration `default:"168h"  help:"Idle time after which an idempotent producer is forgotten: what it sends next is refused (PRODUCER_UNKNOWN), and it takes a new producer id."`
	RetentionInterval time.Duration `default:"1m"    help:"Time between two passes of retention: what a topic keeps no longer goes within so long, and a little more with very many partitions."`

	DeletionGrace      time.Duration `default:"1h"  help:"How long an object stays in the bucket after nothing refers to it any more: longer than any fetch, and at least the age of the oldest backup of the database that one would restore. A checkpoint must have noticed, too."`
	CheckpointInterval time.Duration `default:"10m" help:"Time between two checkpoints of what the bucket's objects alone do not say; a tenth of it where a new topic, or an object that waits to be deleted, waits for one."`
	SweepInterval      time.Duration `default:"6h"  help:"Time in which all of the bucket is looked at for objects that nobody has committed."`
	SweepAge           time.Duration `default:"1h"  help:"Age from which an object that nobody has committed is looked at. It spares questions; what is deleted is decided otherwise."`

	Compaction            bool          `default:"true"      help:"Objects of many short segments are rewritten as few large ones, which agents do in the background." negatable:""`
	CompactionMinAge      time.Duration `default:"5m"        help:"Age from which on an object may be compacted; what is younger is read from memory and caches anyway. Twelve times this is how long objects wait for others."`
	CompactionTargetBytes int64         `default:"134217728" help:"Size of the objects that compaction writes, 1 MiB to 4 GiB."                                                          placeholder:"N"`
	KeyCompactionInterval time.Duration `default:"10m" help:"Time between two passes over the same partition of a topic that is compacted by key, unless much of it is new."`
	KeyCompactionMinAge   time.Duration `default:"1m"  help:"Records younger than this stay as they are, in every topic that is compacted by key; a topic may say more."`
}

// DefaultConfig has every default but DatabaseURL, which has none.
func DefaultConfig() Config {
	return Config{
		Listener:          listen.Config{Listen: "127.0.0.1:8080", StopTimeout: 10 * time.Second},
		Log:               logs.Config{LogFormat: "text", LogRate: logs.DefaultRate},
		Telemetry:         telemetry.DefaultConfig(),
		PoolSize:          16,
		MigrateOnStart:    true,
		SessionDuration:   30 * time.Second,
		HeartbeatInterval: time.Second,
		SuspectAfter:      2 * time.Second,
		MaxMoves:          store.DefaultMaxMoves,
		WatchInterval:     100 * time.Millisecond,
		ProducerExpiry:    judge.DefaultProducerExpiry,
		RetentionInterval: retention.DefaultInterval,

		DeletionGrace:      time.Hour,
		CheckpointInterval: 10 * time.Minute,
		SweepInterval:      6 * time.Hour,
		SweepAge:           time.Hour,

		Compaction:            true,
		CompactionMinAge:      5 * time.Minute,
		CompactionTargetBytes: 128 << 20,
		KeyCompactionInterval: 10 * time.Minute,
		KeyCompactionMinAge:   time.Minute,
	}
}

// Bounds of durations and sizes.
const (
	minSessionDuration = time.Second
	maxSessionDuration = 10 * time.Minute
	minInterval        = 10 * time.Millisecond
	maxWatchInterval   = time.Minute
	maxSuspectAfter    = time.Hour
	minProducerExpiry  = time.Hour // twice what agents trust their own memory of a producer
	maxProducerExpiry  = 10 * 365 * 24 * time.Hour
	minRetention       = 100 * time.Millisecond
	maxRetention       = 24 * time.Hour
	minPoolSize        = 4 // the judge, the hub, and two calls
	maxPoolSize        = 100
	maxMaxMoves        = 100_000
	minJobTime         = 10 * time.Millisecond // tests; a cluster wants minutes
	maxJobTime         = 10 * 365 * 24 * time.Hour
	// A rebuild goes back to the newest checkpoint for what only it knows.
	maxCheckpointInterval = 24 * time.Hour
)

// Validate says what is wrong, all of it.
func (c Config) Validate() error {
	return errors.Join(
		c.Listener.Validate(),
		c.Telemetry.Validate(),
		c.Admin.Validate(),
		c.validateAddress(),
		c.ValidateDatabase(),
		c.validateBootstrapKey(),
		c.validateAgentGroups(),
		between("session-duration", c.SessionDuration, minSessionDuration, maxSessionDuration),
		between("heartbeat-interval", c.HeartbeatInterval, minInterval, c.SessionDuration/3),
		between("suspect-after", c.SuspectAfter, 2*c.HeartbeatInterval, maxSuspectAfter),
		c.validateMaxMoves(),
		between("watch-interval", c.WatchInterval, minInterval, maxWatchInterval),
		between("producer-expiry", c.ProducerExpiry, minProducerExpiry, maxProducerExpiry),
		between("retention-interval", c.RetentionInterval, minRetention, maxRetention),
		between("deletion-grace", c.DeletionGrace, minJobTime, maxJobTime),
		between("checkpoint-interval", c.CheckpointInterval, minJobTime, maxCheckpointInterval),
		between("sweep-interval", c.SweepInterval, minJobTime, maxJobTime),
		between("sweep-age", c.SweepAge, minJobTime, maxJobTime),
		between("compaction-min-age", c.CompactionMinAge, minJobTime, maxJobTime),
		between("key-compaction-interval", c.KeyCompactionInterval, minJobTime, maxJobTime),
		between("key-compaction-min-age", c.KeyCompactionMinAge, minJobTime, maxJobTime),
	)
}

// ValidateDatabase says what is wrong with the parts that migrate needs.
func (c Config) ValidateDatabase() error {
	var faults []error
	if c.DatabaseURL.Empty() {
		faults = append(faults, errors.New("database-url: required"))
	} else if u, err := url.Parse(c.DatabaseURL.Reveal()); err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		faults = append(faults, errors.New("database-url: must be a URL of scheme postgres")) // the value holds a password: it is not shown
	}
	if c.PoolSize < minPoolSize || c.PoolSize > maxPoolSize {
		faults = append(faults, fmt.Errorf("pool-size: %d is not between %d and %d", c.PoolSize, minPoolSize, maxPoolSize))
	}
	return errors.Join(faults...)
}

func (c Config) validateAddress() error {
	if c.AdvertisedAddress == "" {
		return nil
	}
	if err := listen.ValidBaseURL(c.AdvertisedAddress); err != nil {
		return fmt.Errorf("advertised-address: %w", err)
	}
	return nil
}

func (c Config) validateBootstrapKey() error {
	if !c.BootstrapAdminKey.Empty() && !access.WellFormed(c.BootstrapAdminKey.Reveal()) {
		return errors.New("bootstrap-admin-key: must be shk_ and 43 characters of base64url")
	}
	_, err := c.agentKeys()
	return err
}

// agentKeys are the bootstrap keys of agents, by agent group. Its errors show no key.
func (c Config) agentKeys() (map[string]string, error) {
	keys := map[string]string{}
	if c.BootstrapAgentKeys.Empty() {
		return keys, nil
	}
	if json.Unmarshal([]byte(c.BootstrapAgentKeys.Reveal()), &keys) != nil {
		return nil, errors.New("bootstrap-agent-keys: must be a JSON object of agent group and key")
	}
	for name, key := range keys {
		if !agentGroup.MatchString(name) {
			return nil, fmt.Errorf("bootstrap-agent-keys: agent group %q must be 1 to 40 of a-z, 0-9 and -", name)
		}
		if !access.WellFormed(key) {
			return nil, fmt.Errorf("bootstrap-agent-keys: the key of %q must be shk_ and 43 characters of base64url", name)
		}
	}
	return keys, nil
}

// agentGroup is what proto demands of a name, too.
var agentGroup = regexp.MustCompile("^[a-z0-9-]{1,40}$")

func (c Config) validateAgentGroups() error {
	for _, name := range c.AgentGroups {
		if !agentGroup.MatchString(name) {
			return fmt.Errorf("agent-groups: %q must be 1 to 40 of a-z, 0-9 and -", name)
		}
	}
	return nil
}

func (c Config) validateMaxMoves() error {
	if c.MaxMoves < 1 || c.MaxMoves > maxMaxMoves {
		return fmt.Errorf("max-moves: %d is not between 1 and %d", c.MaxMoves, maxMaxMoves)
	}
	return nil
}

func between(name string, value, least, most time.Duration) error {
	if value < least || value > most {
		return fmt.Errorf("%s: %v is not between %v and %v", name, value, least, most)
	}
	return nil
}

// forgetting is the time between two looks for rows of objects that are gone: where they go faster, as in tests, more often.
func (c Config) forgetting() time.Duration {
	return min(max(c.DeletionGrace, time.Second), time.Minute)
}

func (c Config) jobs() store.JobConfig {
	return store.JobConfig{
		DeletionGrace: c.DeletionGrace, CheckpointInterval: c.CheckpointInterval, SweepInterval: c.SweepInterval, SweepAge: c.SweepAge,
		CompactionOff: !c.Compaction, CompactionMinAge: c.CompactionMinAge, CompactionTargetBytes: c.CompactionTargetBytes,
		KeyCompactionInterval: c.KeyCompactionInterval, KeyCompactionMinAge: c.KeyCompactionMinAge,
	}
}
