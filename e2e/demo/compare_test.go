package demo

import "testing"

func TestCompareSeesEachFault(t *testing.T) {
	t.Parallel()
	lines := []Line{{"a", "1"}, {"b", "1"}, {"a", "2"}, {"a", "2"}}
	good := []Read{{0, 0, "a", "1"}, {0, 1, "a", "2"}, {1, 0, "b", "1"}, {0, 2, "a", "2"}}
	for name, test := range map[string]struct {
		log                                  []Read
		lost, duplicated, outOfOrder, missed int
	}{
		"good":       {good, 0, 0, 0, 0},
		"lost":       {good[:3], 1, 0, 1, 0},
		"duplicated": {append(good[:4:4], Read{1, 1, "b", "1"}), 0, 1, 1, 0},
		"reordered":  {[]Read{{0, 0, "a", "2"}, {0, 1, "a", "1"}, {1, 0, "b", "1"}, {0, 2, "a", "2"}}, 0, 0, 1, 0},
		"gap":        {[]Read{{0, 0, "a", "1"}, {0, 2, "a", "2"}, {1, 0, "b", "1"}, {0, 3, "a", "2"}}, 0, 0, 0, 1},
		"late start": {[]Read{{0, 1, "a", "1"}, {0, 2, "a", "2"}, {1, 0, "b", "1"}, {0, 3, "a", "2"}}, 0, 0, 0, 1},
		"changed":    {[]Read{{0, 0, "a", "1"}, {0, 1, "a", "3"}, {1, 0, "b", "1"}, {0, 2, "a", "2"}}, 1, 1, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lost, duplicated := differences(lines, test.log)
			if lost != test.lost || duplicated != test.duplicated || reordered(lines, test.log) != test.outOfOrder || gaps(test.log) != test.missed {
				t.Errorf("lost %d, duplicated %d, out of order %d, gaps %d", lost, duplicated, reordered(lines, test.log), gaps(test.log))
			}
		})
	}
}
