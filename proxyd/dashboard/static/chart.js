// Lines over the last minutes, drawn as SVG in pixels of the screen, so that hairlines are hairlines. The cursor follows the pointer or,
// for those who use the keyboard, the arrow keys, and what it points at is said aloud.

import { fill, h, say, svg } from "./dom.js";
import { time } from "./format.js";

const HEIGHT = 190;
const EDGE = { top: 12, right: 4, bottom: 22, left: 48 };
const SPANS = [60, 300, 900];  // seconds: a daemon that has just begun has little to show
const PER_PIXEL = 2.5;         // of the screen for a point: closer ones are put together

/** Round numbers from 0 to at least `most`, a handful of them; `least`: the smallest step. */
function ticks(most, least) {
  if (!(most > 0)) return [0, 1];
  const step = 10 ** Math.floor(Math.log10(most / 3));
  const nice = Math.max(least, [1, 2, 2.5, 5, 10].map((factor) => factor * step).find((size) => most / size <= 4) ?? step * 10);
  const found = [];
  for (let value = 0; value < most + nice * 0.999; value += nice) found.push(value);
  return found;
}

export class Chart {
  /** series: {id, title, mark: class of its colour, area?, merge?: "max"}; `format` writes a value, `floor` is the least top of the axis, `step` its least step. */
  constructor({ title, series, format, floor = 0, ceiling = Infinity, step = 0 }) {
    Object.assign(this, { title, series, format, floor, ceiling, step });
    this.points = [];
    this.at = null;
    this.svg = svg("svg", { role: "img", tabindex: "0", "aria-label": title });
    this.tip = h("div", { class: "tip", hidden: true });
    this.spoken = h("span", { class: "visually-hidden", "aria-live": "polite" });
    this.plot = h("div", { class: "chart" }, this.svg, this.tip, this.spoken);
    const legend = h("div", { class: "legend", "aria-hidden": "true" }, series.map((line) => h("span", { class: line.mark }, h("i"), line.title)));
    this.element = h("section", { class: "card", "aria-label": title },
      h("header", {}, h("h2", {}, title), series.length > 1 ? legend : null), h("div", { class: "card-body" }, this.plot));
    this.svg.addEventListener("pointermove", (event) => this.#point(event.clientX - this.svg.getBoundingClientRect().left));
    this.svg.addEventListener("pointerleave", () => this.#leave());
    this.svg.addEventListener("blur", () => this.#leave());
    this.svg.addEventListener("keydown", (event) => this.#key(event));
    this.watch = new ResizeObserver(() => this.#draw());
    this.watch.observe(this.plot);
  }

  /** points: {at: epoch seconds, [id of a series]: number or null}, the oldest first. */
  update(points) {
    this.points = points;
    this.#draw();
  }

  end() {
    this.watch.disconnect();
  }

  #draw() {
    const width = this.plot.clientWidth;
    if (!width) return;
    const inner = width - EDGE.left - EDGE.right;
    const last = this.points.length ? this.points[this.points.length - 1].at : Date.now() / 1000;
    const begun = this.points.length ? last - this.points[0].at : 0;
    this.span = SPANS.find((span) => begun <= span) ?? SPANS[SPANS.length - 1];
    this.merged = this.#merge(Math.max(1, Math.ceil((this.span * PER_PIXEL) / inner)));
    const values = this.merged.flatMap((point) => this.series.map((line) => point[line.id])).filter((value) => value !== null && value !== undefined);
    const marks = ticks(Math.min(this.ceiling, Math.max(this.floor, ...values, 0)), this.step).filter((value) => value <= this.ceiling * 1.0001);
    const top = marks[marks.length - 1];
    this.x = (at) => EDGE.left + ((at - last + this.span) / this.span) * inner;
    this.y = (value) => EDGE.top + (1 - Math.min(value, top) / top) * (HEIGHT - EDGE.top - EDGE.bottom);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.cursor = svg("g", {});
    fill(this.svg, this.#grid(width, marks, inner), this.series.map((line) => this.#line(line)), this.cursor);
    this.#summary();
    if (this.at !== null) this.#show();
  }

  /** Points that would fall on the same pixels as one: the mean, or the most, of what is known. */
  #merge(size) {
    if (size === 1) return this.points;
    const found = new Map();
    for (const point of this.points) {
      const slot = Math.floor(point.at / size);
      if (!found.has(slot)) found.set(slot, []);
      found.get(slot).push(point);
    }
    return [...found.values()].map((group) => {
      const merged = { at: group[group.length - 1].at };
      for (const { id, merge } of this.series) {
        const known = group.map((point) => point[id]).filter((value) => value !== null && value !== undefined);
        if (!known.length) merged[id] = null;
        else merged[id] = merge === "max" ? Math.max(...known) : known.reduce((sum, value) => sum + value, 0) / known.length;
      }
      return merged;
    });
  }

  #grid(width, marks, inner) {
    const rows = marks.map((value) => {
      const y = Math.round(this.y(value)) + 0.5;
      return [svg("line", { class: "grid", x1: EDGE.left, x2: width - EDGE.right, y1: y, y2: y }),
        svg("text", { class: "tick", x: EDGE.left - 8, y: y + 3.5, "text-anchor": "end" }, value ? this.format(value) : "0")];
    });
    const parts = this.span === 60 || (this.span === 900 && inner < 420) ? 3 : 5;      // so that the labels are round
    const columns = Array.from({ length: parts + 1 }, (_, part) => {
      const seconds = Math.round((this.span * (parts - part)) / parts);
      return svg("text", {
        class: "tick", y: HEIGHT - 4, x: EDGE.left + (part / parts) * inner, "text-anchor": part === 0 ? "start" : part === parts ? "end" : "middle",
      }, seconds ? (this.span > 60 ? `${seconds / 60} min` : `${seconds} s`) : "now");
    });
    return [rows, columns];
  }

  #line({ id, mark, area }) {
    let path = "";
    let lone = "";
    let fillPath = "";
    let run = [];
    const flush = () => {
      if (!run.length) return;
      const text = run.map(([x, y], index) => `${index ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
      if (run.length === 1) lone += `${text}h0.01`;
      else path += text;
      fillPath += `${text}L${run[run.length - 1][0].toFixed(1)} ${this.y(0)}L${run[0][0].toFixed(1)} ${this.y(0)}Z`;
      run = [];
    };
    let before = null;
    for (const point of this.merged) {
      const value = point[id];
      if (value === null || value === undefined || (before !== null && point.at - before > 30)) flush();
      if (value !== null && value !== undefined) run.push([this.x(point.at), this.y(value)]);
      before = point.at;
    }
    flush();
    return [area ? svg("path", { class: "area", d: fillPath }) : null, svg("path", { class: `series ${mark}`, d: path }), lone ? svg("path", { class: `series lone ${mark}`, d: lone }) : null];
  }

  #summary() {
    const last = this.points[this.points.length - 1];
    const words = last ? this.series.map(({ id, title }) => `${title} ${this.format(last[id])}`).join(", ") : "nothing known yet";
    this.svg.setAttribute("aria-label", `${this.title} of the last ${this.span / 60} minutes; now: ${words}. Arrow keys move through it.`);
  }

  #point(x) {
    if (!this.merged?.length) return;
    let best = 0;
    this.merged.forEach((point, index) => { if (Math.abs(this.x(point.at) - x) < Math.abs(this.x(this.merged[best].at) - x)) best = index; });
    this.at = this.merged[best].at;
    this.#show();
  }

  #key(event) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity, PageUp: -10, PageDown: 10 };
    if (event.key === "Escape") this.#leave();
    if (!(event.key in steps) || !this.merged?.length) return;
    event.preventDefault();
    const now = this.at === null ? this.merged.length : this.#index();
    const index = Math.max(0, Math.min(this.merged.length - 1, now + steps[event.key]));
    this.at = this.merged[index].at;
    this.#show();
    say(this.spoken, `${time(this.at)}: ${this.series.map(({ id, title }) => `${title} ${this.format(this.merged[index][id])}`).join(", ")}`);
  }

  #index() {
    const found = this.merged.findIndex((point) => point.at >= this.at);
    return found < 0 ? this.merged.length - 1 : found;
  }

  #show() {
    const point = this.merged[this.#index()];
    const x = this.x(point.at);
    const dots = this.series.filter(({ id }) => point[id] !== null && point[id] !== undefined)
      .map(({ id, mark }) => svg("circle", { class: `dot ${mark}`, cx: x, cy: this.y(point[id]), r: 3.5 }));
    fill(this.cursor, svg("line", { class: "cursor", x1: Math.round(x) + 0.5, x2: Math.round(x) + 0.5, y1: EDGE.top, y2: HEIGHT - EDGE.bottom }), dots);
    fill(this.tip, h("b", {}, time(point.at)), this.series.map(({ id, title }) => h("div", {}, h("span", {}, title), h("span", {}, this.format(point[id])))));
    this.tip.hidden = false;
    const left = x + 14 + this.tip.offsetWidth > this.plot.clientWidth ? x - 14 - this.tip.offsetWidth : x + 14;
    this.tip.style.transform = `translate(${Math.max(0, Math.round(left))}px, 8px)`;
  }

  #leave() {
    this.at = null;
    this.tip.hidden = true;
    if (this.cursor) fill(this.cursor);
  }
}
