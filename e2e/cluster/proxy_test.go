package cluster

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func get(t *testing.T, url string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	return (&place{network: loopback{}}).answers(ctx, url)
}

func TestProxyCutsAndRestores(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{}, 10)
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { arrived <- struct{}{} }))
	defer server.Close()
	p := newProxies(t).add(t, "way", server.URL)
	expect := func(what string, reached, answered bool) {
		t.Helper()
		err := get(t, p.URL)
		if got := len(arrived) > 0; got != reached || (err == nil) != answered {
			t.Errorf("%s: reached %v, answered %v (%v)", what, got, err == nil, err)
		}
		for len(arrived) > 0 {
			<-arrived
		}
	}
	expect("open", true, true)
	p.Refuse()
	expect("refused", false, false)
	p.Accept(t)
	expect("accepted again", true, true)
	p.Silence(t)
	expect("silent", false, false)
	p.Restore(t.Context())
	expect("restored", true, true)
	p.LoseAnswers(t)
	expect("answers lost", true, false)
	p.Restore(t.Context())
	expect("restored again", true, true)
}
