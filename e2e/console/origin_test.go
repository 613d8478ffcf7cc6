package console

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/e2e/cluster"
)

// calls makes, on a page, one call in each of the protocols that browsers speak: what it came to, or how the browser refused it.
const calls = `(async () => {
	const unary = (url, type, body) => fetch(url, { method: "POST", headers: { "Content-Type": type, "Connect-Protocol-Version": "1", "X-Grpc-Web": "1", Authorization: "Bearer " + KEY }, body });
	const frame = (text) => { const b = new TextEncoder().encode(text); const f = new Uint8Array(5 + b.length); new DataView(f.buffer).setUint32(1, b.length); f.set(b, 5); return f; };
	const attempt = async (call) => { try { return await call(); } catch (error) { return error.name; } };
	return {
		connect: await attempt(async () => { const r = await unary(URL_, "application/json", "{}"); return r.status + " " + Object.keys(await r.json()).length; }),
		web: await attempt(async () => { const r = await unary(URL_, "application/grpc-web+proto", frame("")); const text = new TextDecoder("latin1").decode(await r.arrayBuffer());
			return r.status + " " + (/grpc-status: ?0/i.test(text) || r.headers.get("grpc-status") === "0"); }),
		stream: await attempt(async () => {
			if (!STREAM) return "none";
			const r = await unary(STREAM, "application/connect+json", frame('{"topicName":"walk","decode":true,"partitions":[{"partition":0,"position":{"edge":"OFFSET_EDGE_EARLIEST"}}]}'));
			const reader = r.body.getReader(); let text = "";
			while (!text.includes("c2VlZA==")) { const { value, done } = await reader.read(); if (done) return "ended: " + text; text += new TextDecoder().decode(value); }
			await reader.cancel(); return r.status + " read";
		}),
	};
})()`

// Pages of other origins may call where they are allowed, in every protocol that a browser speaks; others may not, whatever key they have.
func TestOtherOriginsOnlyWhereAllowed(t *testing.T) {
	t.Parallel()
	b := startBrowser(t)
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "text/html") })
	friend, stranger := httptest.NewServer(page), httptest.NewServer(page)
	defer friend.Close()
	defer stranger.Close()
	allow := []string{"--cors-origins", friend.URL}
	c := cluster.Start(t, cluster.Options{Zones: []string{"az-a"}, AgentArgs: allow, ControlPlaneArgs: allow})
	c.CreateTopic(t.Context(), t, "walk", 1, client.TopicConfig{})
	if _, err := c.Client(t).Append(t.Context(), "walk", 0, 0, &client.Record{Value: []byte("seed")}); err != nil {
		t.Fatal(err)
	}

	type outcome struct{ Connect, Web, Stream string }
	refused := outcome{"TypeError", "TypeError", "TypeError"} // the browser's word for an answer that it keeps from the page
	const records, status = "/streamhouse.dataplane.v1.RecordService/", "/streamhouse.controlplane.v1.ClusterService/GetClusterStatus"
	for _, test := range []struct {
		name, origin, url, stream string
		want                      outcome
	}{
		{"agent, allowed", friend.URL, c.Agents[0].URL + records + "GetMetadata", c.Agents[0].URL + records + "Consume", outcome{"200 3", "200 true", "200 read"}},
		{"agent, not allowed", stranger.URL, c.Agents[0].URL + records + "GetMetadata", c.Agents[0].URL + records + "Consume", refused},
		{"control plane, allowed", friend.URL, c.ControlPlanes[0].URL + status, "", outcome{"200 3", "200 true", "none"}},
		{"control plane, not allowed", stranger.URL, c.ControlPlanes[0].URL + status, "", outcome{"TypeError", "TypeError", "none"}},
	} {
		p := b.open(test.name, nil)
		p.visit(test.origin)
		var got outcome
		p.eval("{ globalThis.KEY = "+quote(c.ClientKey)+"; globalThis.URL_ = "+quote(test.url)+"; globalThis.STREAM = "+quote(test.stream)+" }", nil)
		if p.eval(calls, &got); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}
