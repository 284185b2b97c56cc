import { get, has, poll } from "../api.js";
import { h } from "../dom.js";
import { count, latency, percent, short } from "../format.js";
import { head, trouble } from "../parts.js";
import { routeRates } from "../stats.js";
import { Table } from "../table.js";

export const title = "Routes";

const nameOf = (row) => (row.index < 0 ? "no route" : row.route);

const COLUMNS = [
  { id: "order", title: "#", name: "Order", kind: "order", text: (row) => (row.index < 0 ? "" : row.index + 1), sort: (row) => (row.index < 0 ? 1e9 : row.order) },
  { id: "route", title: "Route", kind: "main", text: (row) => `${nameOf(row)} ${row.listener}`, sort: (row) => row.route, render: (row) => h("span", {}, nameOf(row), h("small", {}, row.listener)) },
  { id: "match", title: "Match", text: (row) => row.match, mark: () => "mono wrap" },
  { id: "action", title: "Does", text: (row) => row.action, mark: () => "wrap" },
  { id: "requests", title: "Requests", kind: "num", text: (row) => count(row.requests), sort: (row) => row.requests },
];
const RATES = [
  { id: "rate", title: "Per s", kind: "num", text: (row) => short(row.rate), sort: (row) => row.rate },
  { id: "errors", title: "Errors", kind: "num", text: (row) => percent(row.errors), sort: (row) => row.errors, mark: (row) => (row.errors > 0 ? "bad" : "") },
  { id: "p50", title: "p50", kind: "num", text: (row) => latency(row.p50), sort: (row) => row.p50 },
  { id: "p95", title: "p95", kind: "num", text: (row) => latency(row.p95), sort: (row) => row.p95 },
  { id: "p99", title: "p99", kind: "num", text: (row) => latency(row.p99), sort: (row) => row.p99 },
];

export function mount(root) {
  const known = has("GET", "/stats");
  const table = new Table({
    label: "Routes",
    columns: known ? [...COLUMNS, ...RATES] : COLUMNS,
    key: (row) => `${row.listener}/${row.route}/${row.index}`,
    sort: { id: "order", down: false },
    search: "Filter routes",
    empty: "The config has no routes.",
  });
  const wrong = trouble();
  const note = known ? "In the order in which they are tried. Rates, errors and times are of the last 10 seconds." : "In the order in which they are tried.";
  root.append(head("Routes", note, ...table.tools), wrong.element, wrapped(table.element));
  return poll(async (signal) => {
    const [routes, rates] = await Promise.all([get("/routes", null, signal), known ? routeRates(signal) : {}]);
    table.update(routes.map((route, order) => ({ ...route, order, ...rates[`${route.listener}/${route.route}`] })));
    wrong.clear();
  }, 2000, wrong.show);
}

function wrapped(element) {
  element.classList.add("card");
  return element;
}
