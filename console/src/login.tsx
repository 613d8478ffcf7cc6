import { useEffect, useRef, useState } from "preact/hooks";
import { ConnectError, Code } from "@connectrpc/connect";
import { explain, logIn } from "./api";
import { Mark, Problem } from "./parts";

// Login asks for an API key. It stays in this tab.
export function Login({ why, entered }: { why: string; entered: () => void }) {
  const [problem, setProblem] = useState(why);
  const [busy, setBusy] = useState(false);
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => {
    document.title = "Log in · StreamHouse";
    field.current?.focus();
  }, []);
  const submit = async (e: Event) => {
    e.preventDefault();
    setBusy(true);
    try {
      await logIn(field.current!.value.trim());
      entered();
    } catch (error) {
      const unknown = ConnectError.from(error).code === Code.Unauthenticated;
      setProblem(unknown ? "This key is not known: look for a letter that is missing, or ask for a new one." : explain(error));
      setBusy(false);
      field.current?.select();
    }
  };
  return (
    <main class="login">
      <form class="panel" onSubmit={submit}>
        <div class="brand"><Mark /><span>StreamHouse</span></div>
        <h1>Log in</h1>
        <label for="key">API key</label>
        <input id="key" ref={field} type="password" class="mono" required autocomplete="off" spellcheck={false} placeholder="shk_…" aria-describedby="about-key" />
        <p id="about-key" class="quiet">It stays in this tab. An admin’s key shows the cluster and can drain agents; a client’s shows its agent group.</p>
        <Problem text={problem} />
        <button type="submit" class="main" disabled={busy}>{busy ? "Asking…" : "Log in"}</button>
      </form>
    </main>
  );
}
