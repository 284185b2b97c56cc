// The difference of two texts by lines: the longest common subsequence (Myers' greedy algorithm, "An O(ND) Difference Algorithm", 1986).

const MOST = 4000;      // differences beyond which the rest is told as replaced

/** A list of ["same" | "removed" | "added", line]. */
export function diffLines(before, after) {
  const [a, b] = [before.split("\n"), after.split("\n")];
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
  const same = (lines) => lines.map((line) => ["same", line]);
  return [...same(a.slice(0, start)), ...middle(a.slice(start, a.length - end), b.slice(start, b.length - end)), ...same(a.slice(a.length - end))];
}

function middle(a, b) {
  const most = Math.min(a.length + b.length, MOST);
  let furthest = new Map([[1, 0]]);
  const trace = [];
  for (let d = 0; d <= most; d += 1) {
    trace.push(new Map(furthest));
    for (let k = -d; k <= d; k += 2) {
      const down = k === -d || (k !== d && (furthest.get(k - 1) ?? -1) < (furthest.get(k + 1) ?? -1));
      let x = down ? furthest.get(k + 1) : furthest.get(k - 1) + 1;
      while (x < a.length && x - k < b.length && a[x] === b[x - k]) x += 1;
      furthest.set(k, x);
      if (x >= a.length && x - k >= b.length) return walk(a, b, trace, d);
    }
  }
  return [...a.map((line) => ["removed", line]), ...b.map((line) => ["added", line])];
}

function walk(a, b, trace, distance) {
  const found = [];
  let [x, y] = [a.length, b.length];
  for (let d = distance; d > 0; d -= 1) {
    const furthest = trace[d];
    const k = x - y;
    const down = k === -d || (k !== d && (furthest.get(k - 1) ?? -1) < (furthest.get(k + 1) ?? -1));
    const before = down ? k + 1 : k - 1;
    const [fromX, fromY] = [furthest.get(before), furthest.get(before) - before];
    while (x > fromX && y > fromY) {
      found.push(["same", a[x - 1]]);
      x -= 1;
      y -= 1;
    }
    if (down) found.push(["added", b[y - 1]]);
    else found.push(["removed", a[x - 1]]);
    [x, y] = [fromX, fromY];
  }
  while (x > 0) {
    found.push(["same", a[x - 1]]);
    x -= 1;
  }
  return found.reverse();
}

/** The same, with long stretches that are equal left out: `keep` lines stand around each difference. */
export function hunks(lines, keep = 3) {
  const near = lines.map(() => false);
  lines.forEach(([kind], index) => {
    if (kind !== "same") for (let at = Math.max(0, index - keep); at <= Math.min(lines.length - 1, index + keep); at += 1) near[at] = true;
  });
  const found = [];
  let skipped = 0;
  const flush = () => {
    if (skipped) found.push(["skipped", `… ${skipped} equal ${skipped === 1 ? "line" : "lines"}`]);
    skipped = 0;
  };
  lines.forEach((line, index) => {
    if (near[index]) {
      flush();
      found.push(line);
    } else skipped += 1;
  });
  flush();
  return found;
}
