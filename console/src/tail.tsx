// A topic's records as they become readable: a stream from an agent straight to this page.
import { useEffect, useRef, useState } from "preact/hooks";
import { explain, Reason, reasonOf, recordsAt } from "./api";
import { atMs, count, text } from "./format";
import type { Agent } from "./gen/streamhouse/controlplane/v1/cluster_pb";
import { OffsetEdge, type Record } from "./gen/streamhouse/dataplane/v1/record_pb";
import { sleep } from "./live";

const kept = 200; // rows on the page
const asked = 1_000; // partitions in one question for offsets
const longest = 5_000; // ms between two tries

interface Row {
  partition: number;
  record: Record;
}

// Follower keeps a stream open, on another agent if one leaves, and knows where each partition goes on: no record is left out or shown twice.
class Follower {
  private next = new Map<number, bigint>(); // partition to offset
  private ended = new AbortController();
  private tried = 0;

  constructor(
    private topicId: string,
    private partitionCount: number,
    private fromStart: boolean,
    private agents: () => Agent[],
    private told: { rows: (rows: Row[]) => void; agent: (id: string) => void; problem: (text: string) => void },
  ) {}

  stop(): void {
    this.ended.abort();
  }

  async run(): Promise<void> {
    for (let wait = 250; !this.ended.signal.aborted; await sleep(wait, this.ended.signal)) {
      const seen = this.total();
      try {
        await this.follow();
      } catch (error) {
        if (this.ended.signal.aborted) return;
        this.told.agent("");
        this.told.problem(explain(error));
        if (reasonOf(error) === Reason.OUT_OF_RANGE) this.next.clear(); // retention was faster: go on where there is something
      }
      wait = this.total() > seen ? 250 : Math.min(wait * 2, longest) * (0.75 + Math.random() / 2);
    }
  }

  // total tells progress.
  private total(): bigint {
    let sum = 0n;
    for (const offset of this.next.values()) sum += offset;
    return sum;
  }

  private async follow(): Promise<void> {
    const agents = this.agents();
    const agent = agents[this.tried++ % agents.length];
    if (!agent) throw new Error("no agent of this agent group lives");
    const records = recordsAt(agent.address);
    if (this.next.size === 0) await this.begin(records);
    const partitions = [...this.next].map(([partition, offset]) => ({ partition, position: { position: { case: "offset" as const, value: offset } } }));
    const stream = records.consume({ topic: { case: "topicId", value: this.topicId }, partitions, decode: true }, { signal: this.ended.signal });
    this.told.agent(agent.agentId);
    this.told.problem("");
    for await (const { fetched } of stream) {
      if (!fetched) continue; // a sign of life
      this.next.set(fetched.partition, fetched.nextOffset);
      if (fetched.records.length > 0) this.told.rows(fetched.records.map((record) => ({ partition: fetched.partition, record })));
    }
  }

  // begin asks where the log starts, or ends, so that nothing is missed when the stream has to be opened again.
  private async begin(records: ReturnType<typeof recordsAt>): Promise<void> {
    const edge = this.fromStart ? OffsetEdge.EARLIEST : OffsetEdge.LATEST;
    const found = new Map<number, bigint>();
    for (let first = 0; first < this.partitionCount; first += asked) {
      const partitions = Array.from({ length: Math.min(asked, this.partitionCount - first) }, (_, i) => ({
        topic: { case: "topicId" as const, value: this.topicId }, partition: first + i, position: { position: { case: "edge" as const, value: edge } },
      }));
      const { offsets } = await records.listOffsets({ partitions }, { signal: AbortSignal.any([this.ended.signal, AbortSignal.timeout(15_000)]) });
      for (const o of offsets) {
        if (o.refusal) throw new Error(o.refusal.message);
        found.set(o.partition, o.offset);
      }
    }
    this.next = found;
  }
}

export function Tail({ topicId, partitionCount, agents }: { topicId: string; partitionCount: number; agents: Agent[] }) {
  const [rows, setRows] = useState<Row[]>([]);
  const [seen, setSeen] = useState(0);
  const [agent, setAgent] = useState("");
  const [problem, setProblem] = useState("");
  const [fromStart, setFromStart] = useState(false);
  const [running, setRunning] = useState(true);
  const now = useRef(agents);
  now.current = agents;
  useEffect(() => {
    if (!running) return;
    const follower = new Follower(topicId, partitionCount, fromStart, () => now.current, {
      rows: (more) => {
        setSeen((n) => n + more.length);
        setRows((before) => [...more.reverse(), ...before].slice(0, kept));
      },
      agent: setAgent,
      problem: setProblem,
    });
    setRows([]);
    setSeen(0);
    void follower.run();
    return () => follower.stop();
  }, [topicId, partitionCount, fromStart, running]);
  return (
    <section class="panel tail" aria-labelledby="tail-title">
      <div class="line">
        <h2 id="tail-title">Live tail</h2>
        <span class="quiet" role="status">{status(running, agent, problem)}</span>
      </div>
      <div class="line">
        <label class="check"><input type="checkbox" checked={fromStart} onChange={(e) => setFromStart(e.currentTarget.checked)} /> from the beginning</label>
        <button type="button" onClick={() => setRunning(!running)}>{running ? "Stop" : "Start"}</button>
        <span class="quiet">{seen > 0 && `${count(seen)} seen${seen > kept ? `, the last ${kept} shown` : ""}`}</span>
      </div>
      <Records rows={rows} />
    </section>
  );
}

function status(running: boolean, agent: string, problem: string): string {
  if (!running) return "stopped";
  if (problem !== "") return `${problem}. Trying again.`;
  return agent === "" ? "connecting…" : `from ${agent}`;
}

function Records({ rows }: { rows: Row[] }) {
  if (rows.length === 0) return <p class="quiet empty">Records appear here as soon as they can be read.</p>;
  return (
    <div class="scroll records" role="region" aria-label="Records, the newest first" tabIndex={0}>
      <table>
        <thead><tr><th scope="col" class="n">At</th><th scope="col">Key</th><th scope="col">Value</th><th scope="col">Time</th></tr></thead>
        <tbody>
          {rows.map(({ partition, record }) => (
            <tr key={`${partition}/${record.offset}`}>
              <td class="n mono quiet">{partition}/{String(record.offset)}</td>
              <td class="mono key" title={record.key && text(record.key)}>{record.key === undefined ? <span class="none">none</span> : text(record.key)}</td>
              <td class="mono value">{record.value === undefined ? <span class="none">null</span> : text(record.value)}</td>
              <td class="time quiet">{atMs(record.timestampMs)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
