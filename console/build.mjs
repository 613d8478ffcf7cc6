// Builds the console into the control plane: the same sources give the same bytes. `make generate` runs it, after the types from proto/.
// Beside the files it leaves sources.sha256, by which a machine without Node can tell whether they are stale (e2e/workspace).
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";

const here = path.dirname(fileURLToPath(import.meta.url));
const root = path.dirname(here);
const dist = path.resolve(process.argv[2] ?? path.join(root, "controlplane/internal/console/dist"));

// own are the files here that decide what is built.
const own = ["build.mjs", "buf.gen.yaml", "package-lock.json", "package.json", "tsconfig.json"];

await rm(dist, { recursive: true, force: true });
await mkdir(path.join(dist, "assets"), { recursive: true });

const icon = await readFile(path.join(here, "src/icon.svg"));
const iconName = `icon-${digest(icon).slice(0, 8)}.svg`;
await writeFile(path.join(dist, "assets", iconName), icon);

const { metafile } = await build({
  absWorkingDir: here,
  entryPoints: ["src/main.tsx", "src/style.css"],
  outdir: path.join(dist, "assets"),
  entryNames: "[name]-[hash]",
  assetNames: "[name]-[hash]",
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  legalComments: "none",
  metafile: true,
  jsx: "automatic",
  jsxImportSource: "preact",
  loader: { ".woff2": "file" },
  logLevel: "warning",
});

const built = Object.entries(metafile.outputs).map(([file, { entryPoint }]) => [entryPoint, path.basename(file)]);
const nameOf = (entry) => built.find(([entryPoint]) => entryPoint === entry)[1];
const page = await readFile(path.join(here, "src/index.html"), "utf8");
await writeFile(
  path.join(dist, "index.html"),
  page.replace("ICON", iconName).replace("STYLE", nameOf("src/style.css")).replace("SCRIPT", nameOf("src/main.tsx")),
);
await writeFile(path.join(dist, "licenses.txt"), await licenses());
await writeFile(path.join(dist, "sources.txt"), await sources());

function digest(content) {
  return createHash("sha256").update(content).digest("hex");
}

// sources lists what was built from: a line each, digest and path, by path.
async function sources() {
  const files = own.map((name) => "console/" + name);
  for (const name of await readdir(path.join(here, "src"), { recursive: true, withFileTypes: true })) {
    const file = path.relative(root, path.join(name.parentPath, name.name));
    if (name.isFile() && !file.startsWith("console/src/gen/")) files.push(file);
  }
  for (const name of await readdir(path.join(root, "proto"), { recursive: true, withFileTypes: true })) {
    if (name.isFile() && name.name.endsWith(".proto")) files.push(path.relative(root, path.join(name.parentPath, name.name)));
  }
  let text = "";
  for (const file of files.sort()) text += `${digest(await readFile(path.join(root, file)))}  ${file}\n`;
  return text;
}

// licenses of what is in the bundle.
async function licenses() {
  const inside = new Set();
  for (const { inputs } of Object.values(metafile.outputs)) {
    for (const input of Object.keys(inputs)) {
      const found = /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input);
      if (found) inside.add(found[1]);
    }
  }
  let text = "The web console contains the following packages.\n";
  for (const name of [...inside].sort()) {
    const folder = path.join(here, "node_modules", name);
    const { version, license } = JSON.parse(await readFile(path.join(folder, "package.json"), "utf8"));
    const file = (await readdir(folder)).find((f) => /^licen[cs]e/i.test(f));
    text += `\n${"=".repeat(80)}\n${name} ${version}, ${license}\n\n`;
    if (file) text += (await readFile(path.join(folder, file), "utf8")).trim() + "\n";
  }
  return text;
}
