package consume

import (
	"fmt"
	"strings"
	"time"
)

// layouts of times without a zone are local.
var layouts = []string{time.DateTime, "2006-01-02T15:04:05", "2006-01-02 15:04", time.DateOnly}

// ParseTime reads a time: RFC 3339, a local date with or without a time of day, or a duration before now such as -10m.
func ParseTime(text string, now time.Time) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	for _, layout := range layouts {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return t, nil
		}
	}
	if strings.HasPrefix(text, "-") {
		if d, err := time.ParseDuration(text); err == nil {
			return now.Add(d), nil
		}
	}
	return time.Time{}, fmt.Errorf("--at %q: must be a time such as 2026-01-31T12:00:00Z, 2026-01-31 12:00:00 (local) or -10m", text)
}
