// Small things that several pages show.

import { fill, h, svg } from "./dom.js";

/** The head of a page. */
export function head(title, text, ...tools) {
  return h("header", { class: "head" }, h("div", {}, h("h1", { tabindex: "-1" }, title), text ? h("p", {}, text) : null), tools.length ? h("div", { class: "tools" }, tools) : null);
}

export function card(title, note, ...content) {
  return h("section", { class: "card", "aria-label": title }, h("header", {}, h("h2", {}, title), note ? h("span", { class: "muted" }, note) : null), content);
}

/** What a Problem says: its sentence, what helps, and the diagnostics of a config. */
export function problemNote(problem) {
  return h("div", { class: "note bad" },
    h("p", {}, sentence(problem.message), problem.code ? h("span", { class: "small" }, ` (${problem.code})`) : null),
    problem.diagnostics?.length ? diagnostics(problem.diagnostics) : problem.help ? h("p", { class: "small" }, problem.help) : null);
}

/** Begins large, unless with a name, and ends with a full stop. */
export function sentence(text) {
  const found = /^[a-z]+[ ,;]/.test(text) ? text[0].toUpperCase() + text.slice(1) : text;
  return /[.!?…]$/.test(found) ? found : `${found}.`;
}

export function diagnostics(list) {
  return list.map((entry) => h("pre", { class: "rendered", tabindex: "0" }, entry.rendered ?? `${entry.code}: ${entry.message}`));
}

/** Big figures; `update({id: [text, note, mark]})` writes them. */
export function figures(entries) {
  const made = new Map(entries.map(([id, title]) => [id, { title, value: h("dd", {}, "–") }]));
  const element = h("dl", { class: "figures" }, [...made.values()].map(({ title, value }) => h("div", { class: "figure" }, h("dt", {}, title), value)));
  const update = (values) => {
    for (const [id, [text, note = "", mark = ""]] of Object.entries(values)) {
      const { value } = made.get(id);
      const said = `${text}\u0000${note}\u0000${mark}`;
      if (value.dataset.said === said) continue;
      value.dataset.said = said;
      value.className = mark;
      fill(value, text, note ? h("small", {}, note) : null);
    }
  };
  return { element, update };
}

const STATES = { up: "good", down: "bad", ejected: "bad", unresolved: "bad", pending: "warn", drain: "warn", maint: "warn" };

export const stateMark = (state) => STATES[state] ?? "";

export function state(word) {
  return h("span", { class: `state ${stateMark(word)}` }, word);
}

/** A bar for a share of 0 to 1. */
export function meter(share, label, mark = "") {
  const width = Math.max(0, Math.min(1, share || 0)) * 100;
  return h("div", { class: `meter ${mark}`, role: "img", "aria-label": label }, svg("svg", { viewBox: "0 0 100 6", preserveAspectRatio: "none" }, svg("rect", { width, height: 6 })));
}

/** Several buttons of which one is chosen. */
export function segments(label, choices, chosen, onChoose) {
  const buttons = choices.map(([value, title]) => h("button", { type: "button", "aria-pressed": String(value === chosen), onclick: () => {
    for (const [index, button] of buttons.entries()) button.setAttribute("aria-pressed", String(choices[index][0] === value));
    onChoose(value);
  } }, title));
  return h("div", { class: "segments", role: "group", "aria-label": label }, buttons);
}

/** Say something that was done, for those who see and those who hear. */
export function toast(text) {
  const element = h("div", { class: "toast" }, text);
  document.getElementById("toasts").append(element);
  setTimeout(() => element.remove(), 6000);
}

/** A place on a page for what went wrong with it; `clear()` when it works again. */
export function trouble() {
  const element = h("div", { role: "status" });
  let said = "";
  return {
    element,
    show(problem) {
      if (problem.status === 401 || problem.status === 0 || said === problem.message) return;     // shown elsewhere
      said = problem.message;
      fill(element, problemNote(problem));
    },
    clear() {
      if (said) fill(element);
      said = "";
    },
  };
}

/** What stands in place of a part that this daemon does not have. */
export function lacking(what) {
  return h("p", { class: "empty" }, `${what} This daemon does not offer it; a newer proxyd does.`);
}
