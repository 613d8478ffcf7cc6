package command

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/streamhouse/streamhouse/client"

	"github.com/streamhouse/streamhouse/cli/internal/output"
)

type topicCommand struct {
	Create   topicCreateCommand   `cmd:"" help:"Create a topic."`
	List     topicListCommand     `cmd:"" help:"List the topics."`
	Describe topicDescribeCommand `cmd:"" help:"Show a topic and its partitions."`
	Update   topicUpdateCommand   `cmd:"" help:"Change a topic's configuration; what is not given stays."`
	Delete   topicDeleteCommand   `cmd:"" help:"Delete a topic and all its records. A topic made anew under the name shares nothing with it."`
}

// topicSettings can be set at creation and changed later.
type topicSettings struct {
	AllowBufferedAcks *bool             `help:"Let producers ask for acks before records are stored; these are lost if their agent dies." negatable:""`
	MaxRecordBytes    *int32            `help:"Largest record in bytes. Default: 1 MiB; 1 to 3145728."                                    placeholder:"N"`
	Retention         *string           `help:"How long records are kept after they were stored: 168h (the default for a new topic), 7d, 90m; 'forever'." placeholder:"DURATION"`
	RetentionBytes    *string           `help:"How many bytes each partition keeps at least, as stored: a number, or 10GiB; 'unlimited', the default." placeholder:"BYTES"`
	CleanupPolicy     *string           `help:"What becomes of old records. delete: those beyond the retention go, the default. compact: of each key the newest record stays, whatever the retention says. compact_and_delete: both." enum:"delete,compact,compact_and_delete" placeholder:"POLICY"`
	PreferredZones    *[]string         `help:"Zones whose agents should lead the topic, at most 10; others do while none lives there. 'none': every zone with agents leads its share, the default." placeholder:"ZONE"`
	Set               map[string]string `help:"Set a value by its name in the configuration: max_record_bytes, allow_buffered_acks, preferred_zones, retention_ms, retention_bytes, cleanup_policy, delete_retention_ms, min_compaction_lag_ms." mapsep:"none"   placeholder:"KEY=VALUE"`
}

// config merges flags and --set; what is set twice is an error.
func (s topicSettings) config() (client.TopicConfig, error) {
	c := client.TopicConfig{MaxRecordBytes: s.MaxRecordBytes, AllowBufferedAcks: s.AllowBufferedAcks}
	if s.PreferredZones != nil {
		c.PreferredZones = zones(*s.PreferredZones)
	}
	if err := s.keep(&c); err != nil {
		return c, err
	}
	for _, name := range slices.Sorted(maps.Keys(s.Set)) {
		if err := setOne(&c, name, s.Set[name]); err != nil {
			return c, err
		}
	}
	return c, nil
}

// noZones is how no preference is written: an empty list cannot be.
const noZones = "none"

func zones(given []string) *[]string {
	if len(given) == 1 && given[0] == noZones {
		given = nil
	}
	list := append([]string{}, given...)
	return &list
}

func setOne(c *client.TopicConfig, name, value string) error {
	switch name {
	case "max_record_bytes":
		if c.MaxRecordBytes != nil {
			return usage("max_record_bytes is set twice")
		}
		n, err := strconv.ParseInt(value, 10, 32)
		if err != nil {
			return usage("--set %s=%s: must be a number of bytes", name, value)
		}
		bytes := int32(n)
		c.MaxRecordBytes = &bytes
	case "allow_buffered_acks":
		if c.AllowBufferedAcks != nil {
			return usage("allow_buffered_acks is set twice")
		}
		allow, err := strconv.ParseBool(value)
		if err != nil {
			return usage("--set %s=%s: must be true or false", name, value)
		}
		c.AllowBufferedAcks = &allow
	case "preferred_zones":
		if c.PreferredZones != nil {
			return usage("preferred_zones is set twice")
		}
		c.PreferredZones = zones(strings.FieldsFunc(value, func(r rune) bool { return r == ',' }))
	default:
		return setKept(c, name, value)
	}
	return nil
}

// topic is how a topic is printed. Stable.
type topic struct {
	Name           string      `json:"name"`
	ID             string      `json:"id"`
	AgentGroup     string      `json:"agent_group"`
	PartitionCount int32       `json:"partition_count"`
	Config         topicConfig `json:"config"`
	CreatedAt      time.Time   `json:"created_at"`
}

type topicConfig struct {
	MaxRecordBytes    int32 `json:"max_record_bytes"`
	AllowBufferedAcks bool  `json:"allow_buffered_acks"`
	// PreferredZones; empty: none.
	PreferredZones []string `json:"preferred_zones"`
	// RetentionMs; -1: for ever.
	RetentionMs int64 `json:"retention_ms"`
	// RetentionBytes of each partition; -1: all.
	RetentionBytes     int64  `json:"retention_bytes"`
	CleanupPolicy      string `json:"cleanup_policy"`
	DeleteRetentionMs  int64  `json:"delete_retention_ms"`
	MinCompactionLagMs int64  `json:"min_compaction_lag_ms"`
}

func topicFrom(t client.Topic) topic {
	return topic{
		Name: t.Name, ID: t.ID, AgentGroup: t.AgentGroup, PartitionCount: t.PartitionCount, CreatedAt: t.CreatedAt,
		Config: topicConfig{
			MaxRecordBytes: t.MaxRecordBytes, AllowBufferedAcks: t.AllowBufferedAcks, PreferredZones: append([]string{}, t.PreferredZones...),
			RetentionMs: millisecondsKept(t.Retention), RetentionBytes: t.RetentionBytes, CleanupPolicy: t.CleanupPolicy.String(),
			DeleteRetentionMs: millisecondsKept(t.DeleteRetention), MinCompactionLagMs: millisecondsKept(t.MinCompactionLag),
		},
	}
}

func topicRows(topics ...topic) output.Rows {
	rows := output.Rows{
		Head:  []string{"TOPIC", "PARTITIONS", "GROUP", "RETENTION", "MAX RECORD", "BUFFERED ACKS", "PREFERRED ZONES", "CREATED", "ID"},
		Empty: "There are no topics: `streamhouse topic create` makes one.",
	}
	for _, t := range topics {
		rows.Body = append(rows.Body, []string{
			t.Name, fmt.Sprint(t.PartitionCount), t.AgentGroup, t.Config.retention(), fmt.Sprint(t.Config.MaxRecordBytes), yesNo(t.Config.AllowBufferedAcks),
			strings.Join(t.Config.PreferredZones, ","),
			output.Time(t.CreatedAt), t.ID,
		})
	}
	return rows
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

type topicCreateCommand struct {
	Name       string `arg:""            help:"1 to 200 of letters, digits, _ and -."`
	Partitions int32  `default:"3"       help:"Number of partitions, 1 to 100,000. Default: ${default}."        placeholder:"N"`
	AgentGroup string `default:"default" help:"Agent group whose agents serve the topic. Default: ${default}." placeholder:"NAME"`
	topicSettings
}

// Run creates the topic.
func (c topicCreateCommand) Run(ctx context.Context, e *env) error {
	config, err := c.config()
	if err != nil {
		return err
	}
	admin, closing, err := e.admin()
	if err != nil {
		return err
	}
	defer closing()
	made, err := admin.CreateTopic(ctx, client.NewTopic{Name: c.Name, PartitionCount: c.Partitions, AgentGroup: c.AgentGroup, Config: config})
	if err != nil {
		return fmt.Errorf("create topic %s: %w", c.Name, err)
	}
	t := topicFrom(made)
	return e.print(t, topicRows(t))
}

type topicListCommand struct{}

// Run lists the topics.
func (topicListCommand) Run(ctx context.Context, e *env) error {
	admin, closing, err := e.admin()
	if err != nil {
		return err
	}
	defer closing()
	found, err := admin.ListTopics(ctx)
	if err != nil {
		return fmt.Errorf("list topics: %w", err)
	}
	topics := make([]topic, 0, len(found))
	for _, t := range found {
		topics = append(topics, topicFrom(t))
	}
	return e.print(topics, topicRows(topics...))
}

type topicDescribeCommand struct {
	Name string `arg:"" help:"Topic."`
}

// describedTopic is a topic with its partitions. Stable.
type describedTopic struct {
	topic
	Partitions []partition `json:"partitions"`
}

// partition is how a partition is printed. Stable; null where nobody leads, or should lead.
type partition struct {
	Partition      int32   `json:"partition"`
	Leader         *string `json:"leader"`
	Zone           *string `json:"zone"`
	Epoch          int32   `json:"epoch"`
	LogStartOffset int64   `json:"log_start_offset"`
	HighWatermark  int64   `json:"high_watermark"`
	AssignedTo     *string `json:"assigned_to"`
}

// orNull is nil for an empty string.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// Run describes the topic.
func (c topicDescribeCommand) Run(ctx context.Context, e *env) error {
	admin, closing, err := e.admin()
	if err != nil {
		return err
	}
	defer closing()
	found, partitions, err := admin.DescribeTopic(ctx, c.Name)
	if err != nil {
		return fmt.Errorf("describe topic %s: %w", c.Name, err)
	}
	described := describedTopic{topic: topicFrom(found), Partitions: make([]partition, 0, len(partitions))}
	rows := output.Rows{Head: []string{"PARTITION", "LEADER", "ZONE", "EPOCH", "START", "HIGH WATERMARK", "ASSIGNED TO"}}
	for _, p := range partitions {
		described.Partitions = append(described.Partitions, partition{
			Partition: p.Partition, Leader: orNull(p.LeaderAgentID), Zone: orNull(p.LeaderZone), Epoch: p.Epoch,
			LogStartOffset: p.LogStartOffset, HighWatermark: p.HighWatermark, AssignedTo: orNull(p.AssignedAgentID),
		})
		rows.Body = append(rows.Body, []string{
			fmt.Sprint(p.Partition), p.LeaderAgentID, p.LeaderZone, fmt.Sprint(p.Epoch), fmt.Sprint(p.LogStartOffset),
			fmt.Sprint(p.HighWatermark), p.AssignedAgentID,
		})
	}
	if e.Output == output.Table {
		if err := e.print(nil, topicRows(described.topic)); err != nil {
			return err
		}
		fmt.Fprintln(e.Stdout)
	}
	return e.print(described, rows)
}

type topicUpdateCommand struct {
	Name       string `arg:"" help:"Topic."`
	Partitions *int32 `help:"Number of partitions from now on, at most 100,000; never fewer. Records with a key may go to other partitions afterwards: those of one key are in order within each." placeholder:"N"`
	topicSettings
}

// Run changes the topic: first its configuration, then the number of its partitions.
func (c topicUpdateCommand) Run(ctx context.Context, e *env) error {
	config, err := c.config()
	if err != nil {
		return err
	}
	if config == (client.TopicConfig{}) && c.Partitions == nil {
		return usage("nothing to change: pass --partitions, --retention, --retention-bytes, --max-record-bytes, --allow-buffered-acks, " +
			"--preferred-zones or --set KEY=VALUE")
	}
	if c.Partitions != nil && *c.Partitions < 1 {
		return usage("--partitions: %d is below 1", *c.Partitions)
	}
	admin, closing, err := e.admin()
	if err != nil {
		return err
	}
	defer closing()
	var updated client.Topic
	if config != (client.TopicConfig{}) {
		if updated, err = admin.UpdateTopic(ctx, c.Name, config); err != nil {
			return fmt.Errorf("update topic %s: %w", c.Name, err)
		}
	}
	if c.Partitions != nil {
		if updated, err = admin.AddPartitions(ctx, c.Name, *c.Partitions); err != nil {
			return fmt.Errorf("add partitions to topic %s: %w", c.Name, err)
		}
	}
	t := topicFrom(updated)
	return e.print(t, topicRows(t))
}

type topicDeleteCommand struct {
	Name string `arg:"" help:"Topic."`
}

// deletedTopic is the answer to delete. Stable.
type deletedTopic struct {
	Name string `json:"name"`
	ID   string `json:"id"`
}

// Run deletes the topic.
func (c topicDeleteCommand) Run(ctx context.Context, e *env) error {
	admin, closing, err := e.admin()
	if err != nil {
		return err
	}
	defer closing()
	id, err := admin.DeleteTopic(ctx, c.Name)
	if err != nil {
		return fmt.Errorf("delete topic %s: %w", c.Name, err)
	}
	return e.print(deletedTopic{Name: c.Name, ID: id}, output.Rows{Head: []string{"DELETED", "ID"}, Body: [][]string{{c.Name, id}}})
}
