// The console: who may come in, and which page is shown.
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { hasKey, logOut, onLogOut, takeKeyFromAddress } from "./api";
import { Login } from "./login";
import { to, useRoute, type Route } from "./route";
import { ThemeButton, restoreTheme } from "./theme";
import { AgentPage } from "./pages/agent";
import { AgentsPage } from "./pages/agents";
import { ClusterPage } from "./pages/cluster";
import { LeasesPage } from "./pages/leases";
import { PartitionPage } from "./pages/partition";
import { TopicPage } from "./pages/topic";
import { TopicsPage } from "./pages/topics";
import { Heading, Mark } from "./parts";

function App() {
  const [inside, setInside] = useState(hasKey);
  const [why, setWhy] = useState("");
  useEffect(() => onLogOut((reason) => { setWhy(reason); setInside(false); }), []);
  const route = useRoute();
  if (!inside) return <Login why={why} entered={() => setInside(true)} />;
  return (
    <>
      <Top at={route[0] ?? ""} />
      <main id="main" tabIndex={-1}><Page route={route} /></main>
    </>
  );
}

const pages: [string, string, string][] = [["", "Cluster", "#/"], ["agents", "Agents", to("agents")], ["topics", "Topics", to("topics")], ["leases", "Leases", to("leases")]];

// skip goes where "#main" would, which here would be another page.
function skip(e: Event) {
  e.preventDefault();
  document.getElementById("main")?.focus();
}

function Top({ at }: { at: string }) {
  return (
    <header class="top">
      <a class="skip" href="#main" onClick={skip}>Skip to the content</a>
      <a class="brand" href="#/" aria-label="StreamHouse: the cluster"><Mark /><span>StreamHouse</span></a>
      <nav aria-label="Pages">
        {pages.map(([name, text, href]) => <a key={name} href={href} aria-current={name === at ? "page" : undefined}>{text}</a>)}
      </nav>
      <div class="tools">
        <ThemeButton />
        <button type="button" class="plain" onClick={() => logOut()}>Log out</button>
      </div>
    </header>
  );
}

function Page({ route: [page, name, part] }: { route: Route }) {
  if (page === undefined) return <ClusterPage />;
  if (page === "agents") return name === undefined ? <AgentsPage /> : <AgentPage key={name} id={name} />;
  if (page === "leases") return <LeasesPage />;
  if (page !== "topics") return <Heading title="There is no such page" />;
  if (name === undefined) return <TopicsPage />;
  if (part === undefined) return <TopicPage key={name} name={name} />;
  return <PartitionPage key={`${name}/${part}`} topic={name} partition={Number(part)} />;
}

restoreTheme();
takeKeyFromAddress();
addEventListener("hashchange", () => { // a console that is open already is opened by `dev` again
  if (!location.hash.startsWith("#key=")) return;
  takeKeyFromAddress();
  location.reload();
});
render(<App />, document.getElementById("app")!);
