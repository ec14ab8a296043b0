/** Fails when the built interface is larger than its budgets. Counts gzipped bytes along the manifest of Vite. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const KB = 1024;
const FIRST_SCRIPT = 250 * KB;
const FIRST_STYLE = 20 * KB;
const ROUTE = 120 * KB;
/** Pages with a code editor. */
const EDITOR = 220 * KB;
const EDITORS = /editor/i;

const folder = new URL("../../src/waypost/web/static/", import.meta.url);
const manifest = JSON.parse(readFileSync(new URL("manifest.json", folder), "utf-8"));
const size = (file) => gzipSync(readFileSync(new URL(file, folder)), { level: 9 }).length;

/** All chunks that load with a chunk, itself included, without those that it loads later. */
function chunks(key, found = new Set()) {
  if (!found.has(key)) {
    found.add(key);
    for (const other of manifest[key].imports ?? []) chunks(other, found);
  }
  return found;
}

function weigh(keys) {
  const styles = new Set([...keys].flatMap((key) => manifest[key].css ?? []));
  const sum = (files) => files.reduce((total, file) => total + size(file), 0);
  return { script: sum([...keys].map((key) => manifest[key].file)), style: sum([...styles]) };
}

const entry = chunks("index.html");
const home = Object.keys(manifest).find((key) => key.endsWith("areas/home/HomePage.tsx"));
const first = home === undefined ? entry : chunks(home, new Set(entry));
const problems = [];

function check(name, bytes, limit) {
  const line = `${name}: ${(bytes / KB).toFixed(1)} KB of ${limit / KB} KB`;
  if (bytes > limit) problems.push(line);
  return line;
}

const weight = weigh(first);
process.stdout.write(`${check("first page, script", weight.script, FIRST_SCRIPT)}\n`);
process.stdout.write(`${check("first page, style", weight.style, FIRST_STYLE)}\n`);
for (const [key, chunk] of Object.entries(manifest)) {
  if (!chunk.isDynamicEntry || key === home) continue;
  const own = new Set([...chunks(key)].filter((one) => !entry.has(one)));
  check(key, weigh(own).script, EDITORS.test(key) ? EDITOR : ROUTE);
}
if (problems.length > 0) {
  process.stderr.write(`Over the budget of ${fileURLToPath(import.meta.url)}:\n${problems.join("\n")}\n`);
  process.exit(1);
}
