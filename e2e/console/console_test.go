package console

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/e2e/command"
	"github.com/streamhouse/streamhouse/e2e/process"
)

// dev is a running `streamhouse dev`.
type dev struct {
	command.Command

	ConsoleURL string `json:"console_url"`
	APIKey     string `json:"api_key"`
	Agents     []struct {
		ID  string `json:"id"`
		PID int    `json:"pid"`
	} `json:"agents"`
}

// startDev runs one until the test ends.
func startDev(ctx context.Context, t *testing.T) *dev {
	t.Helper()
	dir := filepath.Join(process.Folder(t), "data")
	d := &dev{Command: command.InFolder(t, dir)}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute) // the test's own has ended
		defer cancel()
		d.Run(ctx, t, nil, "dev", "down")
	})
	d.Must(ctx, t, "dev", "--detach", "--agent-flag", "linger=50ms")
	content, err := os.ReadFile(filepath.Join(dir, "dev.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, d); err != nil {
		t.Fatal(err)
	}
	return d
}

// kill ends an agent at once, and answers whether it was there.
func (d *dev) kill(t *testing.T, id string) {
	t.Helper()
	for _, a := range d.Agents {
		if a.ID == id {
			if err := syscall.Kill(a.PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("there is no agent %q", id)
}

// The console from the first look to the last, while records come and agents go.
func TestConsole(t *testing.T) {
	t.Parallel()
	b := startBrowser(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	d := startDev(ctx, t)
	p := b.open("main", nil)

	logIn(t, b, d)
	devLogsItselfIn(t, p, d)
	makeTopic(p)
	tail := b.open("tail", map[string]any{"beside": "main"})
	followTail(ctx, t, d, p, tail)
	lookAtAll(t, b, d)
	useKeyboard(t, p)
	dead := takeover(ctx, t, d, p, tail)
	drain(t, d, p, dead)
	expectNoFaults(t, b)
}

// logIn: a key that is not known is refused with a sentence, one that is opens the console, and it is gone after logging out.
func logIn(t *testing.T, b *browser, d *dev) {
	t.Helper()
	p := b.open("login", nil)
	address, _, _ := strings.Cut(d.ConsoleURL, "#")
	p.visit(address)
	p.see("h1", "Log in")
	p.expectAccessible("login")
	p.shot("login")
	p.fill("API key", "shk_"+strings.Repeat("x", 43))
	p.press("Enter")
	p.see("[role=alert]", "This key is not known")
	p.fill("API key", d.APIKey)
	p.press("Enter")
	p.see("h1", "Cluster")
	p.click("button", "Log out")
	p.see("h1", "Log in")
	var kept string
	p.eval(`JSON.stringify([{...sessionStorage}, {...localStorage}, document.cookie, location.href])`, &kept)
	if strings.Contains(kept, d.APIKey) {
		t.Errorf("the key is still there after logging out: %s", kept)
	}
	var faults []string
	b.ask("faults", nil, &faults)
	for _, f := range faults { // the refusal is one of them
		if !strings.Contains(f, "401") {
			t.Error(f)
		}
	}
}

// devLogsItselfIn: the address that dev gives out needs no key to be typed, and does not keep it.
func devLogsItselfIn(t *testing.T, p page, d *dev) {
	t.Helper()
	p.visit(d.ConsoleURL)
	p.see("h1", "Cluster")
	var address string
	p.do("address", map[string]any{}, &address)
	if strings.Contains(address, "shk_") {
		t.Errorf("the key stays in the address: %s", address)
	}
	p.see("main", "Nothing needs attention.")
	for _, a := range d.Agents {
		p.see(".agents", a.ID)
	}
}

func makeTopic(p page) {
	p.t.Helper()
	p.turn("#/topics", "Topics")
	p.eval(`document.querySelector("summary").click()`, nil)
	p.fill("Name", "orders")
	p.fill("Partitions", "6")
	p.click("button", "Create")
	p.see("h1", "orders")
	p.until(`[...document.querySelectorAll("td.leader")].filter((e) => e.textContent !== "nobody").length === 6`)
}

// followTail: what is produced elsewhere appears on an open page, and so does what is produced on another page.
func followTail(ctx context.Context, t *testing.T, d *dev, p, tail page) {
	t.Helper()
	tail.visit(d.ConsoleURL)
	tail.turn("#/topics/orders", "orders")
	tail.see(".tail [role=status]", "from agent-")
	d.MustWith(ctx, t, []byte("alice,from the shell\n"), "produce", "orders", "--key-separator", ",")
	tail.see(".records", "from the shell")
	tail.see(".records", "alice")

	p.fill("Key", "bob")
	p.fill("Value", `{"from": "the browser"}`)
	p.click("button", "Produce")
	p.see(".said", "Stored in partition")
	tail.see(".records", `{"from": "the browser"}`)
	p.see(".records", `{"from": "the browser"}`)
}

// sights are the pages, by the names of their screenshots.
var sights = []struct{ name, hash, heading, wait string }{
	{"cluster", "#/", "Cluster", ".map"},
	{"agents", "#/agents", "Agents", "tbody"},
	{"agent", "#/agents/agent-az-a-1", "agent-az-a-1", "tbody"},
	{"topics", "#/topics", "Topics", "tbody"},
	{"topic", "#/topics/orders", "orders", "tbody"},
	{"partition", "#/topics/orders/0", "orders, partition 0", "tbody"},
	{"leases", "#/leases", "Leases", "tbody"},
	{"nothing", "#/nothing", "There is no such page", "main"},
}

// lookAtAll: every page can be used by everybody, in light and dark, on a desk and on a phone.
func lookAtAll(t *testing.T, b *browser, d *dev) {
	t.Helper()
	for _, look := range []struct {
		name, scheme  string
		width, height int
	}{{"light", "light", 1280, 860}, {"dark", "dark", 1280, 860}, {"phone", "light", 390, 844}} {
		p := b.open(look.name, map[string]any{"width": look.width, "height": look.height, "scheme": look.scheme})
		p.visit(d.ConsoleURL)
		p.see("h1", "Cluster")
		for _, s := range sights {
			p.turn(s.hash, s.heading)
			p.see(s.wait, "")
			p.shot(look.name + "-" + s.name)
			p.expectNoSidewaysScroll(look.name + " " + s.name)
			if look.name != "phone" { // there it is the same page, and axe takes its time
				p.expectAccessible(look.name + " " + s.name)
			}
		}
	}
}

// useKeyboard goes from the top of the page to another page by keys alone, and past the top.
func useKeyboard(t *testing.T, p page) {
	t.Helper()
	settled := func(title string) { // a page that is new takes the focus to its heading, a moment later than it shows it
		t.Helper()
		p.until(`document.activeElement.tagName === "H1" && document.activeElement.textContent === ` + quote(title))
	}
	p.turn("#/", "Cluster")
	settled("Cluster")
	p.eval(`document.querySelector(".skip").focus()`, nil)
	press := func(until string) {
		t.Helper()
		for range 12 {
			p.press("Tab")
			var at string
			if p.eval(`document.activeElement.textContent`, &at); at == until {
				p.press("Enter")
				return
			}
		}
		t.Errorf("the Tab key does not reach %q", until)
	}
	press("Leases")
	p.see("h1", "Leases")
	settled("Leases")
	p.eval(`document.querySelector(".brand").focus()`, nil)
	p.press("Shift+Tab")
	p.press("Enter")
	var at string
	if p.eval(`document.activeElement.id`, &at); at != "main" {
		t.Errorf("the skip link leads to %q", at)
	}
}

// takeover: an agent dies, and the open page shows who leads now, in a higher epoch, and who led before; the tail goes on. Answers who died.
func takeover(ctx context.Context, t *testing.T, d *dev, p, tail page) string {
	t.Helper()
	var dead string
	tail.eval(`document.querySelector(".tail [role=status]").textContent.replace("from ", "")`, &dead) // the one that the tail hangs on
	var led string
	tail.eval(`[...document.querySelectorAll("tbody tr")].find((r) => r.querySelector("td.leader")?.textContent === `+quote(dead)+`).querySelector("th").textContent`, &led)
	p.turn("#/topics/orders/"+led, "orders, partition "+led)
	p.until(`document.querySelector(".facts dd").textContent === ` + quote(dead))
	d.kill(t, dead)
	p.until(`!["nobody", ` + quote(dead) + `].includes(document.querySelector(".facts dd").textContent)`)
	p.see("[aria-label='Leaders until now'] tbody tr:nth-child(1)", "leads now")
	p.see("[aria-label='Leaders until now'] tbody tr:nth-child(2)", dead)
	p.until(`(() => { const epochs = [...document.querySelectorAll("[aria-label='Leaders until now'] tbody th")].map((e) => Number(e.textContent));
		return epochs.length === 2 && epochs[0] > epochs[1]; })()`)
	p.shot("takeover")

	d.MustWith(ctx, t, []byte("after the takeover\n"), "produce", "orders")
	tail.see(".records", "after the takeover")
	var seen string
	if tail.eval(`[...document.querySelectorAll(".records .value")].map((e) => e.textContent).join("|")`, &seen); strings.Count(seen, "|") != 2 {
		t.Errorf("the tail shows %q, want three records, each once", seen)
	}
	return dead
}

// drain: the plan is shown first and nothing happens before it is agreed to; then the agent hands over and leaves.
func drain(t *testing.T, d *dev, p page, dead string) {
	t.Helper()
	id := d.Agents[0].ID
	if id == dead {
		id = d.Agents[1].ID
	}
	p.turn("#/agents/"+id, id)
	p.see(".heading .state", "live")
	p.until(`Number(document.querySelector(".facts dd").textContent) === 3`) // half of what is left by the dead
	p.click("button", "Drain…")
	p.see("dialog", "3 partitions would move")
	p.expectAccessible("drain")
	p.shot("drain")
	p.click("button", "Leave it")
	p.until(`document.querySelector("dialog") === null`)
	p.see(".heading .state", "live")

	p.click("button", "Drain…")
	p.see("dialog", "3 partitions would move")
	p.click("button", "Drain it")
	p.see(".heading .state", "ended")
	p.turn("#/topics/orders", "orders")
	p.until(`new Set([...document.querySelectorAll("td.leader")].map((e) => e.textContent)).size === 1`)
	p.until(`![...document.querySelectorAll("td.leader")].some((e) => ["nobody", ` + quote(id) + `].includes(e.textContent))`)
}

// expectNoFaults: the browser complained of nothing but agents that were made to end.
func expectNoFaults(t *testing.T, b *browser) {
	t.Helper()
	var faults []string
	b.ask("faults", nil, &faults)
	for _, f := range faults {
		if !strings.Contains(f, "net::ERR_") {
			t.Error(f)
		}
	}
}

func quote(s string) string {
	quoted, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings can be marshalled
	}
	return string(quoted)
}
