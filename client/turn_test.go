package client

import (
	"slices"
	"testing"
)

// turns lets partitions have answers in the order that the consumer chooses, so many at a time; step is how far each gets in time with one.
func turns(k *Consumer, answers, atOnce int, step []int64) {
	for range answers {
		queue := slices.Clone(k.cursors)
		slices.SortFunc(queue, k.behind)
		for _, c := range queue[:atOnce] {
			c.at += step[c.partition]
			k.served++
			c.served = k.served
		}
	}
}

func cursorsOf(n int) *Consumer {
	k := &Consumer{}
	for p := range n {
		k.cursors = append(k.cursors, &cursor{partition: int32(p)})
	}
	return k
}

// Partitions of which one answer has more time than of others wait for these: in the end all are about as far.
func TestPartitionsAreReadSideBySideInTime(t *testing.T) {
	t.Parallel()
	step := []int64{100, 130, 70, 300, 90, 110, 100, 150}
	k := cursorsOf(len(step))
	turns(k, 1000, 2, step)
	least, most := k.cursors[0].at, k.cursors[0].at
	for _, c := range k.cursors {
		least, most = min(least, c.at), max(most, c.at)
	}
	if least == 0 || most-least > 2*300 {
		t.Errorf("read up to between %d and %d, want them within two answers", least, most)
	}
}

// Timestamps are what producers say: a partition whose time stands still does not have all the answers.
func TestNoPartitionWaitsForOneWhoseTimeStandsStill(t *testing.T) {
	t.Parallel()
	step := []int64{0, 10, 10, 10}
	k := cursorsOf(len(step))
	turns(k, 1000, 1, step)
	for _, c := range k.cursors[1:] {
		if answers := c.at / 10; answers < 1000/int64((mostPassed+1)*len(step)) {
			t.Errorf("partition %d has had %d of 1000 answers", c.partition, answers)
		}
	}
}

func TestRequestAsksForWhatItsAnswerHasRoomFor(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		took []int
		most int
		want int
	}{
		{"two halves", []int{fetchBytes / 2, fetchBytes / 2, fetchBytes / 2, 1}, 4, 2},
		{"much of one", []int{2 * fetchBytes, 1, 1}, 3, 1},
		{"little of all", []int{10, 10, 10}, 3, 3},
		{"several requests share them", []int{10, 10, 10}, 2, 2},
		{"nothing yet", []int{0, 0}, 2, 2},
	} {
		var cursors []*cursor
		for _, n := range test.took {
			cursors = append(cursors, &cursor{took: n})
		}
		if got := portion(cursors, test.most); got != test.want {
			t.Errorf("%s: %d partitions, want %d", test.name, got, test.want)
		}
	}
}
