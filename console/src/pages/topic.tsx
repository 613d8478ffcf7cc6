import { useState } from "preact/hooks";
import { cluster, topics } from "../api";
import { things } from "../format";
import type { Agent } from "../gen/streamhouse/controlplane/v1/cluster_pb";
import { AgentState } from "../gen/streamhouse/controlplane/v1/cluster_pb";
import { LeaseTable, Pager } from "../leases";
import { useLive } from "../live";
import { Heading, Loading, Problem, Trail } from "../parts";
import { Produce } from "../produce";
import { Tail } from "../tail";

const page = 100;

// TopicPage shows a topic's partitions as they are led, and its records as they come.
export function TopicPage({ name }: { name: string }) {
  const [trail, setTrail] = useState([""]);
  const token = trail.at(-1)!;
  const { value, error } = useLive(async (signal) => {
    const [{ topic }, leases] = await Promise.all([
      topics.getTopic({ name, pageSize: 1 }, { signal }),
      cluster.listLeases({ topic: name, pageSize: page, pageToken: token }, { signal }),
    ]);
    const { agents } = await cluster.listAgents({ agentGroup: topic!.agentGroup }, { signal });
    return { topic: topic!, leases, agents };
  }, [name, token]);
  return (
    <>
      <Trail links={[["Topics", "#/topics"]]} />
      <Heading title={name}>
        {value && <span class="quiet">{things(value.topic.partitionCount, "partition")} in agent group <span class="mono">{value.topic.agentGroup}</span></span>}
      </Heading>
      {!value ? <Loading error={error} /> : (
        <>
          <Problem text={error} stale />
          <div class="split">
            <Tail key={value.topic.topicId} topicId={value.topic.topicId} partitionCount={value.topic.partitionCount} agents={serving(value.agents)} />
            <Produce topicId={value.topic.topicId} partitionCount={value.topic.partitionCount} agents={serving(value.agents)} />
          </div>
          <h2>Partitions</h2>
          <LeaseTable label="Partitions" leases={value.leases.leases} withTopic={false} />
          <Pager trail={trail} next={value.leases.nextPageToken} go={setTrail} />
        </>
      )}
    </>
  );
}

// serving are the agents that answer clients and will go on to.
const serving = (agents: Agent[]): Agent[] => agents.filter((a) => a.state === AgentState.LIVE || a.state === AgentState.UNFIT);
