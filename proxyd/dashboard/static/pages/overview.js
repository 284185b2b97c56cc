import { get, has, poll, stream } from "../api.js";
import { Chart } from "../chart.js";
import { fill, h } from "../dom.js";
import { ago, count, latency, percent, plural, short, span, time } from "../format.js";
import { card, figures, head, lacking, sentence, trouble } from "../parts.js";
import { Points, figuresOf, known } from "../stats.js";

export const title = "Overview";

const EVENTS = 12;

export function mount(root) {
  const wrong = trouble();
  const about = h("p", {}, "\u00a0");
  const verdict = h("section", { class: "card verdict", "aria-label": "What is wrong now", "aria-live": "polite" });
  const top = figures([["rate", "Requests/s"], ["errors", "Errors"], ["p50", "p50"], ["p95", "p95"], ["p99", "p99"], ["in_flight", "In flight"], ["hits", "Cache hits"]]);
  const charts = known() ? makeCharts() : [];
  const hint = h("div", {});
  const events = eventsCard();
  const header = head("Overview");
  header.firstChild.append(about);
  root.append(header, wrong.element, h("div", { class: "stack" }, verdict, hint,
    known() ? [top.element, h("div", { class: "two" }, charts.map((chart) => chart.element))] : card("Figures", "", lacking("Rates, errors and response times.")),
    events.element));
  const points = new Points();
  let said = "";
  let now = null;
  const endFigures = known() ? stream("/stats/stream", { routes: 0 }, { stats: (report) => {
    now = figuresOf(report);
    top.update(figuresText(now));
  } }) : () => {};
  const end = poll(async (signal) => {
    const [status, history] = await Promise.all([get("/status", null, signal), known() ? points.load(signal) : [], events.load(signal)]);
    wrong.clear();
    fill(about, aboutOf(status));
    const found = findings(status, now);
    const words = JSON.stringify(found);
    if (said !== words) drawVerdict(verdict, found, status);
    said = words;
    charts.forEach((chart) => chart.update(history));
    if (now) fill(hint, now.requests ? "" : firstSteps(status));
  }, 2000, wrong.show);
  return () => {
    end();
    endFigures();
    charts.forEach((chart) => chart.end());
  };
}

function aboutOf(status) {
  const engines = status.threads ? plural(status.threads, "engine") : "an inline engine";
  return `proxyd ${status.version}, ${engines}, up for ${span(status.uptime_seconds)} · ${status.config_path || "config given as text"}`;
}

function figuresText(now) {
  const over = `last ${Math.round(now.seconds)} s`;
  return {
    rate: [short(now.rate), `${count(now.requests)} in all`],
    errors: [percent(now.errors), now.failed ? `${count(now.failed)} in the ${over}` : over, now.failed ? "bad" : ""],
    p50: [latency(now.p50), over],
    p95: [latency(now.p95), over],
    p99: [latency(now.p99), over],
    in_flight: [count(now.in_flight), plural(now.open, "connection")],
    hits: [percent(now.hits), now.hits === null ? "nothing cached" : ""],
  };
}

function makeCharts() {
  return [
    new Chart({ title: "Requests per second", format: short, floor: 1, step: 1, series: [{ id: "rate", title: "requests", mark: "c1", area: true }, { id: "failed", title: "errors", mark: "c-bad" }] }),
    new Chart({ title: "Response time", format: latency, floor: 0.001, series: [
      { id: "p50", title: "p50", mark: "c1", merge: "max" }, { id: "p95", title: "p95", mark: "c2", merge: "max" }, { id: "p99", title: "p99", mark: "c3", merge: "max" }] }),
    new Chart({ title: "Errors, share of requests", format: percent, floor: 0.01, ceiling: 1, series: [{ id: "errors", title: "errors", mark: "c-bad", merge: "max" }] }),
    new Chart({ title: "Load", format: short, floor: 1, step: 1, series: [
      { id: "in_flight", title: "in flight", mark: "c1", merge: "max" }, { id: "open", title: "connections", mark: "c2", merge: "max" }] }),
  ];
}

// ---------------------------------------------------------------- what is wrong now
/** [mark, sentence], the worst first. */
function findings(status, now) {
  const found = [];
  if (status.phase !== "serving") found.push(["warn", `proxyd is ${status.phase}.`]);
  else status.not_ready.forEach((text) => found.push(["bad", sentence(text)]));
  for (const engine of status.engines) if (!engine.alive) found.push(["bad", `Engine ${engine.index} does not turn.`]);
  for (const upstream of status.upstreams) {
    const told = upstream.usable === 0 && status.not_ready.some((text) => text.includes(`upstream ${upstream.name} `));
    if (upstream.warning && !told) found.push([upstream.usable ? "warn" : "bad", sentence(`Upstream ${upstream.name}: ${upstream.warning}`)]);
    if (told) continue;
    for (const server of upstream.servers) {
      if (["down", "ejected"].includes(server.state)) found.push(["warn", sentence(`${upstream.name}/${server.label} is ${server.state}${server.reason ? `: ${server.reason}` : ""} (for ${span(Date.now() / 1000 - server.since)})`)]);
    }
  }
  const reload = status.last_reload;
  if (reload && !reload.ok) found.push(["warn", sentence(`The last reload was refused ${ago(reload.at)}, the config before it serves on: ${reload.summary}`)]);
  if (status.serving?.trial) found.push(["warn", "The config is on trial; see Config."]);
  for (const { name, recent } of now?.upstreams ?? []) {
    if (recent.errors < 3 || recent.errors < recent.requests / 20) continue;      // rough on purpose: a sentence that changes every second cannot be read
    const most = recent.errors > recent.requests / 2;
    found.push([most ? "bad" : "warn", `${most ? "Most" : "More than one in twenty"} of the requests to upstream ${name} failed lately; Live requests show why.`]);
  }
  if (now?.dropped) found.push(["warn", `${plural(now.dropped, "access record was", "access records were")} dropped: what takes the log is too slow.`]);
  status.warnings.forEach((text) => found.push(["warn", sentence(text)]));
  return found.sort((a, b) => (a[0] === b[0] ? 0 : a[0] === "bad" ? -1 : 1));
}

function drawVerdict(element, found, status) {
  const mark = found[0]?.[0] ?? "good";
  element.className = `card verdict is-${mark}`;
  const servers = status.upstreams.reduce((sum, upstream) => sum + upstream.servers.length, 0);
  const well = `Everything is well: ${plural(servers, "server")} of ${plural(status.upstreams.length, "upstream")} can be used.`;
  fill(element, h("span", { class: "sign", "aria-hidden": "true" }, mark === "good" ? "✓" : "!"),
    h("div", {}, h("h2", {}, found.length ? (found.length === 1 ? "One thing wants a look" : `${found.length} things want a look`) : well),
      found.length ? h("ul", {}, found.map(([grade, text]) => h("li", { class: grade === "bad" ? "bad" : "" }, text))) : null));
}

function firstSteps(status) {
  const listener = status.listeners.find((entry) => !entry.flow && !entry.address.startsWith("unix:"));
  if (!listener) return "";
  const address = listener.address.replace(/^(0\.0\.0\.0|\[::\])?:/, "localhost:");
  return h("section", { class: "card", "aria-label": "First steps" }, h("div", { class: "empty" }, h("p", {}, "No request has come yet. Send one:"), h("code", {}, `curl -i http://${address}/`)));
}

// ---------------------------------------------------------------- events
function eventsCard() {
  const list = h("ol", { class: "events card-body" });
  const element = card("What happened", "the newest first", list);
  if (!has("GET", "/events")) {
    fill(list, lacking("Reloads, servers that left and returned, and changes by operators."));
    return { element, load: async () => {} };
  }
  fill(list, h("li", { class: "muted" }, "Nothing yet."));
  let events = [];
  const load = async (signal) => {
    const fresh = await get("/events", { after: events[0]?.id, limit: EVENTS }, signal);
    if (!fresh.length) return;
    events = [...fresh.reverse(), ...events].slice(0, EVENTS);
    fill(list, events.map((event) => h("li", {}, h("time", { datetime: new Date(event.at * 1000).toISOString() }, time(event.at)), h("span", {}, event.text))));
  };
  return { element, load };
}
