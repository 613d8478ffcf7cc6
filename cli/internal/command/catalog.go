package command

import (
	"bufio"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/streamhouse/streamhouse/client"

	"github.com/streamhouse/streamhouse/cli/internal/output"
	"github.com/streamhouse/streamhouse/cli/internal/recovery"
)

type catalogCommand struct {
	Status catalogStatusCommand `cmd:"" help:"Show whether the catalog is halted, and why."`
	Adopt  catalogAdoptCommand  `cmd:"" help:"Accept the state of a catalog that has lost transactions, so that the cluster serves again."`
}

// catalogStatus is how the catalog's state is printed. Stable.
type catalogStatus struct {
	State           string     `json:"state"` // serving, verifying, halted
	Incarnation     int32      `json:"incarnation"`
	HaltedAt        *time.Time `json:"halted_at"`
	Reasons         []string   `json:"reasons"`
	AwaitedAgentIDs []string   `json:"awaited_agent_ids"`
	CatalogStart    string     `json:"catalog_start"`
}

func catalogStatusFrom(s client.CatalogStatus) catalogStatus {
	return catalogStatus{
		State: s.State.String(), Incarnation: s.Incarnation, HaltedAt: timeOrNull(s.HaltedAt), Reasons: append([]string{}, s.Reasons...),
		AwaitedAgentIDs: append([]string{}, s.AwaitedAgentIDs...), CatalogStart: s.CatalogStart,
	}
}

func catalogRows(s client.CatalogStatus) output.Rows {
	rows := output.Rows{Head: []string{"CATALOG", "INCARNATION", "WHY"}}
	why := append([]string{}, s.Reasons...)
	if s.State == client.CatalogVerifying {
		why = append(why, "the database was restarted; evidence is awaited of: "+strings.Join(s.AwaitedAgentIDs, ", "))
	}
	if len(why) == 0 {
		why = []string{""}
	}
	state := s.State.String()
	if !s.HaltedAt.IsZero() {
		state += " since " + output.Time(s.HaltedAt)
	}
	for i, sentence := range why {
		row := []string{"", "", sentence}
		if i == 0 {
			row = []string{state, strconv.Itoa(int(s.Incarnation)), sentence}
		}
		rows.Body = append(rows.Body, row)
	}
	return rows
}

type catalogStatusCommand struct{}

// Run shows the status.
func (catalogStatusCommand) Run(ctx context.Context, e *env) error {
	admin, closing, err := e.admin()
	if err != nil {
		return err
	}
	defer closing()
	status, err := admin.CatalogStatus(ctx)
	if err != nil {
		return fmt.Errorf("catalog status: %w", err)
	}
	return e.print(catalogStatusFrom(status), catalogRows(status))
}

type catalogAdoptCommand struct {
	Yes            bool          `help:"Do not ask."`
	WithoutBucket  bool          `help:"Do not look into the bucket: what the lost transactions had acknowledged is lost for readers."`
	AcceptLoss     bool          `help:"Adopt though acknowledged records are not in the bucket."`
	ProducerWindow time.Duration `default:"168h" help:"As for recover. Default: ${default}."`
}

// Help says how it is done.
func (catalogAdoptCommand) Help() string {
	return `The catalog is rolled forward: agents look into the bucket for what the lost transactions had committed, and it becomes part of the logs again; ` +
		`then the catalog begins a new incarnation and serves. It may be stopped and run again. Every agent group that has topics needs an agent that can be reached.`
}

// adoptWarning is what an operator must know before and after.
const adoptWarning = `WARNING: this catalog has lost transactions. Adopting it rolls it forward by what the bucket has, and makes the rest of the loss final:
  - records come back; keys, settings and deletions made by the lost transactions are undone, and topics that had no record yet are gone;
  - with --without-bucket records do not come back either: they cannot be read any more, and their offsets go to other records.
If a newer backup, or the former primary, can be had: start the database from that instead, and do not adopt.
`

// adoptedCatalog is the outcome. Stable.
type adoptedCatalog struct {
	Incarnation int32 `json:"incarnation"`
}

// Run adopts the catalog, after it has said what that means.
func (c catalogAdoptCommand) Run(ctx context.Context, e *env) error {
	admin, closing, err := e.admin()
	if err != nil {
		return err
	}
	defer closing()
	status, err := admin.CatalogStatus(ctx)
	if err != nil {
		return fmt.Errorf("adopt catalog: %w", err)
	}
	if status.State != client.CatalogHalted {
		return fmt.Errorf("adopt catalog: it is %s, not halted: there is nothing to adopt", status.State)
	}
	if err := c.confirm(e, status); err != nil {
		return err
	}
	if !c.WithoutBucket {
		return e.restore(ctx, admin, "", "adopt catalog", recovery.Options{
			RollForward: true, Incarnation: status.Incarnation, AcceptLoss: c.AcceptLoss, ProducerWindow: c.ProducerWindow,
		})
	}
	incarnation, err := admin.AdoptCatalog(ctx, status.Incarnation)
	if err != nil {
		return fmt.Errorf("adopt catalog: %w; `streamhouse catalog status` shows what became of it", err)
	}
	fmt.Fprint(e.Stderr, "adopted: what the lost transactions had acknowledged cannot be read any more; agents register anew now\n")
	return e.print(adoptedCatalog{incarnation}, output.Rows{
		Head: []string{"CATALOG", "INCARNATION"}, Body: [][]string{{"adopted", strconv.Itoa(int(incarnation))}},
	})
}

// confirm says what is lost, and wants a word typed.
func (c catalogAdoptCommand) confirm(e *env, status client.CatalogStatus) error {
	fmt.Fprint(e.Stderr, adoptWarning)
	for _, reason := range status.Reasons {
		fmt.Fprintf(e.Stderr, "  lost: %s\n", reason)
	}
	if c.Yes {
		return nil
	}
	fmt.Fprint(e.Stderr, "Type adopt to go on: ")
	scanner := bufio.NewScanner(e.Stdin)
	if !scanner.Scan() || strings.TrimSpace(scanner.Text()) != "adopt" {
		return usage("adopt catalog: nothing was changed; type adopt when asked, or give --yes")
	}
	return nil
}
