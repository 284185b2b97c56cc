import { get, has, stream } from "../api.js";
import { open } from "../dialog.js";
import { fill, h, say } from "../dom.js";
import { bytes, latency, plural, time } from "../format.js";
import { head, lacking, problemNote } from "../parts.js";

export const title = "Live requests";

const MOST = 200;            // rows that are shown
const EVERY_MS = 250;        // between two drawings: a thousand requests in a second are no thousand drawings

export function mount(root) {
  root.append(head("Live requests", "As they end. Choose one to see why it went as it did."));
  if (!has("GET", "/requests/stream")) {
    root.append(h("section", { class: "card" }, lacking("Requests as they end.")));
    return () => {};
  }
  return new Live(root).end;
}

class Live {
  constructor(root) {
    this.waiting = [];
    this.missed = 0;
    this.paused = false;
    this.trouble = h("div", { role: "alert" });
    this.list = h("div", { class: "requests", role: "log", "aria-live": "off", "aria-label": "Requests" });
    this.note = h("span", { class: "muted small", role: "status" });
    this.nothing = h("p", { class: "empty" }, "Waiting for requests…");
    this.pause = h("button", { type: "button", "aria-pressed": "false", onclick: () => this.#pause() }, "Pause");
    this.filters = { status: "", route: "", upstream: "", host: "", path: "", slower_than: "" };
    root.append(this.#form(), this.trouble, h("section", { class: "card", "aria-label": "Requests" }, this.nothing, this.list));
    this.#listen();
    this.timer = setInterval(() => this.#draw(), EVERY_MS);
    this.end = () => {
      this.stop();
      clearInterval(this.timer);
    };
  }

  #form() {
    const field = (name, label, attributes) => h("label", { class: "field" }, label, h("input", { type: "text", name, spellcheck: "false", autocapitalize: "none", ...attributes }));
    const status = h("select", { name: "status" }, [["", "any"], ["5xx", "5xx"], ["4xx", "4xx"], ["3xx", "3xx"], ["2xx", "2xx"]].map(([value, text]) => h("option", { value }, text)));
    const form = h("form", { class: "filters" }, h("label", { class: "field" }, "Status", status), field("path", "Path", { placeholder: "/api/*" }), field("host", "Host"),
      field("route", "Route"), field("upstream", "Upstream"), field("slower_than", "Slower than", { placeholder: "250ms" }),
      h("div", { class: "tools" }, h("button", { type: "submit" }, "Filter"), this.pause, h("button", { type: "button", class: "quiet", onclick: () => this.#clear() }, "Clear"), this.note));
    const take = () => {
      for (const name of Object.keys(this.filters)) this.filters[name] = form.elements[name].value.trim();
      this.#listen();
    };
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      take();
    });
    status.addEventListener("change", take);
    return form;
  }

  #listen() {
    this.stop?.();
    this.waiting = [];
    const take = (record) => {
      this.waiting.push(record);
      if (this.waiting.length > MOST) this.waiting.shift();
    };
    const missed = (event) => { this.missed += event.missed; };
    this.stop = stream("/requests/stream", this.filters, { message: take, request: take, missed });
    // An event source does not tell why it was refused, so that what is wrong with a filter is asked for here.
    get("/requests", { ...this.filters, limit: 1 }).then(() => fill(this.trouble), (problem) => fill(this.trouble, problemNote(problem)));
  }

  #pause() {
    this.paused = !this.paused;
    this.pause.setAttribute("aria-pressed", String(this.paused));
    say(this.pause, this.paused ? "Go on" : "Pause");
  }

  #clear() {
    this.waiting = [];
    this.missed = 0;
    fill(this.list);
    this.nothing.hidden = false;
  }

  #draw() {
    const missed = this.missed ? `${plural(this.missed, "request")} came too fast to be shown` : "";
    say(this.note, this.paused ? `paused, ${plural(this.waiting.length, "request")} wait${this.waiting.length === MOST ? ", older ones left out" : ""}` : missed);
    if (this.paused || !this.waiting.length) return;
    const focused = this.list.contains(document.activeElement);
    this.list.prepend(...this.waiting.reverse().map(line));
    this.waiting = [];
    this.nothing.hidden = true;
    while (this.list.children.length > MOST && !(focused && this.list.lastChild === document.activeElement)) this.list.lastChild.remove();
  }
}

const statusMark = (status) => (status >= 500 ? "bad" : status >= 400 ? "warn" : "");

function line(record) {
  const { status } = record;
  const target = record.upstream ? `${record.upstream}${record.server ? ` → ${record.server}` : ""}` : record.status_by === "cache" ? "cache" : "proxyd";
  return h("button", { type: "button", class: "request", onclick: () => why(record) },
    h("span", { class: "muted" }, at(record)), h("span", {}, record.method ?? "–"), h("span", { class: statusMark(status) }, String(status ?? "–")), h("span", { class: "num" }, latency(record.t_total)),
    h("span", { class: "path" }, `${record.host ?? ""}${record.path ?? ""}${record.query ? `?${record.query}` : ""}`), h("span", { class: "to muted" }, target),
    record.why ? h("span", { class: "why" }, record.why) : null);
}

const at = (record) => time(Date.parse(record.time) / 1000);

// ---------------------------------------------------------------- one of them
const FACTS = [
  ["route", "Route"], ["listener", "Listener"], ["client.address", "Client"], ["user", "User"], ["status_by", "Status made by"], ["upstream", "Upstream"], ["server", "Server"],
  ["attempts", "Tries"], ["cache", "Cache"], ["policies", "Policies"], ["error", "Error"], ["t_queue", "Waited", latency], ["t_connect", "Connected in", latency],
  ["t_first_byte", "First byte after", latency], ["t_total", "Took", latency], ["bytes_in", "Received", bytes], ["bytes_out", "Sent", bytes], ["user_agent", "User agent"], ["trace_id", "Trace"],
];

async function why(record) {
  const dialog = open(`${record.method ?? "?"} ${record.host ?? ""}${record.path ?? ""}`, { wide: true });
  const steps = h("div", {});
  fill(dialog.body,
    h("p", {}, h("span", { class: `tag ${statusMark(record.status) || "good"}` }, String(record.status)), ` ${at(record)} · `, h("code", {}, record.id)),
    record.why ? h("p", {}, record.why) : null, steps,
    h("dl", { class: "facts" }, FACTS.filter(([name]) => record[name] !== undefined && record[name] !== "" && record[name] !== 0)
      .map(([name, label, format]) => [h("dt", {}, label), h("dd", {}, format ? format(record[name]) : Array.isArray(record[name]) ? record[name].join(", ") : String(record[name]))])));
  const close = h("button", { type: "button", onclick: dialog.close }, "Close");
  fill(dialog.foot, close);
  close.focus();
  if (!has("GET", "/requests/{id}")) return;
  try {
    fill(steps, stepsOf(await get(`/requests/${encodeURIComponent(record.id)}`), record));
  } catch (problem) {
    fill(steps, problem.status === 404 ? h("p", { class: "muted" }, "Its steps are not kept: proxyd keeps errors, the slowest, and one in some.") : problemNote(problem));
  }
}

/** An id that a client chose may be that of several requests; this is the one whose record it is. */
function stepsOf(found, record) {
  const { steps } = found.find((entry) => entry.record.time === record.time) ?? found[0];
  return h("ol", { class: "steps" }, steps.map((step) => h("li", {}, h("span", {}, step.text))));
}

