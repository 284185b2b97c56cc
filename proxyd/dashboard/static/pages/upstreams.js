import { get, poll, send } from "../api.js";
import { confirm } from "../dialog.js";
import { fill, h, say } from "../dom.js";
import { ago, count, lasting, latency, plural, time } from "../format.js";
import { head, sentence, state, toast, trouble } from "../parts.js";
import { needs, refusal } from "../session.js";
import { Table } from "../table.js";

export const title = "Upstreams";

const ORDERS = {
  drain: { action: "Drain", asks: (name) => `Drain ${name}?`, done: "drains", text: "It gets no new requests. Those that are under way finish, and sticky sessions move on to another server." },
  maint: { action: "Maint", asks: (name) => `Take ${name} into maintenance?`, done: "is in maintenance", text: "It gets no requests at all, sticky ones neither, and it is not checked. Those under way finish." },
  ready: { action: "Ready", asks: (name) => `Make ${name} ready?`, done: "is ready", text: "It gets requests again, as soon as its checks pass." },
};

export function mount(root) {
  const wrong = trouble();
  const list = h("div", { class: "stack" });
  const why = refusal("operator");
  root.append(head("Upstreams", "Servers, what is known of them, and who takes them out."), why ? h("p", { class: "note" }, `You can look: ${why}.`) : "", wrong.element, list);
  const cards = new Map();
  const end = poll(async (signal) => {
    const found = await get("/upstreams", null, signal);
    wrong.clear();
    for (const upstream of found) {
      if (!cards.has(upstream.name)) cards.set(upstream.name, upstreamCard(upstream.name, () => end.now()));
      cards.get(upstream.name).update(upstream);
    }
    for (const [name, made] of cards) {
      if (!found.some((upstream) => upstream.name === name)) {
        made.element.remove();
        cards.delete(name);
      }
    }
    found.forEach((upstream, index) => {
      const { element } = cards.get(upstream.name);
      if (list.children[index] !== element) list.insertBefore(element, list.children[index] ?? null);
    });
    if (!found.length) fill(list, h("p", { class: "empty" }, "The config has no upstreams."));
  }, 2000, wrong.show);
  return end;
}

function upstreamCard(name, again) {
  const facts = h("span", { class: "muted" });
  const notes = h("div", { class: "upstream-note" });
  const usable = h("span", {});
  const table = new Table({
    label: `Servers of ${name}`,
    key: (row) => row.label,
    empty: "No servers.",
    columns: [
      { id: "label", title: "Server", kind: "main", text: (row) => `${row.label}${row.source !== row.label ? ` of ${row.source}` : ""}${row.backup ? " backup" : ""}`, sort: (row) => row.label, render: serverCell },
      { id: "state", title: "State", text: (row) => `${row.state} ${row.reason} ${lasting(row.since)}`, sort: (row) => row.state, render: stateCell },
      { id: "checks", title: "Checks", text: (row) => row.checks.map((check) => `${check.title} ${check.result} ${check.reason}`).join("; ") || "–", render: checksCell },
      { id: "weight", title: "Weight", kind: "num", text: (row) => count(row.weight), sort: (row) => row.weight },
      { id: "in_flight", title: "In flight", kind: "num", text: (row) => count(row.in_flight), sort: (row) => row.in_flight },
      { id: "requests", title: "Requests", kind: "num", text: (row) => count(row.requests), sort: (row) => row.requests },
      { id: "latency", title: "Latency", kind: "num", text: (row) => latency(row.latency_seconds || null), sort: (row) => row.latency_seconds },
      { id: "actions", title: "", kind: "actions", text: (row) => (row.state === "drain" || row.state === "maint" ? row.state : "serves"), render: (row, now) => actions(name, row, now, again) },
    ],
  });
  const element = h("section", { class: "card", "aria-label": `Upstream ${name}` },
    h("div", { class: "upstream-head" }, h("h2", {}, name), usable, facts), notes, table.element);
  return {
    element,
    update(upstream) {
      say(facts, upstream.balance.replaceAll("_", " "));
      fill(usable, h("span", { class: `tag ${upstream.usable === upstream.servers.length ? "good" : upstream.usable ? "warn" : "bad"}` }, `${upstream.usable} of ${upstream.servers.length} usable`));
      const said = notesOf(upstream);
      fill(notes, said.map(([text, mark]) => h("p", { class: mark }, text)));
      notes.hidden = !said.length;
      table.update(upstream.servers);
    },
  };
}

function notesOf(upstream) {
  const found = upstream.warning ? [[sentence(upstream.warning), upstream.usable ? "warn" : "bad"]] : [];
  for (const entry of upstream.overrides) found.push([`${entry.server} was ${entry.text} by ${entry.by} ${ago(entry.at)}; a restart forgets it.`, "muted small"]);
  for (const entry of upstream.leaving) found.push([`${entry.label} has left and serves out: ${plural(entry.in_flight, "request")} in flight.`, "muted small"]);
  if (upstream.governor.limit) found.push([`Limit found by response times: ${plural(upstream.governor.limit, "request")} at a time.`, "muted small"]);
  return found;
}

function serverCell(row) {
  return h("span", {}, row.label, row.source !== row.label ? h("small", {}, row.source) : null, row.backup ? [" ", h("span", { class: "tag" }, "backup")] : null);
}

function stateCell(row) {
  const since = row.since ? lasting(row.since) : "";
  return h("div", {}, state(row.state), h("small", {}, row.reason ? `${row.reason}${since ? `, ${since}` : ""}` : since));
}

function checksCell(row) {
  if (!row.checks.length) return h("span", { class: "muted" }, "none");
  return h("div", {}, row.checks.map((check) => h("div", { title: check.at ? `${check.passed} passed, ${check.failed} failed; last at ${time(check.at)}` : "" },
    h("span", { class: check.result === "failed" ? "bad" : "" }, check.title), h("small", {}, `${check.result}${check.reason && !row.reason.includes(check.reason) ? `: ${check.reason}` : ""}`))));
}

function actions(upstream, row, now, again) {
  const orders = row.state === "drain" || row.state === "maint" ? ["ready"] : ["drain", "maint"];
  return h("div", {}, orders.map((order) => h("button", needs("operator", {
    type: "button", class: "small quiet", "aria-label": `${ORDERS[order].action} ${upstream}/${row.label}`, onclick: () => ask(upstream, now(), order, again),
  }), ORDERS[order].action)), h("button", needs("operator", {
    type: "button", class: "small quiet", "aria-label": `Weight of ${upstream}/${row.label}`, onclick: () => askWeight(upstream, now(), again),
  }), "Weight"));
}

const path = (upstream, label) => `/upstreams/${encodeURIComponent(upstream)}/servers/${encodeURIComponent(label)}`;

function ask(upstream, row, order, again) {
  const { action, asks, done, text } = ORDERS[order];
  let force = null;
  const busy = row.in_flight ? [`${plural(row.in_flight, "request is", "requests are")} in flight on it now.`] : [];
  confirm({
    title: asks(`${upstream}/${row.label}`),
    text: [text, ...busy],
    action,
    danger: order !== "ready",
    run: () => send("PATCH", path(upstream, row.label), { body: { state: order }, query: force?.checked ? { force: 1 } : {} }),
    done: () => { toast(`${upstream}/${row.label} ${done}.`); again(); },
    onProblem: (problem, form) => {
      if (problem.code !== "PXD-222" || force) return;
      force = h("input", { type: "checkbox" });
      form.querySelector("[role=alert]").before(h("label", { class: "check" }, force, "Do it although no usable server would be left"));
      force.focus();
    },
  });
}

function askWeight(upstream, row, again) {
  const weight = h("input", { type: "number", min: "1", max: "65535", value: String(row.weight), required: true });
  confirm({
    title: `Weight of ${upstream}/${row.label}`,
    text: "Its share of the requests, against the weights of the others. It holds until the daemon is started again.",
    fields: [h("label", { class: "field" }, "Weight, 1 to 65535", weight)],
    action: "Set",
    run: () => send("PATCH", path(upstream, row.label), { body: { weight: Number(weight.value) } }),
    done: () => { toast(`${upstream}/${row.label} has weight ${weight.value}.`); again(); },
  });
}
