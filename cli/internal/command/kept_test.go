package command

import (
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/client"
)

func TestWhatATopicKeepsIsRead(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"168h": 168 * time.Hour, "7d": 168 * time.Hour, "0.5d": 12 * time.Hour, "90m": 90 * time.Minute, "forever": client.Unbounded,
	} {
		if got, err := parseKept(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "d", "-1h", "0d", "1000000d", "week"} {
		if got, err := parseKept(text); err == nil {
			t.Errorf("%s was taken for %v", text, got)
		}
	}
	for text, want := range map[string]int64{"1": 1, "3KiB": 3072, "10GiB": 10 << 30, "2TiB": 2 << 40, "unlimited": client.Unbounded} {
		if got, err := parseBytes(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "-1", "0", "1GB", "GiB", "9000000000TiB"} {
		if got, err := parseBytes(text); err == nil {
			t.Errorf("%s was taken for %v", text, got)
		}
	}
	c, err := topicSettings{Set: map[string]string{"retention_ms": "-1", "retention_bytes": "5", "delete_retention_ms": "7"}}.config()
	if err != nil || *c.Retention != client.Unbounded || *c.RetentionBytes != 5 || *c.DeleteRetention != 7*time.Millisecond {
		t.Errorf("%+v, %v", c, err)
	}
	both := "compact_and_delete"
	for _, s := range []topicSettings{{CleanupPolicy: &both}, {Set: map[string]string{"cleanup_policy": both}}} {
		if c, err := s.config(); err != nil || *c.CleanupPolicy != client.CleanupCompactAndDelete {
			t.Errorf("%+v, %v", c, err)
		}
	}
	for want, c := range map[string]topicConfig{
		"7d":                {RetentionMs: 604800000, RetentionBytes: -1},
		"1h30m0s, 10 bytes": {RetentionMs: 5400000, RetentionBytes: 10},
		"forever":           {RetentionMs: -1, RetentionBytes: -1},
		"compact":           {RetentionMs: 5400000, RetentionBytes: -1, CleanupPolicy: "compact"}, // nothing goes because it is old
		"compact, 7d":       {RetentionMs: 604800000, RetentionBytes: -1, CleanupPolicy: "compact_and_delete"},
	} {
		if got := c.retention(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
