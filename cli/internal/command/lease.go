package command

import (
	"context"
	"fmt"
	"time"

	"github.com/streamhouse/streamhouse/client"

	"github.com/streamhouse/streamhouse/cli/internal/output"
)

type leaseCommand struct {
	List     leaseListCommand     `cmd:"" help:"List who leads each partition, in which epoch."`
	Transfer leaseTransferCommand `cmd:"" help:"Pin a partition to an agent, which then leads it while it can; or unpin it."`
}

// lease is how a lease is printed. Stable; null where nobody leads.
type lease struct {
	Topic      string     `json:"topic"`
	Partition  int32      `json:"partition"`
	Leader     *string    `json:"leader"`
	Zone       *string    `json:"zone"`
	Epoch      int32      `json:"epoch"`
	ExpiresAt  *time.Time `json:"expires_at"`
	AssignedTo *string    `json:"assigned_to"`
	Pinned     bool       `json:"pinned"`
}

func leasesFrom(found []client.Lease) []lease {
	leases := make([]lease, 0, len(found))
	for _, l := range found {
		leases = append(leases, lease{
			Topic: l.Topic, Partition: l.Partition, Leader: orNull(l.LeaderAgentID), Zone: orNull(l.LeaderZone), Epoch: l.Epoch,
			ExpiresAt: timeOrNull(l.ExpiresAt), AssignedTo: orNull(l.AssignedAgentID), Pinned: l.Pinned,
		})
	}
	return leases
}

func leaseRows(found []client.Lease) output.Rows {
	rows := output.Rows{
		Head:  []string{"TOPIC", "PARTITION", "LEADER", "ZONE", "EPOCH", "EXPIRES", "ASSIGNED TO", "PINNED"},
		Empty: "There are no leases.",
	}
	for _, l := range found {
		rows.Body = append(rows.Body, []string{
			l.Topic, fmt.Sprint(l.Partition), l.LeaderAgentID, l.LeaderZone, fmt.Sprint(l.Epoch), output.Time(l.ExpiresAt), l.AssignedAgentID,
			yesNo(l.Pinned),
		})
	}
	return rows
}

type leaseListCommand struct {
	Topic  string `help:"Only this topic."               placeholder:"NAME"`
	Leader string `help:"Only those led by this agent." placeholder:"AGENT"`
}

// Run lists the leases.
func (c leaseListCommand) Run(ctx context.Context, e *env) error {
	admin, closing, err := e.admin()
	if err != nil {
		return err
	}
	defer closing()
	found, err := admin.ListLeases(ctx, client.LeaseFilter{Topic: c.Topic, LeaderAgentID: c.Leader})
	if err != nil {
		return fmt.Errorf("list leases: %w", err)
	}
	return e.print(leasesFrom(found), leaseRows(found))
}

type leaseTransferCommand struct {
	Topic     string `arg:"" help:"Topic."`
	Partition int32  `arg:"" help:"Partition."`
	To        string `help:"Agent that shall lead it; must be of the topic's agent group and not draining." placeholder:"AGENT" required:"" xor:"target"`
	Unpin     bool   `help:"Let placement decide again." required:"" xor:"target"`
	Wait      bool   `help:"Return once that agent leads the partition."`
}

// Help says what becomes of clients.
func (leaseTransferCommand) Help() string {
	return `The present leader commits what it holds and hands over; producers and consumers see no error. A pinned partition stays where it ` +
		`is until it is unpinned, or until its agent dies or drains: then others lead it meanwhile.`
}

// transferTime bounds the wait for a new leader: a hand-off takes well below a second.
const transferTime = 60 * time.Second

// Run transfers the lease.
func (c leaseTransferCommand) Run(ctx context.Context, e *env) error {
	if c.Wait && c.Unpin {
		return usage("--wait needs --to: where an unpinned partition goes, placement decides")
	}
	admin, closing, err := e.admin()
	if err != nil {
		return err
	}
	defer closing()
	moved, err := admin.TransferLease(ctx, c.Topic, c.Partition, c.To)
	if err == nil && c.Wait {
		moved, err = c.await(ctx, admin)
	}
	if err != nil {
		return fmt.Errorf("transfer %s/%d: %w", c.Topic, c.Partition, err)
	}
	return e.print(leasesFrom([]client.Lease{moved})[0], leaseRows([]client.Lease{moved}))
}

// await asks again, which changes nothing, until the agent leads the partition.
func (c leaseTransferCommand) await(ctx context.Context, admin *client.Admin) (client.Lease, error) {
	var now client.Lease
	err := lookUntil(ctx, transferTime, "the agent leads the partition", func(ctx context.Context) (is bool, err error) {
		now, err = admin.TransferLease(ctx, c.Topic, c.Partition, c.To)
		return now.LeaderAgentID == c.To, err
	})
	return now, err
}
