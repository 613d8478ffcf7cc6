package console_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/streamhouse/streamhouse/controlplane/internal/console"
)

// answer is what a browser gets.
type answer struct {
	status  int
	header  http.Header
	content string
}

func serve(t *testing.T) func(method, target string, headers ...string) answer {
	t.Helper()
	pages, err := console.New()
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	pages.Mount(mux)
	return func(method, target string, headers ...string) answer {
		r := httptest.NewRequestWithContext(t.Context(), method, target, http.NoBody)
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		return answer{w.Code, w.Header(), w.Body.String()}
	}
}

func TestPageAndWhatItLoads(t *testing.T) {
	t.Parallel()
	get := serve(t)
	page := get(http.MethodGet, console.Path)
	text := page.content
	if page.status != http.StatusOK || page.header.Get("Content-Type") != "text/html; charset=utf-8" || page.header.Get("Cache-Control") != "no-cache" {
		t.Fatalf("%d %v", page.status, page.header)
	}
	assets := regexp.MustCompile(`(?:src|href)="(assets/[^"]+)"`).FindAllStringSubmatch(text, -1)
	if len(assets) < 2 {
		t.Fatalf("the page loads %q, want a script and a style at least", assets)
	}
	for _, asset := range assets {
		r := get(http.MethodGet, console.Path+asset[1])
		if r.status != http.StatusOK || !strings.Contains(r.header.Get("Cache-Control"), "immutable") || r.content == "" {
			t.Errorf("%s: %d %v", asset[1], r.status, r.header)
		}
	}
	if strings.Contains(text, "<script>") || strings.Contains(text, "<style") || strings.Contains(text, " style=") {
		t.Error("the page has code or styles in it, which its policy forbids")
	}
}

func TestPolicyAllowsNoForeignCode(t *testing.T) {
	t.Parallel()
	get := serve(t)
	for _, target := range []string{console.Path, console.Path + "nothing"} {
		policy := get(http.MethodGet, target).header.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
			if !strings.Contains(policy, part) {
				t.Errorf("%s: policy %q lacks %s", target, policy, part)
			}
		}
		if strings.Contains(policy, "unsafe") {
			t.Errorf("%s: policy %q", target, policy)
		}
	}
}

func TestSentOnceAndPacked(t *testing.T) {
	t.Parallel()
	get := serve(t)
	for _, encoding := range []string{"", "gzip, deflate, br"} {
		first := get(http.MethodGet, console.Path, "Accept-Encoding", encoding)
		again := get(http.MethodGet, console.Path, "Accept-Encoding", encoding, "If-None-Match", first.header.Get("ETag"))
		if again.status != http.StatusNotModified {
			t.Errorf("%q: the same page again: %d", encoding, again.status)
		}
	}
	plain, packed := get(http.MethodGet, console.Path), get(http.MethodGet, console.Path, "Accept-Encoding", "br, gzip")
	unpacked, err := gzip.NewReader(strings.NewReader(packed.content))
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(unpacked)
	if err != nil {
		t.Fatal(err)
	}
	if string(content) != plain.content || plain.header.Get("ETag") == packed.header.Get("ETag") {
		t.Error("packed and plain page differ in content, or not in their tags")
	}
	if refused := get(http.MethodGet, console.Path, "Accept-Encoding", "gzip;q=0"); refused.header.Get("Content-Encoding") != "" {
		t.Error("gzip for one who refuses it")
	}
}

func TestWaysIn(t *testing.T) {
	t.Parallel()
	get := serve(t)
	for _, target := range []string{"/", "/console"} {
		r := get(http.MethodGet, target)
		if r.status/100 != 3 || r.header.Get("Location") != console.Path {
			t.Errorf("%s: %d to %q", target, r.status, r.header.Get("Location"))
		}
	}
	for _, target := range []string{"/console/nothing", "/console/../console.go", "/nothing"} {
		if r := get(http.MethodGet, target); r.status == http.StatusOK {
			t.Errorf("%s: %d", target, r.status)
		}
	}
	if r := get(http.MethodPost, console.Path); r.status == http.StatusOK {
		t.Errorf("POST: %d", r.status)
	}
}
