import { get, poll, post } from "../api.js";
import { confirm } from "../dialog.js";
import { fill, h, svg } from "../dom.js";
import { bytes, count, percent, plural } from "../format.js";
import { card, figures, head, problemNote, sentence, toast, trouble } from "../parts.js";
import { needs, refusal } from "../session.js";
import { Table } from "../table.js";

export const title = "Cache";

const KINDS = {
  url: ["URL", "https://shop.example/logo.png"],
  prefix: ["URL prefix", "shop.example/images/"],
  tag: ["Tag", "product-42"],
  host: ["Host", "shop.example"],
  all: ["Everything", ""],
};

export function mount(root) {
  const wrong = trouble();
  const body = h("div", { class: "stack" });
  root.append(head("Cache", "What is stored, what it saves, and how to get rid of it."), wrong.element, body);
  let shown = null;
  const end = poll(async (signal) => {
    const found = await get("/cache", null, signal);
    wrong.clear();
    if (!found.enabled) {
      fill(body, off());
      shown = null;
    } else {
      shown ??= build(body, () => end.now());
      shown(found);
    }
  }, 2000, wrong.show);
  return end;
}

function off() {
  return h("section", { class: "card" }, h("div", { class: "empty" }, h("p", {}, "No route caches. Add a cache to one in the config:"),
    h("code", {}, "- {match: /static/*, to: app, cache: 10m}")));
}

function build(body, again) {
  const top = figures([["ratio", "Hit ratio"], ["served", "From memory"], ["size", "In use"], ["objects", "Objects"], ["evicted", "Evicted"], ["purged", "Purged"]]);
  const table = new Table({
    label: "Routes that cache",
    key: (row) => `${row.listener}/${row.route}`,
    empty: "No route that caches was asked for yet.",
    sort: { id: "asked", down: true },
    columns: [
      { id: "route", title: "Route", kind: "main", text: (row) => row.route, sort: (row) => row.route },
      { id: "ratio", title: "Hit ratio", kind: "num", text: (row) => percent(row.hit_ratio), sort: (row) => row.hit_ratio },
      { id: "asked", title: "Requests", kind: "num", text: (row) => count(total(row.requests)), sort: (row) => total(row.requests) },
      { id: "hit", title: "Hits", kind: "num", text: (row) => count(row.requests.hit ?? 0), sort: (row) => row.requests.hit ?? 0 },
      { id: "miss", title: "Misses", kind: "num", text: (row) => count(row.requests.miss ?? 0), sort: (row) => row.requests.miss ?? 0 },
      { id: "others", title: "Other results", text: (row) => others(row.requests) },
      { id: "bytes", title: "From memory", kind: "num", text: (row) => bytes(row.bytes_served), sort: (row) => row.bytes_served },
    ],
  });
  const curve = h("div", { class: "card-body" });
  const tiers = h("div", { class: "card-body stack" });
  const tierCard = card("Shared tier", "", tiers);
  const snapshot = h("p", { class: "muted small" });
  fill(body, top.element, h("div", { class: "two" }, card("What another size would bring", "sampled live", curve), card("Purge", "", purgeForm(again))),
    card("Routes", "since the start", table.element), tierCard, snapshot);
  return (found) => {
    const { store } = found;
    top.update({
      ratio: [percent(found.hit_ratio), plural(total(found.requests), "request")],
      served: [bytes(found.bytes_served), "of bodies"],
      size: [bytes(store.bytes), `of ${bytes(store.limit_bytes)}`],
      objects: [count(store.objects), "stored now"],
      evicted: [count(store.evictions_capacity ?? 0), "for room"],
      purged: [count(store.purged_objects ?? 0), "on request"],
    });
    table.update(found.routes);
    fill(curve, curveOf(found));
    tierCard.hidden = !found.tiers.length;
    fill(tiers, found.tiers.map(tierLine));
    fill(snapshot, found.snapshot ? snapshotText(found.snapshot) : "");
  };
}

const others = (requests) => Object.entries(requests).filter(([word, number]) => number && word !== "hit" && word !== "miss").map(([word, number]) => `${count(number)} ${word}`).join(", ");

const total = (requests) => Object.values(requests).reduce((sum, number) => sum + number, 0);

function tierLine(tier) {
  return h("div", {}, h("span", { class: `state ${tier.circuit_open ? "bad" : "good"}` }, tier.name), tier.last_error ? h("span", { class: "muted" }, `: ${tier.last_error}`) : null);
}

function snapshotText(snapshot) {
  return snapshot.error ? `Snapshot ${snapshot.file}: ${snapshot.error}.` : `Snapshot ${snapshot.file}: ${plural(snapshot.saved, "object")} saved, ${snapshot.loaded} loaded at the start.`;
}

/** The hit ratio over the size of the store, as sampled; the size that is set is marked. */
function curveOf(found) {
  const seen = found.curve.filter((point) => point.requests >= 200);
  if (seen.length < 2) return h("p", { class: "empty" }, "Too little was asked for yet to tell.");
  const width = 520;
  const height = 150;
  const most = Math.log2(seen[seen.length - 1].scale);
  const least = Math.log2(seen[0].scale);
  const x = (point) => 44 + ((Math.log2(point.scale) - least) / (most - least)) * (width - 60);
  const y = (ratio) => 10 + (1 - ratio) * (height - 34);
  const line = seen.map((point, index) => `${index ? "L" : "M"}${x(point).toFixed(1)} ${y(point.hit_ratio).toFixed(1)}`).join("");
  const words = seen.map((point) => `${percent(point.hit_ratio)} with ${bytes(point.size_bytes)}`).join(", ");
  const plot = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Hit ratio by size: ${words}` },
    [0, 0.5, 1].map((share) => [svg("line", { class: "grid", x1: 44, x2: width - 16, y1: y(share), y2: y(share) }), svg("text", { class: "tick", x: 36, y: y(share) + 4, "text-anchor": "end" }, percent(share))]),
    svg("path", { class: "series c1", d: line }),
    seen.map((point) => [svg("circle", { class: "dot c1", cx: x(point), cy: y(point.hit_ratio), r: point.scale === 1 ? 5 : 3 }),
      Number.isInteger(Math.log2(point.scale)) ? svg("text", { class: "tick", x: x(point), y: height - 4, "text-anchor": "middle" }, point.scale === 1 ? "now" : `${point.scale}×`) : null]));
  return [h("div", { class: "chart" }, plot), found.outlook ? h("p", { class: "small" }, sentence(found.outlook)) : null];
}

function purgeForm(again) {
  const why = refusal("operator");
  const kind = h("select", needs("operator"), Object.entries(KINDS).map(([value, [name]]) => h("option", { value }, name)));
  const text = h("input", needs("operator", { type: "text", spellcheck: "false", autocapitalize: "none", required: true, placeholder: KINDS.url[1] }));
  const soft = h("input", needs("operator", { type: "checkbox" }));
  const trouble = h("div", { role: "alert" });
  const textField = h("label", { class: "field" }, "Which", text);
  kind.addEventListener("change", () => {
    text.placeholder = KINDS[kind.value][1];
    text.required = kind.value !== "all";
    textField.hidden = kind.value === "all";
  });
  const form = h("form", { class: "card-body stack" },
    h("div", { class: "purge" }, h("label", { class: "field" }, "Purge", kind), textField, h("button", needs("operator", { type: "submit", class: "primary" }), "Purge…")),
    h("label", { class: "check" }, soft, h("span", {}, "Soft: only make it stale", h("span", { class: "muted small" }, " – it is served on while it is fetched again"))),
    why ? h("p", { class: "muted small" }, sentence(why)) : null, trouble);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    fill(trouble);
    const order = { [kind.value]: kind.value === "all" ? true : text.value.trim(), ...(soft.checked ? { soft: true } : {}) };
    const what = kind.value === "all" ? "everything" : `${KINDS[kind.value][0]} ${text.value.trim()}`;
    confirm({
      title: `Purge ${what}?`,
      text: soft.checked ? "What is stored becomes stale: the next requests fetch it again." : "What is stored is dropped: the next requests go to the servers.",
      action: "Purge",
      danger: !soft.checked,
      run: () => post("/cache/purge", order),
      done: (answer) => {
        const shared = answer.spread === false ? " The shared tier could not be told." : "";
        toast(`${plural(answer.purged, "object")} purged.${shared}`);
        if (answer.spread === false) fill(trouble, problemNote({ message: "the shared tier could not be told of the purge" }));
        again();
      },
    });
  });
  return form;
}

