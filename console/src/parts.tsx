// What several pages are made of.
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { AgentState } from "./gen/streamhouse/controlplane/v1/cluster_pb";
import { to } from "./route";

// Heading names the page, for the eye, the tab and the screen reader, which is taken here when the page changes.
export function Heading({ title, children }: { title: string; children?: ComponentChildren }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${title} · StreamHouse`;
    heading.current?.focus({ preventScroll: true });
    scrollTo(0, 0);
  }, [title]);
  return (
    <div class="heading">
      <h1 ref={heading} tabIndex={-1}>{title}</h1>
      {children}
    </div>
  );
}

// Trail leads back to where the page belongs.
export function Trail({ links }: { links: [string, string][] }) {
  return (
    <nav class="trail" aria-label="Where this page belongs">
      {links.map(([text, href]) => <a key={href} href={href}>{text}</a>)}
    </nav>
  );
}

export function Problem({ text, stale = false }: { text: string | undefined; stale?: boolean }) {
  if (!text) return null;
  return <p class="problem" role="alert">{stale ? `Not up to date: ${text}` : text}</p>;
}

export function Loading({ error }: { error: string | undefined }) {
  return error ? <Problem text={error} /> : <p class="quiet" role="status">Loading…</p>;
}

const states: Record<AgentState, [string, string]> = {
  [AgentState.UNSPECIFIED]: ["unknown", "off"],
  [AgentState.LIVE]: ["live", "good"],
  [AgentState.SUSPECT]: ["suspect", "bad"],
  [AgentState.DRAINING]: ["draining", "warn"],
  [AgentState.ENDED]: ["ended", "off"],
  [AgentState.UNFIT]: ["unfit", "bad"],
};

export function State({ of }: { of: AgentState }) {
  const [name, kind] = states[of];
  return <span class={`state ${kind}`}>{name}</span>;
}

export const AgentLink = ({ id }: { id: string }) =>
  id === "" ? <span class="none">nobody</span> : <a class="mono" href={to("agents", id)}>{id}</a>;

// Changing draws the eye to a value for a moment after it has changed.
export function Changing({ value }: { value: string | number | bigint }) {
  const before = useRef(value);
  const times = useRef(0);
  if (before.current !== value) {
    before.current = value;
    times.current++;
  }
  return <span key={times.current} class={times.current > 0 ? "changed" : undefined}>{String(value)}</span>;
}

// Facts are names and values.
export function Facts({ facts }: { facts: [string, ComponentChildren][] }) {
  return (
    <dl class="facts">
      {facts.map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}
    </dl>
  );
}

// Table scrolls sideways by itself where the screen is narrow.
export function Table({ label, head, children }: { label: string; head: (string | [string])[]; children: ComponentChildren }) {
  return (
    <div class="scroll" role="region" aria-label={label} tabIndex={0}>
      <table>
        <thead>
          <tr>{head.map((name) => typeof name === "string" ? <th key={name} scope="col">{name}</th> : <th key={name[0]} scope="col" class="n">{name[0]}</th>)}</tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}

// zoneColor numbers the zones, so that each has a colour of its own on every page; after six they repeat.
export const zoneColor = (zones: string[], zone: string): string => (zone === "" ? "zone-none" : `zone-${Math.max(0, zones.indexOf(zone)) % 6}`);

export const Mark = () => (
  <svg class="mark" viewBox="0 0 32 32" aria-hidden="true"><rect width="32" height="32" rx="7" /><path d="M7 11h12M7 16h18M7 21h9" /></svg>
);
