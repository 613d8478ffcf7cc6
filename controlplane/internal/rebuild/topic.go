package rebuild

import (
	"bytes"
	"cmp"
	"slices"
	"time"
)

// TopicID is a topic's id.
type TopicID [16]byte

// Topic is a topic as a checkpoint or a description has it.
type Topic struct {
	ID        TopicID
	Name      string
	CreatedAt time.Time
	// Partitions that it has, at least 1.
	Partitions int32
	// Deleted: a checkpoint says so. Descriptions never do.
	Deleted bool
	// Config is the caller's.
	Config []byte
}

// Topics says which topics there are: those of the newest checkpoint, then those that are described and which it does not know, since they are
// younger than it. What neither names was deleted, and the checkpoint that said so has been replaced by one that says nothing. seen tells
// one more than the greatest partition that a footer names (0: none), for topics whose partitions were increased since.
// Two that live and have one name are an older one, whose deletion was lost, and its successor: the older one gets a name of its own, so
// that nothing is deleted by guess.
func Topics(checkpoint, described []Topic, seen func(TopicID) int32) []Topic {
	known := map[TopicID]bool{}
	var topics []Topic
	for _, t := range slices.Concat(checkpoint, described) {
		if known[t.ID] {
			continue
		}
		known[t.ID] = true
		t.Partitions = max(t.Partitions, seen(t.ID))
		topics = append(topics, t)
	}
	topics = slices.DeleteFunc(topics, func(t Topic) bool { return t.Deleted })
	slices.SortFunc(topics, func(a, b Topic) int { return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), bytes.Compare(a.ID[:], b.ID[:])) })
	taken := map[string]bool{}
	for i := range topics {
		if taken[topics[i].Name] {
			topics[i].Name = SpareName(topics[i].Name, topics[i].ID)
		}
		taken[topics[i].Name] = true
	}
	return topics
}

const (
	hexDigits   = "0123456789abcdef"
	maxNameSize = 200
)

// SpareName is what a topic is called whose name another one has.
func SpareName(name string, id TopicID) string {
	suffix := []byte("-recovered-")
	for _, b := range id[:4] {
		suffix = append(suffix, hexDigits[b>>4], hexDigits[b&15])
	}
	return name[:min(len(name), maxNameSize-len(suffix))] + string(suffix)
}
