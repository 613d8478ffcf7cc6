package route

import (
	"context"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

const (
	// maxResolves bounds the topic lookups in flight: callers that make names up must not flood the catalog.
	maxResolves = 8
	// catalogRetry is when a caller should come back while the catalog is out of reach.
	catalogRetry = 500 * time.Millisecond
)

// Resolver finds topics past every cache; package catalog's Client is one.
type Resolver interface {
	ResolveTopics(context.Context, *controlplanev1.ResolveTopicsRequest) (*controlplanev1.ResolveTopicsResponse, error)
}

// ResolveTopic finds a topic by name, or by id (the usual form of a UUID) where name is empty. A name is a label that may have passed to another
// topic a moment ago, so the control plane is asked for it, in a call that starts now; an id only where it has not been heard of. So a topic that
// was created before this call is found, one that was deleted before it is not found by its name. All errors are refusals: UNKNOWN_TOPIC, INVALID
// (not a UUID), CATALOG_UNAVAILABLE; or the context's.
func (t *Table) ResolveTopic(ctx context.Context, name, id string) (Topic, error) {
	if name != "" {
		found, err := t.ResolveNames(ctx, name)
		if err != nil {
			return Topic{}, err
		}
		topic, ok := found[name]
		if !ok {
			return Topic{}, refusal.UnknownTopic(name)
		}
		return topic, nil
	}
	uuid, err := object.ParseUUID(id)
	if err != nil {
		return Topic{}, refusal.Invalid("topic_id", "topic id %q is not a UUID in lower case", id)
	}
	return t.find(ctx, id, func() (Topic, bool) { return t.ByID(uuid) },
		&controlplanev1.ResolveTopicsRequest{TopicIds: [][]byte{uuid[:]}})
}

// canBeName says whether a topic can have the name: letters, digits, "_" and "-".
func canBeName(name string) bool {
	for _, c := range []byte(name) {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// ByID returns a topic that the table knows.
func (t *Table) ByID(id object.UUID) (Topic, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	topic, ok := t.topics[id]
	return topic.Topic, ok && !topic.deleted
}

func (t *Table) find(ctx context.Context, label string, known func() (Topic, bool), ask *controlplanev1.ResolveTopicsRequest) (Topic, error) {
	if topic, ok := known(); ok {
		return topic, nil
	}
	select {
	case t.resolve <- struct{}{}:
		defer func() { <-t.resolve }()
	case <-ctx.Done():
		return Topic{}, ctx.Err()
	}
	if topic, ok := known(); ok {
		return topic, nil
	}
	res, err := t.catalog.ResolveTopics(ctx, ask)
	if err != nil {
		if ctx.Err() != nil {
			return Topic{}, ctx.Err()
		}
		return Topic{}, refusal.CatalogUnavailable(catalogRetry, err)
	}
	t.Apply(&controlplanev1.Placement{Topics: res.GetTopics(), Partitions: res.GetPartitions()})
	if topic, ok := known(); ok {
		return topic, nil
	}
	return Topic{}, refusal.UnknownTopic(label)
}

// UnknownPartition refuses a partition that the topic does not have.
func UnknownPartition(topic Topic, number int32) error {
	r := refusal.New(refusalv1.Reason_REASON_UNKNOWN_PARTITION, "topic %q has the partitions 0 to %d, not %d",
		topic.Name, topic.PartitionCount-1, number)
	r.Topic, r.Partition = topic.Name, &number
	return refusal.Error(r)
}
