package scenario

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// process is a registration: "a/1" is the first process of agent a.
type process struct {
	name  string
	id    uuid.UUID
	group store.AgentGroup
}

// nobody is a process that never registered.
var nobody = process{name: "nobody", id: uuid.MustParse("00000000-0000-4000-8000-000000000000"), group: store.DefaultAgentGroup}

// process finds "a" (its newest process), "a/1" or "nobody".
func (w *World) process(name string) (process, error) {
	if name == nobody.name {
		return nobody, nil
	}
	agentID, ordinal, numbered := strings.Cut(name, "/")
	all := w.processes[agentID]
	n := len(all)
	if numbered {
		n, _ = strconv.Atoi(ordinal)
	}
	if n < 1 || n > len(all) {
		return process{}, fmt.Errorf("there is no process %s", name)
	}
	return all[n-1], nil
}

// sessionName is how scripts call a session.
func (w *World) sessionName(id string) string {
	for _, all := range w.processes {
		for _, p := range all {
			if p.id.String() == id {
				return p.name
			}
		}
	}
	return "?"
}

// topicID finds "orders" (the newest topic of that name) or "orders#1".
func (w *World) topicID(name string) (uuid.UUID, error) {
	label, ordinal, numbered := strings.Cut(name, "#")
	all := w.topics[label]
	n := len(all)
	if numbered {
		n, _ = strconv.Atoi(ordinal)
	}
	if n < 1 || n > len(all) {
		return uuid.Nil, fmt.Errorf("there is no topic %s", name)
	}
	return all[n-1], nil
}

// topicName is how scripts call a topic.
func (w *World) topicName(id uuid.UUID) string {
	for label, all := range w.topics {
		for i, topic := range all {
			switch {
			case topic == id && i == len(all)-1:
				return label
			case topic == id:
				return fmt.Sprintf("%s#%d", label, i+1)
			}
		}
	}
	return "?"
}

// place is a partition.
type place struct {
	topic  uuid.UUID
	number int32
}

// place finds "orders/0".
func (w *World) place(name string) (place, error) {
	label, number, ok := strings.Cut(name, "/")
	if !ok {
		return place{}, fmt.Errorf("%s is no partition: write topic/number", name)
	}
	id, err := w.topicID(label)
	if err != nil {
		return place{}, err
	}
	n, err := strconv.ParseInt(number, 10, 32)
	if err != nil {
		return place{}, fmt.Errorf("%s is no partition: write topic/number", name)
	}
	return place{id, int32(n)}, nil
}

func (w *World) placeName(topicID []byte, number int32) string {
	return fmt.Sprintf("%s/%d", w.topicName(uuid.UUID(topicID)), number)
}

// key is the object key of "o1" (written by this process) or "o1@b" (as if process b had written it).
func (w *World) key(object string, writer process) (string, error) {
	label, owner, borrowed := strings.Cut(object, "@")
	if borrowed {
		var err error
		if writer, err = w.process(owner); err != nil {
			return "", err
		}
	}
	if w.counters[label] == 0 {
		w.counters[label] = len(w.counters) + 1
	}
	key := fmt.Sprintf("%s/0a/0-%s-%d", writer.group, writer.id, w.counters[label])
	w.labels[key] = label
	return key, nil
}
