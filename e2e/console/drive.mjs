// Passes requests on to a headless Chromium: a line of JSON in, a line of JSON out, until the input ends. Every wait has a bound.
import { chromium } from "playwright-core";
import { createRequire } from "node:module";
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";

const [executablePath, patience] = [process.argv[2], Number(process.argv[3])];
const browser = await chromium.launch({
  executablePath,
  chromiumSandbox: process.getuid?.() !== 0,
  args: ["--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const pages = new Map(); // name to page
const faults = []; // what pages complained of

const does = {
  // open makes a page with storage of its own, or (beside) with that of another page.
  async open({ page, width = 1280, height = 860, scheme = "light", beside }) {
    const context = beside ? pages.get(beside).context() : await browser.newContext({ viewport: { width, height }, colorScheme: scheme });
    const made = await context.newPage();
    made.setDefaultTimeout(patience);
    made.on("pageerror", (error) => faults.push(`${page}: ${error.message}`));
    made.on("console", (message) => message.type() === "error" && faults.push(`${page}: ${message.text()}`));
    pages.set(page, made);
  },
  goto: ({ page, url }) => pages.get(page).goto(url).then(() => {}),
  address: ({ page }) => pages.get(page).url(),
  click: ({ page, role, name }) => pages.get(page).getByRole(role, { name, exact: true }).first().click(),
  fill: ({ page, label, text }) => pages.get(page).getByLabel(label, { exact: true }).first().fill(text),
  press: ({ page, key }) => pages.get(page).keyboard.press(key),
  // see waits for the text to be visible in the part of the page.
  see: ({ page, css = "body", text }) => pages.get(page).locator(css).filter({ hasText: text }).first().waitFor(),
  // until waits for the expression to be true. It is asked from here: the page's policy forbids evaluating anything in there.
  async until({ page, expression }) {
    let value; // or what went wrong: the elements may not be there yet
    for (const began = Date.now(); Date.now() - began < patience; await new Promise((go) => setTimeout(go, 50))) {
      value = await pages.get(page).evaluate(expression).catch((error) => error.message);
      if (value === true) return;
    }
    throw new Error(`${value} after ${patience} ms; the page says: ${(await pages.get(page).innerText("body")).slice(0, 2000)}`);
  },
  eval: ({ page, expression }) => pages.get(page).evaluate(expression),
  async shot({ page, file }) {
    const screenshot = { path: file, animations: "disabled" };
    await pages.get(page).screenshot(screenshot);
  },
  // axe answers the violations, each in a sentence that begins with its impact.
  async axe({ page }) {
    await pages.get(page).evaluate(axe);
    const { violations } = await pages.get(page).evaluate(() => globalThis.axe.run({ resultTypes: ["violations"] }));
    return violations.map(({ impact, id, nodes }) => `${impact} ${id}: ${nodes.map((n) => n.html).slice(0, 3).join(" ")}`);
  },
  faults: () => faults.splice(0),
};

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  let answer;
  try {
    answer = { value: (await does[request.do](request)) ?? null };
  } catch (error) {
    answer = { error: String(error.message ?? error) };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
await browser.close();
