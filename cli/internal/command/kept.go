package command

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/streamhouse/streamhouse/client"
)

const (
	// forever and unlimited are how no bound is written.
	forever, unlimited = "forever", "unlimited"
	day                = 24 * time.Hour
)

// keep takes over the flags about what a topic keeps.
func (s topicSettings) keep(c *client.TopicConfig) error {
	if s.Retention != nil {
		kept, err := parseKept(*s.Retention)
		if err != nil {
			return usage("--retention %s: %w", *s.Retention, err)
		}
		c.Retention = &kept
	}
	if s.RetentionBytes != nil {
		bytes, err := parseBytes(*s.RetentionBytes)
		if err != nil {
			return usage("--retention-bytes %s: %w", *s.RetentionBytes, err)
		}
		c.RetentionBytes = &bytes
	}
	if s.CleanupPolicy != nil {
		policy, err := parsePolicy(*s.CleanupPolicy)
		if err != nil {
			return usage("--cleanup-policy %s: %w", *s.CleanupPolicy, err)
		}
		c.CleanupPolicy = &policy
	}
	return nil
}

// policies are all that a topic can have.
var policies = []client.CleanupPolicy{client.CleanupDelete, client.CleanupCompact, client.CleanupCompactAndDelete}

func parsePolicy(text string) (client.CleanupPolicy, error) {
	for _, p := range policies {
		if p.String() == text {
			return p, nil
		}
	}
	return 0, fmt.Errorf("must be one of %s, %s and %s", policies[0], policies[1], policies[2])
}

// parseKept reads a duration, also in days, or that there is no end.
func parseKept(text string) (time.Duration, error) {
	if text == forever {
		return client.Unbounded, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseFloat(days, 64)
		if err != nil || n*float64(day) > math.MaxInt64 {
			return 0, fmt.Errorf("must be a number of days")
		}
		return positive(time.Duration(n * float64(day)))
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("must be a duration, such as 168h or 7d, or '%s'", forever)
	}
	return positive(d)
}

func positive(d time.Duration) (time.Duration, error) {
	if d <= 0 {
		return 0, fmt.Errorf("must be more than nothing; '%s' is for ever", forever)
	}
	return d, nil
}

// parseBytes reads a number of bytes with or without a unit, or that there is no bound.
func parseBytes(text string) (int64, error) {
	if text == unlimited {
		return client.Unbounded, nil
	}
	number, factor := text, int64(1)
	for i, unit := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if n, ok := strings.CutSuffix(text, unit); ok {
			number, factor = n, int64(1)<<(10*(i+1))
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n <= 0 || n > math.MaxInt64/factor {
		return 0, fmt.Errorf("must be a number of bytes, such as 10737418240 or 10GiB, or '%s'", unlimited)
	}
	return n * factor, nil
}

// setKept is setOne for what a topic keeps, by the names and values of the configuration.
func setKept(c *client.TopicConfig, name, value string) error {
	switch name {
	case "retention_ms":
		return setMilliseconds(&c.Retention, name, value)
	case "delete_retention_ms":
		return setMilliseconds(&c.DeleteRetention, name, value)
	case "min_compaction_lag_ms":
		return setMilliseconds(&c.MinCompactionLag, name, value)
	case "retention_bytes":
		if c.RetentionBytes != nil {
			return usage("retention_bytes is set twice")
		}
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return usage("--set %s=%s: must be a number of bytes, or -1", name, value)
		}
		c.RetentionBytes = &n
	case "cleanup_policy":
		if c.CleanupPolicy != nil {
			return usage("cleanup_policy is set twice")
		}
		policy, err := parsePolicy(value)
		if err != nil {
			return usage("--set %s=%s: %w", name, value, err)
		}
		c.CleanupPolicy = &policy
	default:
		return usage("--set %s=%s: a topic has no such setting; it has max_record_bytes, allow_buffered_acks, preferred_zones, retention_ms, "+
			"retention_bytes, cleanup_policy, delete_retention_ms and min_compaction_lag_ms", name, value)
	}
	return nil
}

func setMilliseconds(to **time.Duration, name, value string) error {
	if *to != nil {
		return usage("%s is set twice", name)
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n > math.MaxInt64/int64(time.Millisecond) {
		return usage("--set %s=%s: must be a number of milliseconds", name, value)
	}
	*to = new(time.Duration(n) * time.Millisecond)
	if n == client.Unbounded {
		*to = new(time.Duration(client.Unbounded))
	}
	return nil
}

// millisecondsKept is how a retention is printed.
func millisecondsKept(d time.Duration) int64 {
	if d < 0 {
		return client.Unbounded
	}
	return d.Milliseconds()
}

// retention is for people: "7d", "90m0s, 1024 bytes", "forever", "compact", "compact, 7d".
func (c topicConfig) retention() string {
	switch c.CleanupPolicy {
	case client.CleanupCompact.String():
		return client.CleanupCompact.String()
	case client.CleanupCompactAndDelete.String():
		return client.CleanupCompact.String() + ", " + c.kept()
	default:
		return c.kept()
	}
}

// kept is how long and how much.
func (c topicConfig) kept() string {
	text := forever
	if c.RetentionMs >= 0 {
		d := time.Duration(c.RetentionMs) * time.Millisecond
		if text = d.String(); d%day == 0 {
			text = fmt.Sprintf("%dd", d/day)
		}
	}
	if c.RetentionBytes >= 0 {
		text += fmt.Sprintf(", %d bytes", c.RetentionBytes)
	}
	return text
}
