package fetch

import (
	"cmp"
	"context"

	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	"github.com/streamhouse/streamhouse/dataplane/internal/route"
	"github.com/streamhouse/streamhouse/serve/access"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

// target is a partition and the offset wanted of it.
type target struct {
	topic  route.Topic
	id     partition.ID
	offset int64
}

// authorize refuses callers of another agent group (P7).
func (s *Service) authorize(ctx context.Context) error {
	if p, ok := access.From(ctx); ok && p.MayUse(s.group) {
		return nil
	}
	return refusal.WrongAgentGroup("this agent serves the agent group %q, the key belongs to another: call an agent of your group", s.group)
}

// named is an entry of a request that names its topic by name or id.
type named interface {
	GetTopicName() string
	GetTopicId() string
	GetPartition() int32
}

// resolver remembers the topics of one request.
type resolver struct {
	service *Service
	found   map[[2]string]route.Topic
}

func (s *Service) resolver() *resolver {
	return &resolver{service: s, found: make(map[[2]string]route.Topic, 1)}
}

// target finds an entry's topic; with an error, the target only names what was asked for. Whether it has
// such a partition the catalog says: it may have got more.
func (r *resolver) target(ctx context.Context, n named) (target, error) {
	key := [2]string{n.GetTopicName(), n.GetTopicId()}
	topic, ok := r.found[key]
	if !ok {
		var err error
		if topic, err = r.service.routes.ResolveTopic(ctx, key[0], key[1]); err != nil {
			label := route.Topic{Name: cmp.Or(key[0], key[1])}
			return target{topic: label, id: label.Partition(n.GetPartition())}, err
		}
		r.found[key] = topic
	}
	return target{topic: topic, id: topic.Partition(n.GetPartition())}, nil
}
