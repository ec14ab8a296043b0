/** What differs between two texts, line by line. */

export interface Line {
  kind: "same" | "removed" | "added";
  text: string;
  /** The number of the line in the text before, and after; absent where it is not there. */
  before?: number;
  after?: number;
}

/** A stretch of lines that are the same and far from any change. */
export interface Gap {
  kind: "gap";
  lines: number;
}

/** Up to this many pairs of lines are compared; beyond that, all of the middle counts as replaced. */
const MOST_PAIRS = 4_000_000;

/** Returns all lines of both texts, in order: the longest common subsequence stays, the rest is removed or added. */
export function diffLines(before: string, after: string): Line[] {
  const [old, now] = [split(before), split(after)];
  let start = 0;
  while (start < old.length && start < now.length && old[start] === now[start]) start++;
  let end = 0;
  while (end < old.length - start && end < now.length - start && old.at(-1 - end) === now.at(-1 - end)) end++;
  const kept = common(old.slice(start, old.length - end), now.slice(start, now.length - end));

  const found: Line[] = [];
  let [x, y] = [0, 0];
  const remove = () => found.push({ kind: "removed", text: old[x] as string, before: ++x });
  const add = () => found.push({ kind: "added", text: now[y] as string, after: ++y });
  const keep = () => found.push({ kind: "same", text: old[x] as string, before: ++x, after: ++y });
  while (x < start) keep();
  for (const [left, right] of kept) {
    while (x < start + left) remove();
    while (y < start + right) add();
    keep();
  }
  while (x < old.length - end) remove();
  while (y < now.length - end) add();
  while (x < old.length) keep();
  return found;
}

const split = (text: string) => (text === "" ? [] : text.split(/\r?\n/));

/** Returns the places of a longest common subsequence, in both lists. */
function common(old: readonly string[], now: readonly string[]): [number, number][] {
  const width = now.length + 1;
  if (old.length * now.length > MOST_PAIRS) return [];
  // The length of the best rest from each place on.
  const best = new Uint32Array((old.length + 1) * width);
  for (let x = old.length - 1; x >= 0; x--) {
    for (let y = now.length - 1; y >= 0; y--) {
      best[x * width + y] =
        old[x] === now[y]
          ? (best[(x + 1) * width + y + 1] as number) + 1
          : Math.max(best[(x + 1) * width + y] as number, best[x * width + y + 1] as number);
    }
  }
  const found: [number, number][] = [];
  for (let [x, y] = [0, 0]; x < old.length && y < now.length; ) {
    if (old[x] === now[y]) found.push([x++, y++]);
    else if ((best[(x + 1) * width + y] as number) >= (best[x * width + y + 1] as number)) x++;
    else y++;
  }
  return found;
}

/** Leaves out what is the same, except a few lines around each change. */
export function shorten(lines: readonly Line[], around = 3): (Line | Gap)[] {
  const near = new Uint8Array(lines.length);
  lines.forEach(({ kind }, at) => {
    if (kind !== "same") near.fill(1, Math.max(at - around, 0), at + around + 1);
  });
  const found: (Line | Gap)[] = [];
  lines.forEach((line, at) => {
    const last = found.at(-1);
    if (near[at]) found.push(line);
    else if (last?.kind === "gap") last.lines++;
    else found.push({ kind: "gap", lines: 1 });
  });
  return found;
}
