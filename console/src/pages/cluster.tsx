import { cluster } from "../api";
import { bytes, count, rate, things } from "../format";
import type { Agent, AgentGroupStatus, GetClusterStatusResponse, Lease, ZoneStatus } from "../gen/streamhouse/controlplane/v1/cluster_pb";
import { AgentState } from "../gen/streamhouse/controlplane/v1/cluster_pb";
import { useLive } from "../live";
import { AgentLink, Changing, Facts, Heading, Loading, Problem, State, zoneColor } from "../parts";
import { to } from "../route";

const mapped = 2_000; // partitions drawn one by one; of more the counts say enough

interface View {
  status: GetClusterStatusResponse;
  agents: Agent[];
  leases: Lease[] | undefined; // undefined: too many
}

async function look(signal: AbortSignal): Promise<View> {
  const [status, agents, leases] = await Promise.all([
    cluster.getClusterStatus({}, { signal }),
    cluster.listAgents({}, { signal }),
    cluster.listLeases({ pageSize: mapped }, { signal }),
  ]);
  return { status, agents: agents.agents, leases: leases.nextPageToken === "" ? leases.leases : undefined };
}

// ClusterPage is the cluster at a glance: agent groups, their zones, and who leads what.
export function ClusterPage() {
  const { value, error } = useLive(look, []);
  return (
    <>
      <Heading title="Cluster" />
      {!value ? <Loading error={error} /> : (
        <>
          <Problem text={error} stale />
          <Warnings status={value.status} />
          {value.status.agentGroups.map((group) => <Group key={group.agentGroup} group={group} view={value} />)}
          <p class="quiet foot">Answered by {value.status.answeredBy}. Placement is decided by {value.status.placementBy || "nobody at present"}.</p>
        </>
      )}
    </>
  );
}

function Warnings({ status }: { status: GetClusterStatusResponse }) {
  if (status.warnings.length === 0) return <p class="calm">Nothing needs attention.</p>;
  return (
    <section class="warnings" aria-label="What needs attention">
      <ul>{status.warnings.map((text) => <li key={text}>{text}</li>)}</ul>
    </section>
  );
}

function Group({ group, view }: { group: AgentGroupStatus; view: View }) {
  const zones = group.zones.map((z) => z.zone).filter((z) => z !== "");
  const agents = view.agents.filter((a) => a.agentGroup === group.agentGroup);
  const sum = (of: (z: ZoneStatus) => bigint) => group.zones.reduce((n, z) => n + of(z), 0n);
  const id = "group-" + group.agentGroup;
  return (
    <section aria-labelledby={id}>
      <h2 id={id}>Agent group <span class="mono">{group.agentGroup}</span></h2>
      <Facts facts={[
        ["Topics", count(group.topics)],
        ["Partitions", count(group.partitions)],
        ["Without a leader", <span class={group.leaderlessPartitions > 0 ? "bad" : ""}><Changing value={group.leaderlessPartitions} /></span>],
        ["Moving", <Changing value={group.movingPartitions} />],
        ["Records in", rate(sum((z) => z.inBytesPerSecond))],
        ["Records out", rate(sum((z) => z.outBytesPerSecond))],
        ["Across zones", bytes(group.clientBytesAcrossZones + group.agentBytesAcrossZones)],
      ]} />
      <div class="zones">
        {group.zones.filter((z) => z.zone !== "").map((zone) =>
          <Zone key={zone.zone} zone={zone} color={zoneColor(zones, zone.zone)} agents={agents.filter((a) => a.zone === zone.zone)} />)}
      </div>
      {view.leases && <LeaderMap leases={view.leases} zones={zones} agents={agents} />}
    </section>
  );
}

function Zone({ zone, color, agents }: { zone: ZoneStatus; color: string; agents: Agent[] }) {
  const here = agents.filter((a) => a.state !== AgentState.ENDED);
  return (
    <section class="panel zone" aria-label={`Zone ${zone.zone}`}>
      <h3><span class={`swatch ${color}`} aria-hidden="true" />{zone.zone}<span class="quiet">{things(zone.partitions, "partition")}</span></h3>
      {here.length === 0 && <p class="quiet">No agent lives here.</p>}
      <ul class="agents">{here.map((a) => <AgentLine key={a.agentId} agent={a} />)}</ul>
    </section>
  );
}

function AgentLine({ agent }: { agent: Agent }) {
  return (
    <li>
      <div class="line"><AgentLink id={agent.agentId} /><State of={agent.state} /></div>
      <div class="line quiet">
        <span>leads <b><Changing value={agent.leaseCount} /></b></span>
        <span>in {rate(agent.inBytesPerSecond)}</span>
        <span>out {rate(agent.outBytesPerSecond)}</span>
      </div>
    </li>
  );
}

// LeaderMap has a square for each partition, in its leader's zone's colour: a takeover can be watched.
function LeaderMap({ leases, zones, agents }: { leases: Lease[]; zones: string[]; agents: Agent[] }) {
  const members = new Set(agents.map((a) => a.agentId));
  const topics = Map.groupBy(leases, (l) => l.topic);
  const own = [...topics].filter(([, of]) => of.some((l) => members.has(l.assignedAgentId) || members.has(l.leader)));
  if (own.length === 0) return null;
  return (
    <div class="map">
      <h3>Who leads what <span class="quiet">A square is a partition, its colour the leader’s zone, its number the epoch.</span></h3>
      {own.map(([topic, of]) => (
        <div class="row" key={topic}>
          <a class="mono" href={to("topics", topic)}>{topic}</a>
          <ol class="squares">{of.map((l) => <Square key={l.partition} lease={l} color={zoneColor(zones, l.zone)} />)}</ol>
        </div>
      ))}
    </div>
  );
}

function Square({ lease, color }: { lease: Lease; color: string }) {
  const led = lease.leader === "" ? "nobody leads it" : `led by ${lease.leader} in ${lease.zone}, epoch ${lease.epoch}`;
  const text = `${lease.topic}, partition ${lease.partition}: ${led}`;
  return (
    <li>
      <a class={`square ${color}`} href={to("topics", lease.topic, lease.partition)} title={text} aria-label={text}><Changing value={lease.epoch} /></a>
    </li>
  );
}
