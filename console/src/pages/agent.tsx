import { useEffect, useRef, useState } from "preact/hooks";
import { cluster, explain } from "../api";
import { bytes, count, rate, things, when } from "../format";
import type { Traffic } from "../gen/streamhouse/controlplane/v1/agent_pb";
import { TrafficDirection } from "../gen/streamhouse/controlplane/v1/agent_pb";
import { AgentState, type DrainAgentResponse, type Move } from "../gen/streamhouse/controlplane/v1/cluster_pb";
import { LeaseTable, Pager } from "../leases";
import { useLive } from "../live";
import { AgentLink, Changing, Facts, Heading, Loading, Problem, State, Table, Trail } from "../parts";

const page = 100;

// AgentPage shows one agent and what it leads; from here it is drained.
export function AgentPage({ id }: { id: string }) {
  const [trail, setTrail] = useState([""]);
  const [draining, setDraining] = useState(false);
  const token = trail.at(-1)!;
  const { value, error } = useLive(async (signal) => {
    const [described, leases] = await Promise.all([
      cluster.describeAgent({ agentId: id }, { signal }),
      cluster.listLeases({ leaderAgentId: id, pageSize: page, pageToken: token }, { signal }),
    ]);
    return { agent: described.agent!, traffic: described.traffic, leases };
  }, [id, token]);
  const agent = value?.agent;
  const gone = agent?.state === AgentState.ENDED || agent?.state === AgentState.DRAINING;
  return (
    <>
      <Trail links={[["Agents", "#/agents"]]} />
      <Heading title={id}>
        {agent && <State of={agent.state} />}
        {agent && <button type="button" disabled={gone} onClick={() => setDraining(true)}>Drain…</button>}
      </Heading>
      {draining && <DrainDialog id={id} close={() => setDraining(false)} />}
      {!value || !agent ? <Loading error={error} /> : (
        <>
          <Problem text={error} stale />
          <Facts facts={[
            ["Leads", <Changing value={agent.leaseCount} />],
            ["Assigned", <Changing value={agent.assignedCount} />],
            ["In", rate(agent.inBytesPerSecond)],
            ["Out", rate(agent.outBytesPerSecond)],
            ["Capacity", rate(agent.capacityBytesPerSecond)],
            ["Zone", agent.zone],
            ["Agent group", <span class="mono">{agent.agentGroup}</span>],
          ]} />
          <Facts facts={[
            ["Address", <span class="mono">{agent.address}</span>],
            ["Registered", when(agent.startedAt)],
            ["Last heartbeat", when(agent.lastHeartbeatAt)],
            [agent.state === AgentState.ENDED ? "Ended because" : "Session ends without another", agent.endReason || when(agent.expiresAt)],
            ["Version", agent.version],
          ]} />
          <h2>What it leads</h2>
          {value.leases.leases.length === 0 ? <p class="quiet">Nothing.</p> : <LeaseTable label="Leases of this agent" leases={value.leases.leases} withTopic />}
          <Pager trail={trail} next={value.leases.nextPageToken} go={setTrail} />
          {value.traffic.length > 0 && <TrafficTable traffic={value.traffic} />}
        </>
      )}
    </>
  );
}

const directions: Partial<Record<TrafficDirection, string>> = Object.fromEntries(
  Object.entries(TrafficDirection).filter(([, v]) => typeof v === "number").map(([name, v]) => [v, name.toLowerCase().replaceAll("_", " ")]),
);

function TrafficTable({ traffic }: { traffic: Traffic[] }) {
  return (
    <>
      <h2>Bytes since it started</h2>
      <Table label="Traffic" head={["Direction", "Other side’s zone", ["Bytes"]]}>
        {traffic.map((t) => (
          <tr key={`${t.direction} ${t.zone}`}>
            <td>{directions[t.direction]}</td>
            <td>{t.zone || <span class="none">unknown</span>}</td>
            <td class="n">{bytes(t.bytes)}</td>
          </tr>
        ))}
      </Table>
    </>
  );
}

// DrainDialog shows where everything would go before it asks whether it shall.
function DrainDialog({ id, close }: { id: string; close: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [plan, setPlan] = useState<DrainAgentResponse>();
  const [problem, setProblem] = useState<string>();
  const [busy, setBusy] = useState(false);
  useEffect(() => {
    const ended = new AbortController();
    dialog.current?.showModal();
    cluster.drainAgent({ agentId: id, dryRun: true }, { signal: ended.signal }).then(setPlan, (e) => ended.signal.aborted || setProblem(explain(e)));
    return () => ended.abort();
  }, [id]);
  const drain = async () => {
    setBusy(true);
    try {
      await cluster.drainAgent({ agentId: id }, { timeoutMs: 30_000 });
      dialog.current?.close();
    } catch (error) {
      setProblem(explain(error));
      setBusy(false);
    }
  };
  return (
    <dialog ref={dialog} onClose={close} aria-labelledby="drain-title">
      <h2 id="drain-title">Drain <span class="mono">{id}</span></h2>
      <p>It hands over all that it leads, leaves the cluster and exits. No client notices. Start the agent again to have it back.</p>
      <Problem text={problem} />
      {plan ? <Plan plan={plan} /> : !problem && <p class="quiet" role="status">Asking where everything would go…</p>}
      <div class="buttons">
        <button type="button" onClick={() => dialog.current?.close()}>Leave it</button>
        <button type="button" class="danger" disabled={!plan || busy} onClick={drain}>{busy ? "Asking…" : "Drain it"}</button>
      </div>
    </dialog>
  );
}

function Plan({ plan }: { plan: DrainAgentResponse }) {
  if (plan.moveCount === 0) return <p>It leads nothing: nothing would move.</p>;
  const targets = [...Map.groupBy(plan.moves, (m: Move) => m.toAgentId)];
  return (
    <>
      <p><b>{things(plan.moveCount, "partition")}</b> would move:</p>
      <ul class="targets">
        {targets.map(([target, moves]) => <li key={target}>{count(moves.length)} to {target === "" ? <b class="bad">nobody: no agent can take them</b> : <AgentLink id={target} />}</li>)}
      </ul>
      <Table label="The plan" head={["Partition", "To"]}>
        {plan.moves.slice(0, page).map((m) => (
          <tr key={m.topicId + m.partition}><th scope="row" class="mono">{m.topic}/{m.partition}</th><td class="mono">{m.toAgentId || <span class="bad">nobody</span>}</td></tr>
        ))}
      </Table>
      {plan.moveCount > page && <p class="quiet">The first {page} of {count(plan.moveCount)}.</p>}
    </>
  );
}
