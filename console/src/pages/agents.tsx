import { cluster } from "../api";
import { count, rate, when } from "../format";
import { useLive } from "../live";
import { AgentLink, Changing, Heading, Loading, Problem, State, Table } from "../parts";

// AgentsPage lists the agents that live, and those that ended within the last day.
export function AgentsPage() {
  const { value, error } = useLive((signal) => cluster.listAgents({}, { signal }), []);
  return (
    <>
      <Heading title="Agents" />
      {!value ? <Loading error={error} /> : (
        <>
          <Problem text={error} stale />
          <Table label="Agents" head={["Agent", "State", "Agent group", "Zone", ["Leads"], ["Assigned"], ["In"], ["Out"], "Since", "Version"]}>
            {value.agents.map((a) => (
              <tr key={a.agentId}>
                <th scope="row"><AgentLink id={a.agentId} /></th>
                <td><State of={a.state} />{a.endReason && <span class="quiet"> {a.endReason}</span>}</td>
                <td class="mono">{a.agentGroup}</td>
                <td>{a.zone}</td>
                <td class="n"><Changing value={a.leaseCount} /></td>
                <td class="n">{count(a.assignedCount)}</td>
                <td class="n">{rate(a.inBytesPerSecond)}</td>
                <td class="n">{rate(a.outBytesPerSecond)}</td>
                <td class="time">{when(a.startedAt)}</td>
                <td class="quiet">{a.version}</td>
              </tr>
            ))}
          </Table>
        </>
      )}
    </>
  );
}
