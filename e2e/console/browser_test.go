package console

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// patience with the browser, for each wait: exceeded by a hang alone.
const patience = 60 * time.Second

// browser is a headless Chromium; page names are the test's own.
type browser struct {
	t   testing.TB
	in  io.Writer
	out *bufio.Scanner
}

// need answers where the browser is, or skips the test: what it proves is then not proven here, which it says.
func need(t testing.TB) (node, chromium string) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a cluster and a browser")
	}
	missing := func(what string) {
		sentence := what + " is missing, so the web console is NOT TESTED: run scripts/browser, which installs what it needs"
		if os.Getenv("STREAMHOUSE_REQUIRE_BROWSER") != "" {
			t.Fatal(sentence)
		}
		t.Skip(sentence)
	}
	node, err := exec.LookPath("node")
	if err != nil {
		missing("Node")
	}
	for _, name := range []string{os.Getenv("STREAMHOUSE_CHROMIUM"), "chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); name != "" && err == nil {
			chromium = path
			break
		}
	}
	if chromium == "" {
		missing("Chromium")
	}
	for _, name := range []string{"playwright-core", "axe-core"} {
		if _, err := os.Stat(filepath.Join("node_modules", name)); err != nil {
			missing("the npm package " + name)
		}
	}
	return node, chromium
}

// startBrowser runs one until the test ends.
func startBrowser(t testing.TB) *browser {
	t.Helper()
	node, chromium := need(t)
	cmd := exec.CommandContext(t.Context(), node, "drive.mjs", chromium, fmt.Sprint(patience.Milliseconds()))
	cmd.WaitDelay = patience
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	cmd.Stderr = &said
	cmd.Cancel = func() error { return in.Close() } // it closes the browser and ends
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, in: in, out: bufio.NewScanner(out)}
	b.out.Buffer(nil, 16<<20)
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait() // the context has ended by now: its error says so
		if t.Failed() && said.Len() > 0 {
			t.Logf("the browser said:\n%s", said.String())
		}
	})
	return b
}

// ask has the browser do something; what it answers goes into `into`, unless that is nil.
func (b *browser) ask(do string, args map[string]any, into any) {
	b.t.Helper()
	request := map[string]any{"do": do}
	maps.Copy(request, args)
	line, err := json.Marshal(request)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.in.Write(append(line, '\n')); err != nil {
		b.t.Fatalf("%s: the browser is gone: %v", line, err)
	}
	if !b.out.Scan() {
		b.t.Fatalf("%s: the browser is gone: %v", line, b.out.Err())
	}
	var answer struct {
		Error string          `json:"error"`
		Value json.RawMessage `json:"value"`
	}
	if err := json.Unmarshal(b.out.Bytes(), &answer); err != nil {
		b.t.Fatalf("%s: %q: %v", line, b.out.Text(), err)
	}
	if answer.Error != "" {
		b.t.Fatalf("%s: %s", line, answer.Error)
	}
	if into != nil {
		if err := json.Unmarshal(answer.Value, into); err != nil {
			b.t.Fatalf("%s: %s: %v", line, answer.Value, err)
		}
	}
}

// page is one of the browser's.
type page struct {
	*browser

	name string
}

// open makes a page: with width, height and scheme, or "beside" another, whose storage it shares.
func (b *browser) open(name string, options map[string]any) page {
	b.t.Helper()
	args := map[string]any{"page": name}
	maps.Copy(args, options)
	b.ask("open", args, nil)
	return page{b, name}
}

func (p page) do(do string, args map[string]any, into any) {
	p.t.Helper()
	args["page"] = p.name
	p.ask(do, args, into)
}

func (p page) visit(url string) { p.t.Helper(); p.do("goto", map[string]any{"url": url}, nil) }

// turn goes to another of the console's pages, by its hash, and waits for its heading.
func (p page) turn(hash, heading string) {
	p.t.Helper()
	p.eval(fmt.Sprintf("{ location.hash = %q }", hash), nil)
	p.see("h1", heading)
}

func (p page) click(role, name string) {
	p.t.Helper()
	p.do("click", map[string]any{"role": role, "name": name}, nil)
}

func (p page) fill(label, text string) {
	p.t.Helper()
	p.do("fill", map[string]any{"label": label, "text": text}, nil)
}

func (p page) press(key string) { p.t.Helper(); p.do("press", map[string]any{"key": key}, nil) }

// see waits for the text in a part of the page.
func (p page) see(css, text string) {
	p.t.Helper()
	p.do("see", map[string]any{"css": css, "text": text}, nil)
}

// until waits for a JavaScript expression to be true.
func (p page) until(expression string) {
	p.t.Helper()
	p.do("until", map[string]any{"expression": expression}, nil)
}

func (p page) eval(expression string, into any) {
	p.t.Helper()
	p.do("eval", map[string]any{"expression": expression}, into)
}

// shot writes a screenshot for people to look at.
func (p page) shot(name string) {
	p.t.Helper()
	dir, err := filepath.Abs("../../.tools/console")
	if err != nil {
		p.t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		p.t.Fatal(err)
	}
	p.do("shot", map[string]any{"file": filepath.Join(dir, name+".png")}, nil)
}

// expectAccessible fails on what keeps people out.
func (p page) expectAccessible(where string) {
	p.t.Helper()
	var violations []string
	p.do("axe", map[string]any{}, &violations)
	for _, v := range violations {
		if strings.HasPrefix(v, "critical") || strings.HasPrefix(v, "serious") {
			p.t.Errorf("%s: %s", where, v)
		} else {
			p.t.Logf("%s: %s", where, v)
		}
	}
}

// expectNoSidewaysScroll: the page is as wide as its window; tables scroll by themselves.
func (p page) expectNoSidewaysScroll(where string) {
	p.t.Helper()
	var wide []string
	p.eval(`[...document.querySelectorAll("body *")].filter((e) => !e.closest(".skip") && !e.parentElement.closest(".scroll, nav") &&
		e.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map((e) => e.outerHTML.slice(0, 100)).slice(0, 3)`, &wide)
	if len(wide) > 0 {
		p.t.Errorf("%s: wider than the screen: %q", where, wide)
	}
}
