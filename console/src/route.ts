// Where the person is: what stands behind "#/", so that the server need not know the pages.
import { useEffect, useState } from "preact/hooks";

export type Route = string[];

const parse = (): Route =>
  location.hash.replace(/^#\/?/, "").split("/").filter((part) => part !== "").map(decode);

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // typed by hand
  }
}

export function useRoute(): Route {
  const [route, setRoute] = useState(parse);
  useEffect(() => {
    const changed = () => setRoute(parse());
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return route;
}

export const to = (...parts: (string | number)[]): string => "#/" + parts.map((part) => encodeURIComponent(part)).join("/");
