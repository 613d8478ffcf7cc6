package traffic

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/metric/noop"
	"go.uber.org/goleak"

	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func book(t *testing.T) *Book {
	t.Helper()
	b, err := New("a", 1000, noop.Meter{})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// about tells whether a number is within a twentieth of another.
func about(got, want int64) bool { return max(got-want, want-got) <= want/20 }

func TestRatesAreAveragesOverAboutAMinute(t *testing.T) {
	t.Parallel()
	var r rate
	for second := 1; second <= 300; second++ {
		r.take(1000, time.Second)
		if second <= 3 && !about(r.perSecond(), 1000) {
			t.Fatalf("after %d seconds: %d", second, r.perSecond())
		}
	}
	for range 60 {
		r.take(0, time.Second)
	}
	if got := r.perSecond(); !about(got, 368) { // 1000/e
		t.Errorf("a minute later: %d", got)
	}
}

func TestReportsAreDueEveryTenSecondsAndSoonerWithNews(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := book(t)
		done := make(chan struct{})
		stop := make(chan struct{})
		go func() {
			defer close(done)
			_ = b.Run(t.Context())
		}()
		go func() { // 4 MiB/s in, 2 MiB/s out from the 30th second on
			time.Sleep(30 * time.Second)
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Second):
					b.Produced("a", 4<<20)
					b.Fetched("b", 2<<20)
					b.Load(partition.ID{Number: 7}, 6<<20)
					b.Load(partition.ID{Number: 8}, 1<<9)
				}
			}
		}()
		var at []time.Duration
		var last *controlplanev1.AgentReport
		began := time.Now()
		for range 120 {
			time.Sleep(time.Second)
			if report := b.Report(time.Now()); report != nil {
				b.Taken(report, time.Now())
				at, last = append(at, time.Since(began).Round(time.Second)), report
			}
		}
		close(stop)
		if len(at) < 10 || len(at) > 40 || at[2]-at[1] != reportEvery {
			t.Errorf("reports at %v", at)
		}
		soon := false
		for i := 1; i < len(at); i++ {
			soon = soon || at[i]-at[i-1] < reportEvery
		}
		if !soon {
			t.Errorf("news came no sooner: %v", at)
		}
		if in := last.GetInBytesPerSecond(); in < 2<<20 || in > 4<<20 {
			t.Errorf("in %d", in)
		}
		if loads := last.GetPartitions(); len(loads) != 1 || loads[0].GetPartition() != 7 || loads[0].GetBytesPerSecond() < 3<<20 {
			t.Errorf("partitions %v", loads)
		}
		if got := last.GetTraffic(); len(got) != 2 {
			t.Errorf("traffic %v", got)
		}
		if u := b.utilization(); u < 3000 {
			t.Errorf("utilization %f", u)
		}
	})
}

func TestZonesAreBounded(t *testing.T) {
	t.Parallel()
	b := book(t)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 500 {
				b.Produced(fmt.Sprintf("zone-%d", (n+i)%500), 1)
			}
		})
	}
	all.Wait()
	var total int64
	report := b.Report(time.Now())
	for _, row := range report.GetTraffic() {
		total += row.GetBytes()
	}
	if n := len(report.GetTraffic()); total != 8*500 || n > maxZones+1 || n < maxZones {
		t.Errorf("%d zones, %d bytes", n, total)
	}
}

func TestIdlePartitionsAreForgotten(t *testing.T) {
	t.Parallel()
	b := book(t)
	for n := range int32(100) {
		b.Load(partition.ID{Number: n}, 1000)
	}
	for range 600 {
		b.update(2 * time.Second)
	}
	if n := b.count.Load(); n != 0 {
		t.Errorf("%d partitions are remembered", n)
	}
}

func TestNobodyCounts(t *testing.T) {
	t.Parallel()
	var b *Book
	b.Produced("a", 1)
	b.Received(1)
	b.Fetched("a", 1)
	b.Forwarded("a", true, 1)
	b.Shared("a", 1)
	b.Noticed("a", 1)
	b.Load(partition.ID{}, 1)
}

func BenchmarkCount(b *testing.B) {
	book, _ := New("a", 1, noop.Meter{})
	p := partition.ID{Number: 3}
	b.ReportAllocs()
	for b.Loop() {
		book.Produced("eu-west-1a", 1000)
		book.Load(p, 1000)
	}
}
