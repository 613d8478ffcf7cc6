// Numbers and times as people read them.
import { timestampDate, type Timestamp } from "@bufbuild/protobuf/wkt";

const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

export function bytes(n: bigint | number): string {
  let value = Number(n);
  let unit = 0;
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024;
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

export const rate = (n: bigint | number): string => bytes(n) + "/s";

export const count = (n: bigint | number): string => n.toLocaleString("en");

export const things = (n: bigint | number, one: string, many = one + "s"): string => `${count(n)} ${Number(n) === 1 ? one : many}`;

const moment = new Intl.DateTimeFormat("sv", { dateStyle: "short", timeStyle: "medium" });
const clock = new Intl.DateTimeFormat("sv", { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 });

export const when = (t: Timestamp | undefined): string => (t ? moment.format(timestampDate(t)) : "");

export const atMs = (ms: bigint | undefined): string => (ms === undefined ? "" : clock.format(new Date(Number(ms))));

export const ms = (t: Timestamp): number => timestampDate(t).getTime();

// lasting is a length of time, in the two units that matter.
export function lasting(milliseconds: number): string {
  const s = Math.max(0, milliseconds) / 1000;
  if (s < 10) return s.toFixed(1) + " s";
  if (s < 60) return Math.round(s) + " s";
  if (s < 3600) return `${Math.floor(s / 60)} min ${Math.floor(s % 60)} s`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3600)} h`;
}

const utf8 = new TextDecoder("utf-8", { fatal: true });
const shown = 4_096; // characters of a key or value

// text shows bytes: as text if they are, else in hexadecimal.
export function text(content: Uint8Array | undefined): string {
  if (content === undefined) return "null";
  try {
    const decoded = utf8.decode(content);
    return decoded.length > shown ? decoded.slice(0, shown) + "…" : decoded;
  } catch {
    const head = Array.from(content.subarray(0, shown / 4), (b) => b.toString(16).padStart(2, "0")).join(" ");
    return "0x " + head + (content.length > shown / 4 ? " …" : "");
  }
}
