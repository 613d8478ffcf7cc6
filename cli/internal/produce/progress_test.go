package produce

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPaceKeepsTheRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		p := newPace(10)
		for range 31 {
			if err := p.wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("31 records at 10 a second took %v, want 3s", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if p.wait(ctx) == nil {
			t.Error("a wait outlived its context")
		}
		unlimited := newPace(0)
		for range 1000 {
			_ = unlimited.wait(t.Context())
		}
		if took := time.Since(began); took > 3*time.Second+time.Millisecond {
			t.Errorf("no rate was taken for a rate: %v", took)
		}
	})
}

// Scripts read the summary: its names are a promise.
func TestSummaryIsStable(t *testing.T) {
	t.Parallel()
	s := Summary{Records: 3, Bytes: 2048, Seconds: 1.5, Retries: 2, Errors: 4, Uncertain: 1}
	got, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"records":3,"bytes":2048,"seconds":1.5,"retries":2,"errors":4,"uncertain":1}`; string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if want := "3 records, 2.0 KiB in 1.5 s (2 records/s), 2 retries, 4 errors (1 of them may be stored all the same)"; s.Text() != want {
		t.Errorf("got %q, want %q", s.Text(), want)
	}
}

func TestSizes(t *testing.T) {
	t.Parallel()
	for bytes, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 3 << 20: "3.0 MiB", 5 << 30: "5.0 GiB"} {
		if got := size(bytes); got != want {
			t.Errorf("%d: got %s, want %s", bytes, got, want)
		}
	}
}

func TestBarDrawsOverItself(t *testing.T) {
	t.Parallel()
	var w strings.Builder
	bar := NewBar(&w, 100)
	bar.Show(Summary{Bytes: 50, Records: 1000000})
	first := w.Len()
	bar.Show(Summary{Bytes: 200})
	bar.Clear()
	if got := w.String(); !strings.Contains(got[:first], " 50%") || !strings.Contains(got[first:], "100%") || strings.Contains(got, "\n") {
		t.Errorf("drew %q", got)
	}
	if second := w.String()[first:]; len(second) < first {
		t.Errorf("the shorter line does not cover the longer one: %q", second)
	}
	w.Reset()
	NewBar(&w, 0).Show(Summary{})
	if strings.Contains(w.String(), "%") {
		t.Errorf("a share of what is not known: %q", w.String())
	}
}
