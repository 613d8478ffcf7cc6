import { useState } from "preact/hooks";
import { explain, topics } from "../api";
import { count, when } from "../format";
import { useLive } from "../live";
import { Heading, Loading, Problem, Table } from "../parts";
import { to } from "../route";
import { Pager } from "../leases";

const page = 200;

// TopicsPage lists topics, and makes new ones.
export function TopicsPage() {
  const [trail, setTrail] = useState([""]);
  const token = trail.at(-1)!;
  const { value, error } = useLive((signal) => topics.listTopics({ pageSize: page, pageToken: token }, { signal }), [token]);
  return (
    <>
      <Heading title="Topics" />
      <CreateTopic />
      {!value ? <Loading error={error} /> : (
        <>
          <Problem text={error} stale />
          {value.topics.length === 0 ? <p class="quiet">There is no topic yet.</p> : (
            <Table label="Topics" head={["Topic", "Agent group", ["Partitions"], "Preferred zones", "Acks", "Created"]}>
              {value.topics.map((t) => (
                <tr key={t.topicId}>
                  <th scope="row"><a class="mono" href={to("topics", t.name)}>{t.name}</a></th>
                  <td class="mono">{t.agentGroup}</td>
                  <td class="n">{count(t.partitionCount)}</td>
                  <td>{t.config?.preferredZones?.zones.join(", ") || <span class="quiet">every zone</span>}</td>
                  <td>{t.config?.allowBufferedAcks ? "durable or buffered" : "durable"}</td>
                  <td class="time">{when(t.createdAt)}</td>
                </tr>
              ))}
            </Table>
          )}
          <Pager trail={trail} next={value.nextPageToken} go={setTrail} />
        </>
      )}
    </>
  );
}

function CreateTopic() {
  const [problem, setProblem] = useState<string>();
  const [busy, setBusy] = useState(false);
  const create = async (e: Event) => {
    e.preventDefault();
    const asked = new FormData(e.currentTarget as HTMLFormElement);
    const name = String(asked.get("name")).trim();
    setBusy(true);
    try {
      await topics.createTopic({ name, partitionCount: Number(asked.get("partitions")), agentGroup: String(asked.get("group")).trim() }, { timeoutMs: 30_000 });
      location.hash = to("topics", name);
    } catch (error) {
      setProblem(explain(error));
      setBusy(false);
    }
  };
  return (
    <details class="more">
      <summary>New topic</summary>
      <form class="bar" onSubmit={create}>
        <label>Name <input name="name" class="mono" required pattern="[A-Za-z0-9_\-]{1,200}" title="Letters, digits, _ and -" autocomplete="off" spellcheck={false} /></label>
        <label>Partitions <input name="partitions" type="number" min={1} max={100_000} value={6} required /></label>
        <label>Agent group <input name="group" class="mono" placeholder="default" pattern="[a-z0-9\-]{1,40}" autocomplete="off" spellcheck={false} /></label>
        <button type="submit" class="main" disabled={busy}>Create</button>
      </form>
      <Problem text={problem} />
    </details>
  );
}
