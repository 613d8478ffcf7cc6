import { useState } from "preact/hooks";
import { cluster } from "../api";
import { count, lasting, ms, rate, when } from "../format";
import type { ExplainPlacementResponse, Tenure } from "../gen/streamhouse/controlplane/v1/cluster_pb";
import { useLive } from "../live";
import { Pager } from "../leases";
import { AgentLink, Changing, Facts, Heading, Loading, Problem, Table, Trail } from "../parts";
import { to } from "../route";

const page = 50;

// PartitionPage says who leads a partition and why, and who led it before.
export function PartitionPage({ topic, partition }: { topic: string; partition: number }) {
  const [trail, setTrail] = useState([""]);
  const token = trail.at(-1)!;
  const { value, error } = useLive(async (signal) => {
    const [explained, history] = await Promise.all([
      cluster.explainPlacement({ topic, partition }, { signal }),
      cluster.getPartitionHistory({ topic, partition, pageSize: page, pageToken: token }, { signal }),
    ]);
    return { explained, history, now: Date.now() };
  }, [topic, partition, token]);
  return (
    <>
      <Trail links={[["Topics", "#/topics"], [topic, to("topics", topic)]]} />
      <Heading title={`${topic}, partition ${partition}`} />
      {!value ? <Loading error={error} /> : (
        <>
          <Problem text={error} stale />
          <LeaseFacts of={value.explained} />
          <Why of={value.explained} />
          <h2>Leaders until now</h2>
          <History tenures={value.history.tenures} now={value.now} />
          <Pager trail={trail} next={value.history.nextPageToken} go={setTrail} />
          <Others of={value.explained} />
        </>
      )}
    </>
  );
}

function LeaseFacts({ of: { lease, pinned } }: { of: ExplainPlacementResponse }) {
  if (!lease) return null;
  return (
    <Facts facts={[
      ["Leader", <AgentLink id={lease.leader} />],
      ["Zone", lease.zone || "–"],
      ["Epoch", <Changing value={lease.epoch} />],
      ["Next offset", count(lease.highWatermark)],
      ["Assigned to", <><AgentLink id={lease.assignedAgentId} />{pinned && " (pinned)"}</>],
      ["Session ends without a heartbeat", when(lease.expiresAt) || "–"],
    ]} />
  );
}

function Why({ of }: { of: ExplainPlacementResponse }) {
  return (
    <div class="split even">
      <section class="panel" aria-labelledby="why"><h2 id="why">Why it is here</h2><Sentences of={of.reasons} none="Nothing speaks for it." /></section>
      <section class="panel" aria-labelledby="move"><h2 id="move">What would move it</h2><Sentences of={of.wouldMove} none="Nothing would." /></section>
    </div>
  );
}

function Others({ of }: { of: ExplainPlacementResponse }) {
  return (
    <>
      <h2>Who could lead it</h2>
      <Table label="Candidates" head={["Agent", "Zone", "Verdict", ["Of this topic"], ["In all"], ["Load"]]}>
        {of.candidates.map((c) => (
          <tr key={c.agentId}>
            <th scope="row"><AgentLink id={c.agentId} /></th>
            <td>{c.zone}</td>
            <td class="wide"><span class={`state ${c.eligible ? "good" : "bad"}`}>{c.eligible ? "may" : "may not"}</span> {c.verdict}</td>
            <td class="n">{count(c.topicPartitions)}</td>
            <td class="n">{count(c.partitions)}</td>
            <td class="n">{rate(c.bytesPerSecond)}</td>
          </tr>
        ))}
      </Table>
      <h2>How the topic lies over zones</h2>
      <Table label="Zones" head={["Zone", ["Agents"], ["Capacity"], ["Should lead"], ["Assigned"]]}>
        {of.zones.map((z) => (
          <tr key={z.zone}>
            <th scope="row">{z.zone}</th>
            <td class="n">{count(z.agents)}</td>
            <td class="n">{rate(z.capacityBytesPerSecond)}</td>
            <td class="n">{z.leastPartitions === z.mostPartitions ? count(z.mostPartitions) : `${count(z.leastPartitions)} to ${count(z.mostPartitions)}`}</td>
            <td class="n">{count(z.partitions)}</td>
          </tr>
        ))}
      </Table>
    </>
  );
}

const Sentences = ({ of, none }: { of: string[]; none: string }) =>
  of.length === 0 ? <p class="quiet">{none}</p> : <ul class="sentences">{of.map((s) => <li key={s}>{s}</li>)}</ul>;

function History({ tenures, now }: { tenures: Tenure[]; now: number }) {
  if (tenures.length === 0) return <p class="quiet">It was never led.</p>;
  return (
    <Table label="Leaders until now" head={[["Epoch"], "Leader", "Zone", ["From offset"], "Began", "For", "Ended"]}>
      {tenures.map((t) => (
        <tr key={t.epoch}>
          <th scope="row" class="n">{t.epoch}</th>
          <td><AgentLink id={t.agentId} /></td>
          <td>{t.zone}</td>
          <td class="n">{count(t.firstOffset)}</td>
          <td class="time">{when(t.startedAt)}</td>
          <td class="time">{t.startedAt && lasting((t.endedAt ? ms(t.endedAt) : now) - ms(t.startedAt))}</td>
          <td>{t.endedAt ? t.endReason : <span class="state good">leads now</span>}</td>
        </tr>
      ))}
    </Table>
  );
}
