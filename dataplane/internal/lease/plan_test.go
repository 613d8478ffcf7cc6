package lease

import (
	"slices"
	"testing"

	"github.com/streamhouse/streamhouse/dataplane/internal/ingest"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	"github.com/streamhouse/streamhouse/dataplane/internal/route"
)

func TestPlan(t *testing.T) {
	t.Parallel()
	const mine, other = "session-a", "session-b"
	p := partition.ID{Number: 3}
	held := func(epoch int32, closing, busy bool) *ingest.Held {
		return &ingest.Held{Epoch: epoch, Closing: closing, Busy: busy}
	}
	row := func(assigned, leader, session string, epoch int32) route.Row {
		return route.Row{Assigned: assigned, Leader: leader, LeaderSession: session, Epoch: epoch, Revision: 7}
	}
	for name, c := range map[string]struct {
		row                 route.Row
		held                *ingest.Held
		mode                mode
		ended               int32
		answered, expected  int32
		unready             bool
		gone, demanded      bool
		acquire, close, end bool
		keptFromCatalog     bool // the end is not released
	}{
		"assigned, nobody leads":                            {row: row("a", "", "", 0), acquire: true},
		"assigned, a suspect may lead":                      {row: row("a", "b", other, 4), acquire: true},
		"granted by a transfer":                             {row: row("a", "a", mine, 5), ended: 3, acquire: true},
		"granted, but given to another since":               {row: row("b", "a", mine, 5), ended: 3, end: true},
		"ended here, the release was lost":                  {row: row("b", "a", mine, 5), ended: 5, end: true},
		"ended here, still wanted":                          {row: row("a", "a", mine, 5), ended: 5, acquire: true},
		"first write, given to nobody":                      {row: row("", "", "", 0), demanded: true, acquire: true},
		"first write, given to another":                     {row: row("b", "", "", 0), demanded: true},
		"draining takes nothing":                            {row: row("a", "", "", 0), mode: draining},
		"unfit takes nothing":                               {row: row("a", "", "", 0), mode: unfit},
		"deleted topic":                                     {row: row("a", "", "", 0), gone: true},
		"held and wanted":                                   {row: row("a", "a", mine, 5), held: held(5, false, true)},
		"held, the table has not heard":                     {row: route.Row{}, held: held(5, false, true)},
		"held, given to another":                            {row: row("b", "a", mine, 5), held: held(5, false, true), close: true},
		"closing and busy":                                  {row: row("b", "a", mine, 5), held: held(5, true, true)},
		"closed and idle":                                   {row: row("b", "a", mine, 5), held: held(5, true, false), end: true},
		"held, another tenure has begun":                    {row: row("a", "b", other, 6), held: held(5, false, true), end: true, keptFromCatalog: true},
		"held, unfit":                                       {row: row("a", "a", mine, 5), held: held(5, false, true), mode: unfit, end: true},
		"held, draining, nobody to take it yet":             {row: row("a", "a", mine, 5), held: held(5, false, true), mode: draining},
		"held, leaving":                                     {row: row("a", "a", mine, 5), held: held(5, false, true), mode: leaving, close: true},
		"held, its topic is gone":                           {row: route.Row{}, held: held(5, false, true), gone: true, end: true, keptFromCatalog: true},
		"led by another":                                    {row: row("b", "b", other, 5)},
		"its release was answered, the table has not heard": {row: row("b", "a", mine, 5), ended: 5, answered: 5},
		"said to be granted":                                {row: row("b", "b", other, 5), expected: 6, acquire: true},
		"said to be granted, and ended since":               {row: row("b", "b", other, 5), expected: 6, ended: 6},
		"said to be granted, and another has it":            {row: row("b", "b", other, 6), expected: 6},
		"held, given to one who is not ready":               {row: row("b", "a", mine, 5), held: held(5, false, true), unready: true},
		"leaving, given to one who is not ready":            {row: row("b", "a", mine, 5), held: held(5, false, true), unready: true, mode: leaving, close: true},
		"draining returns a grant that came late":           {row: row("a", "a", mine, 5), mode: draining, end: true},
	} {
		v := view{
			self: "a", session: mine, mode: c.mode, rows: map[partition.ID]route.Row{p: c.row}, held: map[partition.ID]ingest.Held{},
			gone: func(partition.ID) bool { return c.gone }, lastEnded: func(partition.ID) int32 { return c.ended },
			demanded: map[partition.ID]struct{}{}, ready: map[string]bool{"b": !c.unready},
			live: map[string]bool{"b": true}, answered: map[partition.ID]int32{p: c.answered}, expected: map[partition.ID]int32{p: c.expected},
		}
		if c.held != nil {
			v.held[p] = *c.held
		}
		if c.demanded {
			v.demanded[p] = struct{}{}
		}
		got := decide(v)
		if slices.ContainsFunc(got.acquire, func(w want) bool { return w.partition == p }) != c.acquire || (len(got.close) == 1) != c.close || (len(got.end) == 1) != c.end {
			t.Errorf("%s: %+v", name, got)
		}
		if c.end && len(got.end) == 1 && got.end[0].release == c.keptFromCatalog {
			t.Errorf("%s: release %v", name, got.end[0].release)
		}
	}
}
