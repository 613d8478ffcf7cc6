import { useState } from "preact/hooks";
import { cluster } from "../api";
import { LeaseTable, Pager } from "../leases";
import { useLive } from "../live";
import { Heading, Loading, Problem } from "../parts";

const page = 200;

// LeasesPage lists who leads each partition, and in which epoch, of all topics or one.
export function LeasesPage() {
  const [topic, setTopic] = useState("");
  const [leader, setLeader] = useState("");
  const [trail, setTrail] = useState([""]);
  const token = trail.at(-1)!;
  const { value, error } = useLive(
    (signal) => cluster.listLeases({ topic, leaderAgentId: leader, pageSize: page, pageToken: token }, { signal }),
    [topic, leader, token],
  );
  const narrow = (e: Event) => {
    e.preventDefault();
    const asked = new FormData(e.currentTarget as HTMLFormElement);
    setTopic(String(asked.get("topic")).trim());
    setLeader(String(asked.get("leader")).trim());
    setTrail([""]);
  };
  return (
    <>
      <Heading title="Leases" />
      <form class="bar" onSubmit={narrow}>
        <label>Topic <input name="topic" class="mono" placeholder="every topic" autocomplete="off" spellcheck={false} /></label>
        <label>Leader <input name="leader" class="mono" placeholder="every agent" autocomplete="off" spellcheck={false} /></label>
        <button type="submit">Show</button>
      </form>
      {!value ? <Loading error={error} /> : (
        <>
          <Problem text={error} stale />
          {value.leases.length === 0 ? <p class="quiet">There is no such lease.</p> : <LeaseTable label="Leases" leases={value.leases} withTopic />}
          <Pager trail={trail} next={value.nextPageToken} go={setTrail} />
        </>
      )}
    </>
  );
}
