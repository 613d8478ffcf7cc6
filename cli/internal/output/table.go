package output

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// Rows of a table.
type Rows struct {
	// Head names the columns. Empty: none are shown.
	Head []string
	Body [][]string
	// Empty is said where there are no rows.
	Empty string
}

func (r Rows) write(w io.Writer) error {
	if len(r.Body) == 0 && r.Empty != "" {
		_, err := fmt.Fprintln(w, r.Empty)
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(r.Head) > 0 {
		fmt.Fprintln(table, strings.Join(r.Head, "\t"))
	}
	for _, row := range r.Body {
		shown := make([]string, len(row))
		for i, cell := range row {
			shown[i] = cleaned(cell)
		}
		fmt.Fprintln(table, strings.Join(shown, "\t"))
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print table: %w", err)
	}
	return nil
}

// cleaned keeps a cell from breaking the table, or the terminal; an empty one is a dash.
func cleaned(cell string) string {
	if cell == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, cell)
}

// Time is a time as tables show it; zero: empty.
func Time(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(time.DateTime) //nolint:gosmopolitan // people read it where they are
}
