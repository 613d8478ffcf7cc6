// Package route is what an agent knows of its agent group: topics, who leads and who should lead each partition, which agents live.
// It learns from pages of placement (watch and heartbeat), takes word of hand-offs a moment before those, and asks the control plane for
// topics that it has not heard of.
// Nothing here acquires, forwards or judges a lease: it may be old, and whoever acts on it finds out.
//
// Promises: P7 (only topics of the agent's own agent group are ever in it).
// Read: route.go, table.go, hearsay.go, resolve.go, names.go, describe.go.
package route

import (
	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// Topic is a live topic of the agent group.
type Topic struct {
	ID             object.UUID
	Name           string
	PartitionCount int32
	// MaxRecordBytes bounds key, value and headers of one record.
	MaxRecordBytes int
	// AllowBufferedAcks lets producers ask for ACKS_BUFFERED.
	AllowBufferedAcks bool
	// KeysRequired: it is compacted by key, so records without one are refused, and segments are replaced by others with fewer records.
	KeysRequired bool
}

// Partition names one of the topic's partitions.
func (t Topic) Partition(number int32) partition.ID { return partition.ID{Topic: t.ID, Number: number} }

// Has tells whether the topic has such a partition.
func (t Topic) Has(number int32) bool { return number >= 0 && number < t.PartitionCount }

// Agent is an agent whose session lived when the control plane last spoke of it.
type Agent struct {
	ID string
	// Zone, e.g. "eu-west-1a".
	Zone string
	// Address is the base URL of its listener.
	Address  string
	Draining bool
	// Suspect: it has been silent; others take its partitions over.
	Suspect bool
}

// Row is a partition's placement. The zero Row is a partition that nobody has spoken of.
type Row struct {
	// Assigned is the agent that should lead it; empty: none.
	Assigned string
	// Leader is the agent that leads it, LeaderSession its session; empty: nobody.
	Leader        string
	LeaderSession string
	// Epoch of the newest tenure; 0: never led.
	Epoch partition.Epoch
	// Revision of the row; 0: unknown.
	Revision int64
}

// Leader is who leads a partition, as far as this agent knows.
type Leader struct {
	Agent
	Epoch partition.Epoch
}

// Wire is the leader as a refusal or an answer names it; nil for the zero Leader.
func (l Leader) Wire() *refusalv1.Leader {
	if l.ID == "" && l.Epoch == 0 {
		return nil
	}
	return &refusalv1.Leader{AgentId: l.ID, Address: l.Address, Zone: l.Zone, Epoch: l.Epoch}
}

func topicOf(t *controlplanev1.PlacedTopic) Topic {
	return Topic{
		ID: object.UUID(t.GetTopicId()), Name: t.GetName(), PartitionCount: t.GetPartitionCount(),
		MaxRecordBytes: int(t.GetConfig().GetMaxRecordBytes()), AllowBufferedAcks: t.GetConfig().GetAllowBufferedAcks(),
		KeysRequired: t.GetConfig().GetCleanupPolicy() >= controlplanev1.CleanupPolicy_CLEANUP_POLICY_COMPACT,
	}
}

func rowOf(p *controlplanev1.PlacedPartition) Row {
	return Row{
		Assigned: p.GetAssignedAgentId(), Leader: p.GetLeaderAgentId(), LeaderSession: p.GetLeaderSessionId(),
		Epoch: p.GetEpoch(), Revision: p.GetRevision(),
	}
}
