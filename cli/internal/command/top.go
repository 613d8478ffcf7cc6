package command

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/streamhouse/streamhouse/client"

	"github.com/streamhouse/streamhouse/cli/internal/output"
)

type topCommand struct {
	Every time.Duration `default:"2s" help:"Time between two looks. Default: ${default}."`
	Count int           `help:"Stop after this many looks. Default: at Ctrl-C." placeholder:"N"`
}

// Help says what is shown where.
func (topCommand) Help() string {
	return `On a terminal the screen is drawn anew at every look; else each look is printed below the one before, with -o json as an object a line ` +
		`(that of cluster status, with at and agents).`
}

// leastEvery keeps a typing error from flooding the control plane.
const leastEvery = 100 * time.Millisecond

// look is what is shown at one time. Stable.
type look struct {
	At time.Time `json:"at"`
	clusterStatus
	Agents []agent `json:"agents"`
}

// Run looks until it is interrupted: that is how it ends. A look that fails later than the first is said, and the next one tried.
func (c topCommand) Run(ctx context.Context, e *env) error {
	if c.Every < leastEvery {
		return usage("--every: %v is below %v", c.Every, leastEvery)
	}
	if c.Count < 0 {
		return usage("--count: %d is below 0", c.Count)
	}
	admin, closing, err := e.admin()
	if err != nil {
		return err
	}
	defer closing()
	ticker := time.NewTicker(c.Every)
	defer ticker.Stop()
	show := frames(e)
	for n := 1; ; n++ {
		seen, err := c.look(ctx, admin)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && n == 1 {
			return fmt.Errorf("top: %w", err)
		}
		if err := show(seen, err); err != nil {
			return err
		}
		if n == c.Count {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (topCommand) look(ctx context.Context, admin *client.Admin) (look, error) {
	status, err := admin.ClusterStatus(ctx)
	if err != nil {
		return look{}, err
	}
	agents, err := admin.ListAgents(ctx, "")
	if err != nil {
		return look{}, err
	}
	seen := look{At: time.Now(), clusterStatus: clusterStatusFrom(status), Agents: []agent{}}
	for _, a := range agents {
		if a.State != client.AgentEnded {
			seen.Agents = append(seen.Agents, agentFrom(a))
		}
	}
	return seen, nil
}

// frames returns how a look is shown: as a line of JSON, drawn over the one before on a terminal, or below it.
func frames(e *env) func(look, error) error {
	switch {
	case e.Output == output.JSON:
		return func(seen look, err error) error {
			if err != nil {
				fmt.Fprintf(e.Stderr, "streamhouse: top: %s\n", oneLine(err.Error()))
				return nil
			}
			return output.Line(e.Stdout, seen)
		}
	case e.Output == output.YAML:
		return func(seen look, err error) error {
			if err != nil {
				fmt.Fprintf(e.Stderr, "streamhouse: top: %s\n", oneLine(err.Error()))
				return nil
			}
			fmt.Fprintln(e.Stdout, "---")
			return e.print(seen, output.Rows{})
		}
	case isTerminal(e.Stdout):
		return func(seen look, err error) error { return redraw(e.Stdout, seen, err) }
	}
	return func(seen look, err error) error { return draw(e.Stdout, seen, err) }
}

// What a terminal does: go to the corner, clear to the end of the line, and to the end of the screen.
const (
	corner    = "\x1b[H"
	clearLine = "\x1b[K"
	clearRest = "\x1b[J"
)

// redraw draws over what is there, so that nothing flickers.
func redraw(w io.Writer, seen look, failed error) error {
	var frame bytes.Buffer
	if err := draw(&frame, seen, failed); err != nil {
		return err
	}
	lines := bytes.ReplaceAll(frame.Bytes(), []byte("\n"), []byte(clearLine+"\n"))
	_, err := io.WriteString(w, corner+string(lines)+clearRest)
	return err
}

func draw(w io.Writer, seen look, failed error) error {
	if failed != nil {
		_, err := fmt.Fprintf(w, "%s  no answer: %s\n\n", output.Time(time.Now()), oneLine(failed.Error()))
		return err
	}
	by := "nobody"
	if seen.PlacementBy != nil {
		by = *seen.PlacementBy
	}
	fmt.Fprintf(w, "%s  answered by %s, placement by %s\n\n", output.Time(seen.At), seen.AnsweredBy, by)
	if err := output.Tables(w, append(statusTables(seen.clusterStatus), busiest(seen.Agents))...); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w)
	return err
}

// busiest agents come first.
func busiest(agents []agent) output.Rows {
	rows := output.Rows{Head: []string{"AGENT", "STATE", "ZONE", "GROUP", "LEADS", "ASSIGNED", "IN", "OUT", "USED"}, Empty: "No agent lives."}
	load := func(a agent) int64 { return a.InBytesPerSecond + a.OutBytesPerSecond }
	sorted := slices.Clone(agents)
	slices.SortStableFunc(sorted, func(a, b agent) int { return cmp.Compare(load(b), load(a)) })
	for _, a := range sorted {
		rows.Body = append(rows.Body, []string{
			a.ID, a.State, a.Zone, a.AgentGroup, fmt.Sprint(a.LeaseCount), fmt.Sprint(a.AssignedCount),
			output.Rate(a.InBytesPerSecond), output.Rate(a.OutBytesPerSecond), share(load(a), a.CapacityBytesPerSecond),
		})
	}
	return rows
}
