// Asking again and again, for as long as somebody looks.
import { useEffect, useState } from "preact/hooks";
import { explain } from "./api";

const interval = 1_000; // ms between two answers
const longest = 15_000; // ms between two tries where there is no answer

export interface Live<T> {
  value?: T;
  error?: string; // of the newest try
}

// useLive asks at once, then a second after each answer; less often while there is none, not at all while the page is hidden. It keeps the last
// answer when a later try fails. It begins anew when something in `about` changes.
export function useLive<T>(ask: (signal: AbortSignal) => Promise<T>, about: unknown[]): Live<T> {
  const [live, setLive] = useState<Live<T>>({});
  useEffect(() => {
    const ended = new AbortController();
    setLive({});
    void follow(ask, ended.signal, setLive);
    return () => ended.abort();
  }, about);
  return live;
}

async function follow<T>(ask: (signal: AbortSignal) => Promise<T>, ended: AbortSignal, set: (f: (before: Live<T>) => Live<T>) => void): Promise<void> {
  for (let wait = interval; !ended.aborted; await sleep(wait, ended)) {
    try {
      const value = await ask(AbortSignal.any([ended, AbortSignal.timeout(longest)]));
      if (ended.aborted) return;
      set(() => ({ value }));
      wait = interval;
    } catch (error) {
      if (ended.aborted) return;
      const said = explain(error);
      set((before) => ({ ...before, error: said }));
      wait = Math.min(wait * 2, longest) * (0.75 + Math.random() / 2);
    }
  }
}

// sleep waits, and for the page to be seen.
export async function sleep(ms: number, ended: AbortSignal): Promise<void> {
  await until(ended, (done) => {
    const timer = setTimeout(done, ms);
    return () => clearTimeout(timer);
  });
  if (!document.hidden) return;
  await until(ended, (done) => {
    document.addEventListener("visibilitychange", done);
    return () => document.removeEventListener("visibilitychange", done);
  });
}

function until(ended: AbortSignal, begin: (done: () => void) => () => void): Promise<void> {
  if (ended.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      cancel();
      ended.removeEventListener("abort", done);
      resolve();
    };
    const cancel = begin(done);
    ended.addEventListener("abort", done);
  });
}
