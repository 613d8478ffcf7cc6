package traces

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Line is a span in a tree.
type Line struct {
	Span
	// Name with the branches of the tree before it.
	Tree string
	// After is how long after the trace's first span it began.
	After time.Duration
}

// Tree orders the spans of a trace: each below its parent, siblings by start. A span whose parent is not there, because it was not exported or is another
// process's, is a root.
func Tree(spans []Span) []Line {
	there := map[string]bool{}
	for _, s := range spans {
		there[s.SpanID] = true
	}
	below := map[string][]Span{}
	var first time.Time
	for _, s := range spans {
		parent := s.ParentID
		if !there[parent] || parent == s.SpanID {
			parent = ""
		}
		below[parent] = append(below[parent], s)
		if first.IsZero() || s.Start.Before(first) {
			first = s.Start
		}
	}
	t := &tree{below: below, first: first}
	t.add("", "")
	return t.lines
}

type tree struct {
	below map[string][]Span // by parent; taken out when added, so that a circle ends
	first time.Time
	lines []Line
}

func (t *tree) add(parent, rest string) {
	children := t.below[parent]
	delete(t.below, parent)
	slices.SortStableFunc(children, func(a, b Span) int { return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.SpanID, b.SpanID)) })
	for i, s := range children {
		mark, further := "├─ ", "│  "
		if i == len(children)-1 {
			mark, further = "└─ ", "   "
		}
		if parent == "" {
			mark, further = "", ""
		}
		t.lines = append(t.lines, Line{Span: s, Tree: rest + mark + s.Name, After: s.Start.Sub(t.first)})
		t.add(s.SpanID, rest+further)
	}
}

// Details are a span's attributes and links in one line, in order.
func (l Line) Details() string {
	var all []string
	if l.Failed {
		all = append(all, "FAILED")
	}
	for _, key := range slices.Sorted(maps.Keys(l.Attributes)) {
		if short, ours := strings.CutPrefix(key, "streamhouse."); (ours || key == "error.type" || key == "rpc.response.status_code") && l.Attributes[key] != "0" {
			all = append(all, short+"="+l.Attributes[key])
		}
	}
	others := map[string]int{}
	for _, link := range l.Links {
		if link.TraceID != l.TraceID {
			others[link.TraceID]++
		}
	}
	for _, id := range slices.Sorted(maps.Keys(others)) {
		all = append(all, fmt.Sprintf("→ trace %s", id[:min(8, len(id))]))
	}
	return strings.Join(all, " ")
}
