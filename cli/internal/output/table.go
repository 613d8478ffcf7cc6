package output

import (
	"fmt"
	"io"
	"math"
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

// Tables writes some, a blank line between them.
func Tables(w io.Writer, tables ...Rows) error {
	for i, t := range tables {
		if i > 0 {
			if _, err := fmt.Fprintln(w); err != nil {
				return fmt.Errorf("print table: %w", err)
			}
		}
		if err := t.write(w); err != nil {
			return err
		}
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

// Bytes is a number of bytes as tables show it: three digits and a binary unit.
func Bytes(n int64) string {
	value, unit := float64(n), 0
	for units := len(binaryUnits) - 1; (value >= 1000 || value <= -1000) && unit < units; unit++ {
		value /= 1024
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	digits := 2
	for size := math.Abs(value); size >= 10 && digits > 0; size /= 10 {
		digits--
	}
	return fmt.Sprintf("%.*f %s", digits, value, binaryUnits[unit])
}

var binaryUnits = []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}

// Rate is bytes per second as tables show them; 0: empty, as where nothing was reported.
func Rate(bytesPerSecond int64) string {
	if bytesPerSecond == 0 {
		return ""
	}
	return Bytes(bytesPerSecond) + "/s"
}
