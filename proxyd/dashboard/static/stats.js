// Figures of the traffic, as the pages want them. They are those of `/metrics`: the daemon reads the same counters for both.

import { get, has } from "./api.js";

export const SPAN = 900;         // seconds that the daemon remembers

export const known = () => has("GET", "/stats") && has("GET", "/stats/history");

const share = (part, whole) => (whole ? part / whole : null);

/** Points of the last quarter of an hour, kept up with: `load(signal)` asks for what is new and gives all of them. */
export class Points {
  constructor() {
    this.points = [];
  }

  async load(signal) {
    const last = this.points.length ? this.points[this.points.length - 1].at : 0;
    const missing = Math.ceil(Date.now() / 1000 - last) + 5;
    const columns = await get("/stats/history", { seconds: Math.min(SPAN, Math.max(missing, 1)) }, signal);
    const fresh = columns.at.map((at, index) => pointOf(columns, index, at)).filter((point) => point.at > last);
    this.points = [...this.points, ...fresh].filter((point) => point.at > Date.now() / 1000 - SPAN);
    return this.points;
  }
}

function pointOf(columns, index, at) {
  const seconds = columns.seconds[index] || 1;
  const requests = columns.requests[index];
  return {
    at,
    rate: requests / seconds,
    errors: share(columns.errors[index], requests),
    failed: columns.errors[index] / seconds,
    p50: columns.p50[index],
    p95: columns.p95[index],
    p99: columns.p99[index],
    in_flight: columns.in_flight[index],
    open: columns.open[index],
    hits: share(columns.cache_answered[index], columns.cache_asked[index]),
    cpu: columns.cpu_seconds[index] / seconds,
  };
}

/** The big figures of a report: of its last seconds. */
export function figuresOf(report) {
  const { recent } = report.total;
  return {
    rate: recent.requests / (report.recent_seconds || 1),
    requests: report.total.requests,
    seconds: report.recent_seconds,
    errors: share(recent.errors, recent.requests),
    failed: recent.errors,
    p50: recent.p50,
    p95: recent.p95,
    p99: recent.p99,
    in_flight: report.listeners.reduce((sum, listener) => sum + listener.in_flight, 0),
    open: report.listeners.reduce((sum, listener) => sum + listener.open, 0),
    hits: share(recent.cache_answered, recent.cache_asked) ?? share(report.total.cache_answered, report.total.cache_asked),
    dropped: report.logs.reduce((sum, sink) => sum + sink.dropped, 0),
    upstreams: report.upstreams,
  };
}

/** "listener/route" -> rate, share of errors and times of the last seconds. */
export async function routeRates(signal) {
  const report = await get("/stats", null, signal);
  const found = {};
  for (const { listener, route, recent } of report.routes) {
    found[`${listener}/${route}`] = {
      rate: recent.requests / (report.recent_seconds || 1), errors: share(recent.errors, recent.requests), p50: recent.p50, p95: recent.p95, p99: recent.p99,
    };
  }
  return found;
}
