import { Problem, get, has, poll, post } from "../api.js";
import { confirm, show } from "../dialog.js";
import { diffLines, hunks } from "../diff.js";
import { fill, h } from "../dom.js";
import { ago, date, plural } from "../format.js";
import { card, diagnostics, head, lacking, problemNote, segments, sentence, toast, trouble } from "../parts.js";
import { may, needs, refusal } from "../session.js";
import { Table } from "../table.js";

export const title = "Config";

const MARKS = { added: "good", removed: "bad", changed: "accent" };
const RESULTS = { serving: "good", "on trial": "warn", refused: "bad", "rolled back": "bad", "cut short": "warn" };

export function mount(root) {
  const wrong = trouble();
  const trial = h("div", {});
  const text = h("div", {});
  const plan = h("div", { class: "card-body stack" });
  const facts = h("span", { class: "muted" });
  const views = [["file", "As written"], ["running", "Canonical"], ["full", "With defaults"]].filter(([name]) => name !== "file" || may("admin"));
  let view = views[0][0];

  const refresh = () => Promise.all([drawText(), drawDiff(), history.draw()]).catch(wrong.show);
  const drawText = async () => {
    const found = await get("/config", { view });
    fill(facts, `${found.path || "given as text"} · ${found.hash} · generation ${found.generation}`);
    fill(text, lines(found.text));
  };
  const drawDiff = async () => fill(plan, planOf(await get("/config/diff"), refresh));
  const history = historyCard(refresh);

  const why = refusal("admin");
  root.append(
    head("Config", "What serves, what the file says, and how it came to that.",
      h("button", { type: "button", onclick: check }, "Check the file"),
      h("button", needs("admin", { type: "button", class: "primary", onclick: () => reload(refresh) }), "Reload…")),
    why ? h("p", { class: "note" }, `You can look and check: ${why}.`) : "", wrong.element, trial,
    h("div", { class: "stack" },
      card("File and running config", "what a reload would change", plan),
      history.element,
      h("section", { class: "card", "aria-label": "Text" },
        h("header", {}, segments("View", views, view, (chosen) => { view = chosen; drawText().catch(wrong.show); }), facts),
        text)));
  refresh();
  let seen = "";
  return poll(async (signal) => {
    const status = await get("/status", null, signal);
    fill(trial, trialNote(status, refresh));
    const now = JSON.stringify([status.config_hash, status.generation, status.last_reload?.at, status.serving]);
    if (seen && now !== seen) await refresh();
    seen = now;
    wrong.clear();
  }, 3000, wrong.show);
}

function lines(content, kind = "") {
  const rows = typeof content === "string" ? content.replace(/\n$/, "").split("\n").map((line) => ["", line]) : content;
  return h("pre", { class: `code ${kind}`, tabindex: "0", "aria-label": kind ? "Difference" : "Text of the config" }, rows.map(([mark, line]) => h("span", { class: mark || null }, line || "\u200b")));
}

// ---------------------------------------------------------------- plan
function changes(list) {
  return h("ul", { class: "plan" }, list.map((change) => h("li", {}, h("span", {}, h("span", { class: `tag ${MARKS[change.kind]}` }, change.kind)),
    h("span", {}, change.text, change.live ? null : h("span", { class: "warn" }, " – takes effect at the next start")))));
}

function planOf(found, refresh) {
  const parts = [];
  if (!found.ok) parts.push(h("p", { class: "bad" }, `The file ${found.path} has errors; a reload would be refused.`));
  else if (found.changes.length) parts.push(h("p", {}, sentence(found.summary || plural(found.changes.length, "change"))), changes(found.changes));
  else parts.push(h("p", {}, found.path ? "The file says what serves." : "There is no file: the config was given as text."));
  if (found.diagnostics.length) parts.push(diagnostics(found.diagnostics));
  if (found.overrides.length) {
    parts.push(h("div", {}, h("h3", {}, "Changed at run time"), h("ul", {}, found.overrides.map((entry) => h("li", { class: "wrap" }, `${entry.upstream}/${entry.server}: ${entry.text}, by ${entry.by} ${ago(entry.at)}`)))));
  }
  if (found.ok && found.changes.length) parts.push(h("div", {}, h("button", needs("admin", { type: "button", onclick: () => reload(refresh) }), "Reload…")));
  return parts;
}

async function check() {
  try {
    const found = await post("/check", undefined);
    const words = found.ok ? (found.warnings ? `The file is valid, with ${plural(found.warnings, "warning")}.` : "The file is valid. Nothing to complain about.") : `The file has ${plural(found.errors, "error")}.`;
    show("Check of the file", [h("p", { class: found.ok ? "good" : "bad" }, words), diagnostics(found.diagnostics)]);
  } catch (problem) {
    show("Check of the file", problemNote(problem));
  }
}

// ---------------------------------------------------------------- reload: a dry run first, then for good
async function reload(refresh) {
  let tried;
  try {
    tried = await post("/config", undefined, { dry_run: 1 });
  } catch (problem) {
    show("A reload would be refused", [h("p", {}, "The running config serves on. This is wrong with the file:"), problemNote(problem)]);
    return;
  }
  if (!tried.changed) {
    show("Nothing to reload", h("p", {}, "The file says what serves."), { wide: false });
    return;
  }
  const trials = has("POST", "/config/confirm");
  const guard = h("input", { type: "text", placeholder: "errors > 2% for 30s", spellcheck: "false", autocapitalize: "none" });
  const wait = h("input", { type: "text", placeholder: "2m", spellcheck: "false", autocapitalize: "none" });
  confirm({
    title: "Reload?",
    text: [sentence(tried.summary || `${plural(tried.plan.length, "change")} after a dry run`), changes(tried.plan), ...diagnostics(tried.diagnostics)],
    fields: trials ? [
      h("label", { class: "field" }, "Go back by itself when (empty: never)", guard),
      h("label", { class: "field" }, "Go back unless confirmed within (empty: it stays)", wait),
    ] : [],
    action: "Reload",
    run: () => post("/config", undefined, { guard: guard.value.trim(), confirm: wait.value.trim() }),
    done: (answer) => {
      toast(answer.changed ? `Config ${answer.config_hash} serves${answer.trial ? ", on trial" : ""}.` : "Nothing has changed.");
      refresh();
    },
  });
}

function trialNote(status, refresh) {
  const trial = status.serving?.trial;
  if (!trial) {
    return status.serving?.file_differs ? h("p", { class: "note warn" }, "What serves is not what the file says: it was rolled back, or the file is broken. The next start takes the file.") : "";
  }
  const terms = [trial.guard ? `guard ${trial.guard}` : "", trial.confirm_until ? `to be confirmed within ${Math.max(0, Math.round(trial.confirm_until - Date.now() / 1000))} s` : ""].filter(Boolean).join("; ");
  const keep = h("button", needs("admin", { type: "button", class: "small primary", onclick: async () => {
    try {
      await post("/config/confirm");
      toast("The config stays.");
      refresh();
    } catch (problem) {
      toast(sentence(problem.message));
    }
  } }), "Keep it");
  return h("div", { class: "note warn tools" }, h("span", {}, `Config ${status.config_hash} is on trial: ${terms}.`), trial.confirm_until ? keep : null);
}

// ---------------------------------------------------------------- history
function historyCard(refresh) {
  const body = h("div", {});
  const element = card("History", "the newest first", body);
  if (!has("GET", "/config/history")) {
    fill(body, lacking("The configs that served before."));
    return { element, draw: async () => {} };
  }
  const table = new Table({
    label: "History of configs",
    key: (row) => row.number,
    sort: { id: "number", down: true },
    empty: "No config was taken yet.",
    columns: [
      { id: "number", title: "#", name: "Number", kind: "main", text: (row) => `#${row.number}`, sort: (row) => row.number, render: (row) => h("b", {}, `#${row.number}`) },
      { id: "at", title: "When", text: (row) => date(row.at), sort: (row) => row.at, mark: () => "nowrap" },
      { id: "by", title: "By", text: (row) => `${row.by}, ${row.how}`, sort: (row) => row.by },
      { id: "result", title: "Result", text: (row) => row.result, sort: (row) => row.result, render: (row) => h("span", { class: `tag ${RESULTS[row.result] ?? ""}` }, row.result) },
      { id: "plan", title: "What", text: (row) => [row.plan, row.note, row.terms].filter(Boolean).join("; "), mark: () => "wrap" },
      { id: "actions", title: "", kind: "actions", text: (row) => `${row.kept} ${row.result}`, render: (row) => entryActions(row, refresh) },
    ],
  });
  fill(body, table.element);
  return { element, draw: async () => table.update(await get("/config/history")) };
}

function entryActions(row, refresh) {
  if (!row.kept) return h("div", {});
  if (row.result === "serving" || row.result === "on trial") return h("div", {});
  return h("div", {}, h("button", needs("admin", { type: "button", class: "small quiet", "aria-label": `Compare ${row.number} with what serves`, onclick: () => compare(row) }), "Compare"),
    h("button", needs("admin", { type: "button", class: "small quiet", "aria-label": `Roll back to ${row.number}`, onclick: () => rollback(row, refresh) }), "Roll back…"));
}

async function compare(row) {
  try {
    const [then, entries] = await Promise.all([get(`/config/history/${row.number}`), get("/config/history")]);
    const serving = entries.find((entry) => entry.result === "serving" || entry.result === "on trial");
    if (!serving?.kept) throw new Problem(404, { detail: "the files of what serves are not kept" });
    const now = await get(`/config/history/${serving.number}`);
    const names = [...new Set([...Object.keys(then.files), ...Object.keys(now.files)])].sort();
    const parts = names.filter((name) => then.files[name] !== now.files[name])
      .map((name) => [h("h3", { class: "wrap" }, name), lines(hunks(diffLines(then.files[name] ?? "", now.files[name] ?? "")), "diff")]);
    show(`From ${row.number} to what serves (${serving.number})`, parts.length ? parts : h("p", {}, "They are the same."));
  } catch (problem) {
    show(`Entry ${row.number}`, problemNote(problem));
  }
}

function rollback(row, refresh) {
  confirm({
    title: `Roll back to ${row.number}?`,
    text: [`The config of ${date(row.at)} (${row.hash}) serves again. The file is not written: the next start takes what it says.`],
    action: "Roll back",
    danger: true,
    run: () => post(`/config/rollback/${row.number}`),
    done: (answer) => {
      toast(`Config ${answer.config_hash} serves again.`);
      refresh();
    },
  });
}
