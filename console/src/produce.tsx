// Producing one record by hand.
import { useRef, useState } from "preact/hooks";
import { explain, recordsAt } from "./api";
import type { Agent } from "./gen/streamhouse/controlplane/v1/cluster_pb";
import { Problem } from "./parts";

const encoder = new TextEncoder();

export function Produce({ topicId, partitionCount, agents }: { topicId: string; partitionCount: number; agents: Agent[] }) {
  const [said, setSaid] = useState("");
  const [problem, setProblem] = useState<string>();
  const [busy, setBusy] = useState(false);
  const form = useRef<HTMLFormElement>(null);
  const submit = async (e: Event) => {
    e.preventDefault();
    const given = new FormData(form.current!);
    const [key, partition] = [String(given.get("key")), String(given.get("partition"))];
    setBusy(true);
    setProblem(undefined);
    setSaid("");
    const began = performance.now();
    try {
      const agent = agents[Math.floor(Math.random() * agents.length)];
      if (!agent) throw new Error("no agent of this agent group lives");
      const { outcomes } = await recordsAt(agent.address).produce({
        entries: [{
          topic: { case: "topicId", value: topicId },
          partition: partition === "" ? undefined : Number(partition),
          payload: { case: "records", value: { records: [{ key: key === "" ? undefined : encoder.encode(key), value: encoder.encode(String(given.get("value"))) }] } },
        }],
      }, { timeoutMs: 30_000 });
      const outcome = outcomes[0]!;
      if (outcome.outcome.case === "refusal") throw new Error(outcome.outcome.value.message);
      const offset = outcome.outcome.case === "stored" ? outcome.outcome.value.baseOffset : 0n;
      setSaid(`Stored in partition ${outcome.partition} at offset ${offset}, after ${Math.round(performance.now() - began)} ms.`);
    } catch (error) {
      setProblem(explain(error));
    }
    setBusy(false);
  };
  const onKeyDown = (e: KeyboardEvent) => {
    if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) form.current?.requestSubmit();
  };
  return (
    <form ref={form} class="panel produce" onSubmit={submit} aria-labelledby="produce-title">
      <h2 id="produce-title">Produce a record</h2>
      <div class="pair">
        <label>Key <input name="key" class="mono" placeholder="none" autocomplete="off" spellcheck={false} /></label>
        <label>Partition <input name="partition" type="number" min={0} max={partitionCount - 1} placeholder="by key" /></label>
      </div>
      <label>Value <textarea name="value" class="mono" rows={4} spellcheck={false} onKeyDown={onKeyDown} /></label>
      <div class="line"><button type="submit" class="main" disabled={busy}>{busy ? "Producing…" : "Produce"}</button><span class="quiet">or Ctrl+Enter</span></div>
      <p class="said" role="status">{said}</p>
      <Problem text={problem} />
    </form>
  );
}
