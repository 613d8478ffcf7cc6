package object

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

const (
	maxAgentGroupLen = 40
	maxIncarnation   = 255
	uuidLen          = 36
)

// UUID is a topic's or a session's id.
type UUID [16]byte

// String is the usual form: 8-4-4-4-12 lower-case hexadecimal digits.
func (u UUID) String() string {
	h := hex.EncodeToString(u[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// ParseUUID reads the form that String writes, and no other.
func ParseUUID(s string) (UUID, error) {
	var u UUID
	digits := strings.ReplaceAll(s, "-", "")
	if len(s) != uuidLen || len(digits) != 2*len(u) {
		return UUID{}, invalid("UUID %q: want 8-4-4-4-12 digits", s)
	}
	if _, err := hex.Decode(u[:], []byte(digits)); err != nil || u.String() != s {
		return UUID{}, invalid("UUID %q: want 8-4-4-4-12 lower-case hexadecimal digits", s)
	}
	return u, nil
}

// Key names an object, and says who wrote it.
type Key struct {
	// AgentGroup is 1 to 40 of [a-z0-9-].
	AgentGroup string
	// Incarnation of the catalog, 0 to 255.
	Incarnation int32
	// Session that wrote the object.
	Session UUID
	// Counter of the object within its session.
	Counter uint64
}

// String is "<agent group>/<2 hex>/<incarnation>-<session>-<counter>". The two digits are a hash of what
// follows them: they spread the keys of a group over the bucket's index.
func (k Key) String() string {
	name := fmt.Sprintf("%d-%s-%d", k.Incarnation, k.Session, k.Counter)
	return fmt.Sprintf("%s%02x/%s", GroupPrefix(k.AgentGroup), byte(Checksum([]byte(name))), name)
}

// GroupPrefix is what the keys of an agent group begin with, and no other key (P7).
func GroupPrefix(agentGroup string) string { return agentGroup + "/" }

// Validate wraps ErrInvalid.
func (k Key) Validate() error {
	if err := ValidateAgentGroup(k.AgentGroup); err != nil {
		return err
	}
	if k.Incarnation < 0 || k.Incarnation > maxIncarnation {
		return invalid("incarnation %d: want 0 to %d", k.Incarnation, maxIncarnation)
	}
	return nil
}

// ValidateAgentGroup accepts 1 to 40 of [a-z0-9-]; others would break the isolation by prefix. Wraps ErrInvalid.
func ValidateAgentGroup(name string) error {
	if name == "" || len(name) > maxAgentGroupLen {
		return invalid("agent group of %d characters: want 1 to %d", len(name), maxAgentGroupLen)
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return invalid("agent group %q: want characters of [a-z0-9-]", name)
		}
	}
	return nil
}

// ParseKey reads what Key.String writes, and nothing else: a key has one spelling. Wraps ErrInvalid.
func ParseKey(s string) (Key, error) {
	parts := strings.Split(s, "/")
	if len(parts) != 3 {
		return Key{}, invalid("key %q: want <agent group>/<2 hex>/<incarnation>-<session>-<counter>", s)
	}
	k, err := parseKeyName(parts[2])
	if err != nil {
		return Key{}, fmt.Errorf("key %q: %w", s, err)
	}
	k.AgentGroup = parts[0]
	if err := k.Validate(); err != nil {
		return Key{}, fmt.Errorf("key %q: %w", s, err)
	}
	if k.String() != s {
		return Key{}, invalid("key %q: should read %q", s, k)
	}
	return k, nil
}

func parseKeyName(name string) (Key, error) {
	first, last := strings.IndexByte(name, '-'), strings.LastIndexByte(name, '-')
	if first < 0 || last <= first {
		return Key{}, invalid("want <incarnation>-<session>-<counter>")
	}
	incarnation, err := strconv.ParseInt(name[:first], 10, 32)
	if err != nil {
		return Key{}, invalid("incarnation %q: want a number", name[:first])
	}
	counter, err := strconv.ParseUint(name[last+1:], 10, 64)
	if err != nil {
		return Key{}, invalid("counter %q: want a number", name[last+1:])
	}
	session, err := ParseUUID(name[first+1 : last])
	if err != nil {
		return Key{}, err
	}
	return Key{Incarnation: int32(incarnation), Session: session, Counter: counter}, nil
}
