package keycompaction

import "testing"

func TestDue(t *testing.T) {
	t.Parallel()
	const much = plenty
	for name, c := range map[string]struct {
		state State
		due   bool
		want  Pass
	}{
		"empty":                      {State{Rested: true, DirtyEnd: -1}, false, Pass{}},
		"new":                        {State{Rested: true, DirtyEnd: 5, DirtyBytes: 100}, true, Pass{End: 5}},
		"less than was clean":        {State{CleanEnd: 5, CleanBytes: 100, DirtyEnd: 9, DirtyBytes: 99, Rested: true}, false, Pass{}},
		"as much as was clean":       {State{CleanEnd: 5, CleanBytes: 100, DirtyEnd: 9, DirtyBytes: 100, Rested: true}, true, Pass{CleanEnd: 5, End: 9}},
		"so soon":                    {State{CleanEnd: 5, CleanBytes: 100, DirtyEnd: 9, DirtyBytes: much - 1}, false, Pass{}},
		"so soon, but much":          {State{CleanEnd: 5, CleanBytes: 100, DirtyEnd: 9, DirtyBytes: much}, true, Pass{CleanEnd: 5, End: 9}},
		"much, but little of all":    {State{CleanEnd: 5, CleanBytes: much + 1, DirtyEnd: 9, DirtyBytes: much, Rested: true}, false, Pass{}},
		"old tombstones":             {State{CleanEnd: 5, CleanBytes: 9, DirtyEnd: -1, Tombstones: 1, HorizonOffset: 4, HorizonPassed: true, Rested: true}, true, Pass{5, 5, 4}},
		"old ones and dirty":         {State{CleanEnd: 5, CleanBytes: 9, DirtyEnd: 8, DirtyBytes: 1, Tombstones: 1, HorizonOffset: 4, HorizonPassed: true, Rested: true}, true, Pass{5, 8, 4}},
		"old ones, so soon":          {State{CleanEnd: 5, CleanBytes: 9, DirtyEnd: -1, Tombstones: 1, HorizonOffset: 4, HorizonPassed: true}, false, Pass{}},
		"tombstones that are young":  {State{CleanEnd: 5, CleanBytes: 9, DirtyEnd: -1, Tombstones: 1, HorizonOffset: 4, Rested: true}, false, Pass{}},
		"a horizon above the clean":  {State{CleanEnd: 5, DirtyEnd: 9, DirtyBytes: 9, HorizonOffset: 7, HorizonPassed: true, Rested: true}, true, Pass{5, 9, 5}},
		"a horizon, no tombstones":   {State{CleanEnd: 5, DirtyEnd: -1, HorizonOffset: 5, HorizonPassed: true, Rested: true}, false, Pass{}},
		"the log start went further": {State{CleanEnd: 5, DirtyEnd: 3, DirtyBytes: 9, Rested: true}, false, Pass{}},
	} {
		got, due := Due(c.state)
		if due != c.due || (due && got != c.want) {
			t.Errorf("%s: %+v %v, want %+v %v", name, got, due, c.want, c.due)
		}
	}
}
