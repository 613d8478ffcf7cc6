package produce

import (
	"fmt"
	"io"
	"strings"
)

// Bar draws progress on one line of a terminal.
type Bar struct {
	w     io.Writer
	total int64 // bytes of input; 0: not known
	shown int   // width of what is on the line
}

// NewBar draws to w. total is the input's size in bytes; 0: not known.
func NewBar(w io.Writer, total int64) *Bar { return &Bar{w: w, total: total} }

const barWidth = 30

// Show draws the summary over what was drawn before.
func (b *Bar) Show(s Summary) {
	var line strings.Builder
	if b.total > 0 {
		part := min(float64(s.Bytes)/float64(b.total), 1)
		full := int(part * barWidth)
		fmt.Fprintf(&line, "[%s%s] %3.0f%%  ", strings.Repeat("=", full), strings.Repeat(" ", barWidth-full), part*100)
	}
	line.WriteString(s.Text())
	text := line.String()
	padding := max(b.shown-len(text), 0)
	b.shown = len(text)
	fmt.Fprintf(b.w, "\r%s%s", text, strings.Repeat(" ", padding))
}

// Clear removes the line.
func (b *Bar) Clear() {
	fmt.Fprintf(b.w, "\r%s\r", strings.Repeat(" ", b.shown))
}

// Text is the summary for people.
func (s Summary) Text() string {
	rate := 0.0
	if s.Seconds > 0 {
		rate = float64(s.Records) / s.Seconds
	}
	text := fmt.Sprintf("%d records, %s in %.1f s (%.0f records/s), %d retries, %d errors", s.Records, size(s.Bytes), s.Seconds, rate, s.Retries, s.Errors)
	if s.Uncertain > 0 {
		text += fmt.Sprintf(" (%d of them may be stored all the same)", s.Uncertain)
	}
	return text
}

func size(bytes int64) string {
	switch {
	case bytes >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30))
	case bytes >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20))
	case bytes >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(bytes)/(1<<10))
	}
	return fmt.Sprintf("%d B", bytes)
}
