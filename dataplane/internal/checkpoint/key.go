package checkpoint

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/streamhouse/streamhouse/dataplane/internal/object"
)

const (
	incarnationDigits = 3
	numberDigits      = 20
)

// Prefix is what the keys of an agent group's checkpoints begin with.
func Prefix(agentGroup string) string { return object.GroupPrefix(agentGroup) + "checkpoints/" }

// Key names a checkpoint. Keys are in the order of (incarnation, number).
func Key(agentGroup string, incarnation int32, number int64) string {
	return fmt.Sprintf("%s%0*d-%0*d", Prefix(agentGroup), incarnationDigits, incarnation, numberDigits, number)
}

// ParseKey reads what Key writes, and nothing else.
func ParseKey(agentGroup, key string) (incarnation int32, number int64, ok bool) {
	first, second, found := strings.Cut(strings.TrimPrefix(key, Prefix(agentGroup)), "-")
	if !found {
		return 0, 0, false
	}
	wide, err1 := strconv.ParseInt(first, 10, 32)
	number, err2 := strconv.ParseInt(second, 10, 64)
	incarnation = int32(wide)
	return incarnation, number, err1 == nil && err2 == nil && Key(agentGroup, incarnation, number) == key
}

// DescriptionPrefix is what the keys of an agent group's topic descriptions begin with.
func DescriptionPrefix(agentGroup string) string { return object.GroupPrefix(agentGroup) + "topics/" }

// DescriptionKey names the description of a topic.
func DescriptionKey(agentGroup string, topic object.UUID) string {
	return DescriptionPrefix(agentGroup) + topic.String()
}

// ParseDescriptionKey reads what DescriptionKey writes, and nothing else.
func ParseDescriptionKey(agentGroup, key string) (topic object.UUID, ok bool) {
	name, mine := strings.CutPrefix(key, DescriptionPrefix(agentGroup))
	topic, err := object.ParseUUID(name)
	return topic, mine && err == nil
}
