// Light or dark: as the system is, unless the person has chosen. The choice stays in this browser.
import { useState } from "preact/hooks";

const name = "streamhouse.theme";
const themes = ["auto", "light", "dark"] as const;
type Theme = (typeof themes)[number];

const chosen = (): Theme => themes.find((t) => t === localStorage.getItem(name)) ?? "auto";

export function restoreTheme(theme = chosen()): void {
  document.documentElement.dataset.theme = theme;
}

export function ThemeButton() {
  const [theme, setTheme] = useState(chosen);
  const next = themes[(themes.indexOf(theme) + 1) % themes.length]!;
  const change = () => {
    localStorage.setItem(name, next);
    restoreTheme(next);
    setTheme(next);
  };
  return <button type="button" class="plain" title={`Change to ${next}`} onClick={change}>Theme: {theme}</button>;
}
