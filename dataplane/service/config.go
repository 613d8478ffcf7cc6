package service

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/streamhouse/streamhouse/serve/access"
	"github.com/streamhouse/streamhouse/serve/admin"
	"github.com/streamhouse/streamhouse/serve/listen"
	"github.com/streamhouse/streamhouse/serve/logs"
	"github.com/streamhouse/streamhouse/serve/secret"
	"github.com/streamhouse/streamhouse/serve/telemetry"

	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/produce"
)

// Config of an agent. The tags are those of flags, environment and file (package serve/config); the zero Config is not valid, see
// DefaultConfig.
type Config struct {
	Listener  listen.Config    `embed:""`
	Log       logs.Config      `embed:""`
	Telemetry telemetry.Config `embed:""`
	Admin     admin.Config     `embed:""`

	AgentID           string        `placeholder:"ID"      help:"Unique in the cluster: 1 to 100 of letters, digits, '.', '_' and '-'. Empty: the host's name. A second process with the same id ends the first."`
	AgentGroup        string        `default:"default"     help:"Agent group; the agent key must be for it."                                        placeholder:"NAME"`
	Zone              string        `placeholder:"ZONE"    help:"Availability zone, e.g. eu-west-1a. Empty: that of the ECS task, else of the EC2 instance, else \"default\"."`
	Capacity          int64         `default:"104857600"   help:"Bytes of records per second, in and out together, that this agent is meant for: its weight in placement, and what streamhouse.agent.utilization is a share of." placeholder:"BYTES"`
	AdvertisedAddress string        `placeholder:"URL"     help:"Base URL under which clients and other agents reach this agent; empty: the one that it listens on, and if that is every address, the first that other machines can reach."`
	ControlPlane      []string      `placeholder:"URL,..." help:"Base URLs of the control plane's replicas, tried in turn. Required to serve."`
	AgentKey          secret.Secret `placeholder:"KEY"     help:"API key with the role agent (shk_ and 43 characters). Required to serve."`

	S3Bucket    string        `placeholder:"NAME" help:"Bucket. Required to serve."`
	S3Endpoint  string        `placeholder:"URL"  help:"S3 endpoint, http or https; empty: AWS's for the region."`
	S3Region    string        `placeholder:"NAME" help:"Region; empty: that of the environment, else us-east-1."`
	S3PathStyle bool          `help:"Put the bucket into the path, not into the host name; most servers but AWS want it."`
	S3AccessKey string        `placeholder:"ID"   help:"Access key; empty, with the secret key: the AWS chain (environment, profile, instance or task role)."`
	S3SecretKey secret.Secret `placeholder:"KEY"  help:"Secret key, with the access key."`

	S3WritePrice float64 `default:"0.005"  help:"Dollars for 1,000 PUT, COPY, POST or LIST requests: what streamhouse.s3.cost counts with. The default is that of S3 Standard in us-east-1." placeholder:"USD"`
	S3ReadPrice  float64 `default:"0.0004" help:"Dollars for 1,000 GET and all other requests."                                                                                                                         placeholder:"USD"`

	MaxObjectBytes   int           `default:"8388608"   help:"Bytes of batches at which an object is sealed, 64 KiB to 256 MiB."                              placeholder:"N"`
	PutsPerSecond    float64       `default:"4"         help:"Budget of PUTs, 0.1 to 10000 a second: what bounds the bill, and how soon lone records are durable. Full objects, hand-overs and the first records of a lease wait for nothing." placeholder:"N"`
	PutBurst         int           `default:"8"         help:"PUTs that an agent may save up, 1 to 10000; until they are used up, records are uploaded at once." placeholder:"N"`
	Linger           time.Duration `default:"250ms"     help:"Longest that records of many partitions wait for others while they are fewer than 8 KiB a partition."`
	MaxUploads       int           `default:"6"         help:"Uploads in flight, 1 to 64."                                                                 placeholder:"N"`
	MaxBufferedBytes int           `default:"268435456" help:"Bytes of records on their way to the bucket; beyond it producers are told to come back (OVERLOADED)." placeholder:"N"`
	Verify           string        `default:"full"      enum:"full,checksum"                                                                                                   help:"How far producers' batches are verified: full proves every record; checksum trusts producers to build honest batches and costs a quarter less CPU." placeholder:"LEVEL"`
	CacheBytes       int64         `default:"268435456" help:"Bytes of segments kept in memory because readers use them often; half as much again because they are new."                                             placeholder:"N"`
	LookupInterval   time.Duration `default:"1s"        help:"Time between two lookups for all readers that wait, 10ms to 1s; notices of other agents wake them earlier."`
	ProduceTimeout   time.Duration `default:"30s"       help:"Longest that a produce call takes, whatever deadline it has."`

	Jobs        bool          `default:"true" help:"This agent works on the bucket, too: checkpoints, deletion, looking for orphans. An agent group needs one that does." negatable:""`
	JobInterval time.Duration `default:"5s"   help:"Time between two questions for such work, 10ms to 10m."`

	CompactionBytesPerSecond int64 `default:"67108864" help:"Bytes that compaction, of objects and by key together, reads from the bucket in a second at most, at least 64 KiB, a request counting as 64 KiB; it writes as many. While producers wait longer than usual, or fill half of max-buffered-bytes, it is down to an eighth." placeholder:"N"`
	KeyCompactionMemory      int64 `default:"67108864" help:"Bytes for the keys that one pass over a topic that is compacted by key knows, 32 a key, 4 KiB to 64 GiB. What does not fit is left to the next pass."`

	DrainDeadline time.Duration `default:"60s" help:"Longest time at SIGTERM for handing partitions over; then the agent stops hard, which loses nothing that was acknowledged as durable."`
	DrainLinger   time.Duration `default:"5s"  help:"How long late requests are still forwarded after partitions were handed over."`
}

// DefaultConfig has every default but what has none: control plane, agent key, bucket.
func DefaultConfig() Config {
	return Config{
		Listener:         listen.Config{Listen: "127.0.0.1:8080", StopTimeout: 10 * time.Second},
		Log:              logs.Config{LogFormat: "text", LogRate: logs.DefaultRate},
		Telemetry:        telemetry.DefaultConfig(),
		AgentGroup:       "default",
		Capacity:         100 << 20,
		S3WritePrice:     0.005,
		S3ReadPrice:      0.0004,
		MaxObjectBytes:   8 << 20,
		PutsPerSecond:    4,
		PutBurst:         8,
		Linger:           250 * time.Millisecond,
		MaxUploads:       6,
		MaxBufferedBytes: 256 << 20,
		Verify:           string(produce.Full),
		CacheBytes:       256 << 20,
		LookupInterval:   time.Second,
		ProduceTimeout:   30 * time.Second,
		Jobs:             true,
		JobInterval:      5 * time.Second,

		CompactionBytesPerSecond: 64 << 20,
		KeyCompactionMemory:      64 << 20,
		DrainDeadline:            time.Minute,
		DrainLinger:              5 * time.Second,
	}
}

const (
	minObjectBytes = 64 << 10

	minCompactionBytes = 64 << 10
	maxObjectBytes     = 256 << 20
	maxUploads         = 64
	minPuts            = 0.1
	maxPuts            = 10_000
	minCacheBytes      = 1 << 20
	maxWait            = 10 * time.Minute
)

var namePattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,100}$`)

// Validate says what is wrong, all of it.
func (c Config) Validate() error {
	return errors.Join(
		c.Listener.Validate(),
		c.Telemetry.Validate(),
		c.Admin.Validate(),
		c.validateNames(),
		c.validateControlPlane(),
		c.validateBucket(),
		c.validateSizes(),
		between("linger", c.Linger, 0, time.Minute),
		between("lookup-interval", c.LookupInterval, 10*time.Millisecond, time.Second),
		between("produce-timeout", c.ProduceTimeout, time.Second, maxWait),
		between("job-interval", c.JobInterval, 10*time.Millisecond, maxWait),
		between("drain-deadline", c.DrainDeadline, time.Second, maxWait),
		between("drain-linger", c.DrainLinger, 0, maxWait),
	)
}

func (c Config) validateNames() error {
	var faults []error
	if c.AgentID != "" && !namePattern.MatchString(c.AgentID) {
		faults = append(faults, fmt.Errorf("agent-id: %q must be 1 to 100 of letters, digits, '.', '_' and '-'", c.AgentID))
	}
	if c.Zone != "" && !namePattern.MatchString(c.Zone) {
		faults = append(faults, fmt.Errorf("zone: %q must be 1 to 100 of letters, digits, '.', '_' and '-'", c.Zone))
	}
	if c.Capacity < 1 {
		faults = append(faults, fmt.Errorf("capacity: %d is below 1 byte per second", c.Capacity))
	}
	if object.ValidateAgentGroup(c.AgentGroup) != nil {
		faults = append(faults, fmt.Errorf("agent-group: %q must be 1 to 40 of a-z, 0-9 and '-'", c.AgentGroup))
	}
	if c.AdvertisedAddress != "" {
		if err := listen.ValidBaseURL(c.AdvertisedAddress); err != nil {
			faults = append(faults, fmt.Errorf("advertised-address: %w", err))
		}
	}
	return errors.Join(faults...)
}

func (c Config) validateControlPlane() error {
	var faults []error
	if len(c.ControlPlane) == 0 {
		faults = append(faults, errors.New("control-plane: required"))
	}
	for _, address := range c.ControlPlane {
		if err := listen.ValidBaseURL(address); err != nil {
			faults = append(faults, fmt.Errorf("control-plane: %w", err))
		}
	}
	if !access.WellFormed(c.AgentKey.Reveal()) {
		faults = append(faults, errors.New("agent-key: must be shk_ and 43 characters of base64url"))
	}
	return errors.Join(faults...)
}

func (c Config) validateBucket() error {
	if c.S3Bucket == "" {
		return errors.New("s3-bucket: required")
	}
	if (c.S3AccessKey == "") != c.S3SecretKey.Empty() {
		return errors.New("s3-access-key and s3-secret-key: give both or none")
	}
	if !(c.S3WritePrice >= 0 && c.S3ReadPrice >= 0) { // NaN is not
		return errors.New("s3-write-price and s3-read-price: must be at least 0")
	}
	return nil
}

func (c Config) validateSizes() error {
	var faults []error
	if c.CompactionBytesPerSecond < minCompactionBytes {
		faults = append(faults, fmt.Errorf("compaction-bytes-per-second: %d is below %d", c.CompactionBytesPerSecond, minCompactionBytes))
	}
	if c.MaxObjectBytes < minObjectBytes || c.MaxObjectBytes > maxObjectBytes {
		faults = append(faults, fmt.Errorf("max-object-bytes: %d is not between %d and %d", c.MaxObjectBytes, minObjectBytes, maxObjectBytes))
	}
	if c.MaxBufferedBytes < c.MaxObjectBytes {
		faults = append(faults, fmt.Errorf("max-buffered-bytes: %d is below max-object-bytes", c.MaxBufferedBytes))
	}
	if c.MaxUploads < 1 || c.MaxUploads > maxUploads {
		faults = append(faults, fmt.Errorf("max-uploads: %d is not between 1 and %d", c.MaxUploads, maxUploads))
	}
	if !(c.PutsPerSecond >= minPuts && c.PutsPerSecond <= maxPuts) { // NaN is not
		faults = append(faults, fmt.Errorf("puts-per-second: %v is not between %v and %v", c.PutsPerSecond, minPuts, maxPuts))
	}
	if c.PutBurst < 1 || c.PutBurst > maxPuts {
		faults = append(faults, fmt.Errorf("put-burst: %d is not between 1 and %d", c.PutBurst, maxPuts))
	}
	if level := produce.Level(c.Verify); level != produce.Full && level != produce.Checksum {
		faults = append(faults, fmt.Errorf("verify: %q is neither full nor checksum", c.Verify))
	}
	if c.CacheBytes < minCacheBytes {
		faults = append(faults, fmt.Errorf("cache-bytes: %d is below %d", c.CacheBytes, minCacheBytes))
	}
	return errors.Join(faults...)
}

func between(name string, value, least, most time.Duration) error {
	if value < least || value > most {
		return fmt.Errorf("%s: %v is not between %v and %v", name, value, least, most)
	}
	return nil
}

var notInNames = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// agentID is the configured id, or one made of the host's name.
func (c Config) agentID() (string, error) {
	if c.AgentID != "" {
		return c.AgentID, nil
	}
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("agent-id: host name: %w", err)
	}
	id := strings.Trim(notInNames.ReplaceAllString(host, "-"), "-")
	if len(id) > 100 {
		id = id[:100]
	}
	if id == "" {
		return "", errors.New("agent-id: the host has no name: set one")
	}
	return id, nil
}

// jobInterval is 0 for an agent that does no jobs.
func (c Config) jobInterval() time.Duration {
	if !c.Jobs {
		return 0
	}
	return c.JobInterval
}
