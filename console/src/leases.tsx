// Rows of leases, as several pages show them.
import { count } from "./format";
import type { Lease } from "./gen/streamhouse/controlplane/v1/cluster_pb";
import { AgentLink, Changing, Table } from "./parts";
import { to } from "./route";

export function LeaseTable({ label, leases, withTopic }: { label: string; leases: Lease[]; withTopic: boolean }) {
  const head = ["Partition", "Leader", "Zone", ["Epoch"], ["Next offset"], "Assigned to"] as (string | [string])[];
  return (
    <Table label={label} head={head}>
      {leases.map((l) => (
        <tr key={l.topicId + l.partition}>
          <th scope="row"><a class="mono" href={to("topics", l.topic, l.partition)}>{withTopic ? `${l.topic}/${l.partition}` : l.partition}</a></th>
          <td class="leader"><AgentLink id={l.leader} /></td>
          <td>{l.zone}</td>
          <td class="n"><Changing value={l.epoch} /></td>
          <td class="n">{count(l.highWatermark)}</td>
          <td>{l.assignedAgentId === l.leader ? <span class="quiet">the leader{l.pinned && ", pinned"}</span> : <><AgentLink id={l.assignedAgentId} />{l.pinned && " (pinned)"}</>}</td>
        </tr>
      ))}
    </Table>
  );
}

// Pager walks through pages that name only the next one.
export function Pager({ trail, next, go }: { trail: string[]; next: string | undefined; go: (trail: string[]) => void }) {
  if (trail.length === 1 && !next) return null;
  return (
    <nav class="pager" aria-label="Pages of partitions">
      <button type="button" disabled={trail.length === 1} onClick={() => go(trail.slice(0, -1))}>Previous</button>
      <span>Page {trail.length}</span>
      <button type="button" disabled={!next} onClick={() => next && go([...trail, next])}>Next</button>
    </nav>
  );
}
