import { get, poll, post } from "../api.js";
import { confirm } from "../dialog.js";
import { fill, h, say } from "../dom.js";
import { bytes, count, percent, plural, span } from "../format.js";
import { card, head, meter, sentence, toast, trouble } from "../parts.js";
import { needs, refusal } from "../session.js";
import { Table } from "../table.js";

export const title = "Limits";

const WORDS = { passed: "passed", delayed: "delayed", refused: "refused", delayed_dry_run: "would delay", refused_dry_run: "would refuse", table_full: "table full", bans: "bans" };
const BAD = new Set(["refused", "bans", "table_full"]);
const TOP = 10;

export function mount(root) {
  const wrong = trouble();
  const body = h("div", { class: "stack" });
  const why = refusal("operator");
  root.append(head("Limits", "What they let through, whom they meet most, and forgetting."), why ? h("p", { class: "note" }, `You can look: ${why}.`) : "", wrong.element, body);
  const cards = new Map();
  const store = h("div", {});
  const places = placesCard();
  const end = poll(async (signal) => {
    const found = await get("/limits", null, signal);
    wrong.clear();
    if (!found.limits.length && !found.places) {
      cards.clear();
      fill(body, empty());
      return;
    }
    fill(store, storeNotes(found));
    places.update(found.places);
    for (const limit of found.limits) {
      if (!cards.has(limit.policy)) cards.set(limit.policy, limitCard(limit, () => end.now()));
      cards.get(limit.policy).update(limit);
    }
    const names = new Set(found.limits.map((limit) => limit.policy));
    for (const name of cards.keys()) if (!names.has(name)) cards.delete(name);
    const wanted = [store, places.element, ...found.limits.map((limit) => cards.get(limit.policy).element)];
    if (wanted.length !== body.children.length || wanted.some((element, index) => body.children[index] !== element)) fill(body, wanted);
  }, 2000, wrong.show);
  return end;
}

function empty() {
  return h("section", { class: "card" }, h("div", { class: "empty" }, h("p", {}, "No route has a limit. This one comes with proxyd, 20 requests per second for each client:"),
    h("code", {}, "- {to: app, use: [per-ip]}")));
}

function storeNotes(found) {
  const notes = [];
  if (found.shed_below !== "none") notes.push(h("p", { class: "note warn" }, `proxyd is overloaded: requests below the class “${found.shed_below}” are shed.`));
  if (found.store?.away) notes.push(h("p", { class: "note bad" }, `The store of shared limits is away${found.store.last_error ? ` (${found.store.last_error})` : ""}: each proxy counts its own share.`));
  else if (found.store) notes.push(h("p", { class: "note" }, `Limits are shared with ${plural(found.store.nodes, "proxy", "proxies")}.`));
  return notes;
}

function placesCard() {
  const text = h("p", {});
  const table = new Table({
    label: "Places of routes",
    key: (row) => row.route,
    columns: [
      { id: "route", title: "Route", kind: "main", text: (row) => row.route, sort: (row) => row.route },
      { id: "in_use", title: "In use", kind: "num", text: (row) => count(row.in_use), sort: (row) => row.in_use },
      { id: "share", title: "Of its most", text: (row) => (row.max ? percent(row.in_use / row.max) : ""), render: (row) => (row.max ? meter(row.in_use / row.max, percent(row.in_use / row.max), row.in_use >= row.max ? "warn" : "") : "") },
      { id: "reserved", title: "Reserved", kind: "num", text: (row) => (row.reserved ? count(row.reserved) : ""), sort: (row) => row.reserved },
      { id: "max", title: "Most", kind: "num", text: (row) => (row.max ? count(row.max) : ""), sort: (row) => row.max },
      { id: "waiting", title: "Waiting", kind: "num", text: (row) => count(row.waiting), sort: (row) => row.waiting },
      { id: "shed", title: "Shed", kind: "num", text: (row) => count(row.results.shed + row.results.full + row.results.timeout), sort: (row) => row.results.shed, mark: (row) => (row.results.shed ? "bad" : "") },
    ],
  });
  const element = card("Places", "requests at a time", h("div", { class: "card-body" }, text), table.element);
  return {
    element,
    update(places) {
      element.hidden = !places;
      if (!places) return;
      const wait = places.waiting ? `, ${count(places.waiting)} wait (the first for ${span(places.oldest_wait_seconds)})` : "";
      say(text, `${count(places.in_use)}${places.total ? ` of ${count(places.total)}` : ""} in use${wait}${places.shedding ? "; those who waited long are shed" : ""}.`);
      table.update(places.lanes);
    },
  };
}

function limitCard(limit, again) {
  const decisions = h("p", { class: "tools" });
  const facts = h("p", { class: "muted small" });
  const table = new Table({
    label: `Busiest keys of ${limit.policy}`,
    key: (row) => row.key,
    sort: { id: "requests", down: true },
    empty: "No key was seen yet.",
    columns: [
      { id: "key", title: "Busiest keys", kind: "main", text: (row) => row.key, sort: (row) => row.key },
      { id: "requests", title: "Requests, estimated", kind: "num", text: (row) => count(row.requests), sort: (row) => row.requests },
      { id: "refused", title: "Refused", kind: "num", text: (row) => count(row.refused), sort: (row) => row.refused, mark: (row) => (row.refused ? "bad" : "") },
    ],
  });
  const resettable = limit.kind !== "concurrency";
  const reset = resettable ? h("button", needs("operator", { type: "button", class: "small quiet", onclick: () => ask(limit, again) }), "Reset…") : null;
  const tops = h("div", {}, table.element);
  const element = h("section", { class: "card", "aria-label": `Limit ${limit.policy}` },
    h("div", { class: "upstream-head" }, h("h2", {}, limit.policy), h("span", { class: "tag" }, limit.kind), h("span", { class: "muted" }, limit.rule), reset),
    h("div", { class: "upstream-note stack" }, decisions, facts), tops);
  return {
    element,
    update(now) {
      fill(decisions, Object.entries(now.decisions).filter(([word, number]) => number || word === "passed")
        .map(([word, number]) => h("span", { class: `tag ${BAD.has(word) && number ? "bad" : ""}` }, `${count(number)} ${WORDS[word] ?? word.replaceAll("_", " ")}`)));
      const evicted = now.evictions ? `, ${count(now.evictions)} evicted for room` : "";
      say(facts, `Counts by ${now.key.join(" and ") || "nothing"}: ${plural(now.keys, "key")} of at most ${count(now.capacity)} known, ${bytes(now.memory_bytes)}${evicted}.`);
      tops.hidden = !now.top.length;
      table.update(now.top.slice(0, TOP));
    },
  };
}

function ask(limit, again) {
  const inputs = limit.key.map((part) => h("input", { type: "text", spellcheck: "false", autocapitalize: "none", "data-part": part }));
  const fields = inputs.map((input, index) => h("label", { class: "field" }, limit.key[index], input));
  confirm({
    title: `Reset ${limit.policy}`,
    text: fields.length ? "Name one key, or leave it empty to forget all of them. Who is forgotten begins anew." : "All that it counts is forgotten.",
    fields,
    action: "Reset",
    danger: true,
    run: () => post(`/limits/${encodeURIComponent(limit.policy)}/reset`, inputs.some((input) => input.value) ? { key: inputs.map((input) => input.value) } : {}),
    done: (answer) => {
      toast(sentence(`${plural(answer.forgotten, "key")} of ${limit.policy} forgotten${answer.everywhere === false ? "; the shared store could not be told" : ""}`));
      again();
    },
  });
}
