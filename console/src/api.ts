// The ways to the control plane and to agents, both with the API key of whoever is logged in.
import { Code, ConnectError, createClient, type Client, type Interceptor, type Transport } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { ClusterService } from "./gen/streamhouse/controlplane/v1/cluster_pb";
import { TopicService } from "./gen/streamhouse/controlplane/v1/topic_pb";
import { RecordService } from "./gen/streamhouse/dataplane/v1/record_pb";
import { RefusalSchema, Reason } from "./gen/streamhouse/refusal/v1/refusal_pb";

const keyName = "streamhouse.key"; // in this tab's storage, which goes with the tab

let key = sessionStorage.getItem(keyName) ?? "";
let loggedOut: (why: string) => void = () => {};

// onLogOut is told when the key is given up, and why; "" where it was the person's wish.
export function onLogOut(told: (why: string) => void): void {
  loggedOut = told;
}

// takeKeyFromAddress logs in with "#key=…", as `streamhouse dev` opens the console. What follows "#" is sent to nobody; it is taken out of the
// address at once, so that it stays in no history.
export function takeKeyFromAddress(): void {
  const found = /^#key=(shk_[A-Za-z0-9_-]{43})$/.exec(location.hash);
  if (!found) return;
  keep(found[1]!);
  history.replaceState(null, "", location.pathname + "#/");
}

function keep(candidate: string): void {
  key = candidate;
  sessionStorage.setItem(keyName, candidate);
}

export const hasKey = (): boolean => key !== "";

export function logOut(why = ""): void {
  key = "";
  sessionStorage.removeItem(keyName);
  loggedOut(why);
}

// logIn keeps the key if the control plane knows it.
export async function logIn(candidate: string): Promise<void> {
  const transport = to(location.origin, () => candidate);
  await createClient(ClusterService, transport).getClusterStatus({}, { timeoutMs: 10_000 });
  keep(candidate);
}

function to(baseUrl: string, ofKey: () => string): Transport {
  const authorize: Interceptor = (next) => (request) => {
    request.header.set("Authorization", "Bearer " + ofKey());
    return next(request);
  };
  return createConnectTransport({ baseUrl, interceptors: [authorize] });
}

const here = to(location.origin, () => key);
export const cluster = createClient(ClusterService, here);
export const topics = createClient(TopicService, here);

const agents = new Map<string, Client<typeof RecordService>>();

// recordsAt speaks to the agent at this base URL, which is another origin: it allows this one, or the browser refuses.
export function recordsAt(address: string): Client<typeof RecordService> {
  let client = agents.get(address);
  if (!client) {
    client = createClient(RecordService, to(address, () => key));
    agents.set(address, client);
  }
  return client;
}

// reasonOf is the reason that a refusal gives; undefined: it is none.
export function reasonOf(error: unknown): Reason | undefined {
  return ConnectError.from(error).findDetails(RefusalSchema)[0]?.reason;
}

// explain says in a sentence what went wrong. A key that is no longer known ends the session.
export function explain(error: unknown): string {
  const e = ConnectError.from(error);
  if (e.code === Code.Unauthenticated && key !== "") logOut("The key is not known any more: it may have been revoked.");
  if (e.code === Code.Unknown && e.cause instanceof TypeError) return "no answer: it is not running, or does not allow this page (cors-origins)";
  return e.rawMessage || Code[e.code];
}

export { Reason };
