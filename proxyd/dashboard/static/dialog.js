// Dialogs: <dialog> traps the focus, closes by Esc and gives the focus back, so that nothing of that is ours.

import { fill, fresh, h } from "./dom.js";
import { problemNote } from "./parts.js";

/** A dialog with a head and a close button; returns {body, foot, close}. */
export function open(title, { wide = false } = {}) {
  const id = fresh("dialog");
  const body = h("div", { class: "dialog-body" });
  const foot = h("div", { class: "dialog-foot" });
  const element = h("dialog", { class: wide ? "wide" : null, "aria-labelledby": id },
    h("div", { class: "dialog-head" }, h("h2", { id }, title)), body, foot);
  element.addEventListener("close", () => element.remove());
  element.addEventListener("click", (event) => { if (event.target === element) element.close(); });
  document.body.append(element);
  element.showModal();
  return { element, body, foot, close: () => element.close() };
}

/**
 * Ask before something is changed. `run()` does it; its Problem is shown in the dialog, which then stays.
 * `onProblem(problem, body)` may add what helps, and return true to have the button ask again.
 */
export function confirm({ title, text, fields = [], action, danger = false, run, done = () => {}, onProblem = () => false }) {
  const dialog = open(title);
  const trouble = h("div", { role: "alert" });
  const cancel = h("button", { type: "button", onclick: dialog.close }, "Cancel");
  const go = h("button", { type: "submit", class: danger ? "danger" : "primary" }, action);
  const form = h("form", { class: "stack" });
  form.append(h("div", { class: "dialog-body" }, [text].flat().map((entry) => (typeof entry === "string" ? h("p", {}, entry) : entry)), fields, trouble),
    h("div", { class: "dialog-foot" }, cancel, go));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    go.disabled = true;
    fill(trouble);
    try {
      const found = await run();
      dialog.close();
      done(found);
    } catch (problem) {
      fill(trouble, problemNote(problem));
      onProblem(problem, form);
      go.disabled = false;
      go.focus();
    }
  });
  dialog.body.remove();
  dialog.foot.remove();
  dialog.element.append(form);
  (fields.length ? form.querySelector("input, select") ?? go : go).focus();
  return dialog;
}

/** A dialog that only shows something. */
export function show(title, nodes, { wide = true } = {}) {
  const dialog = open(title, { wide });
  fill(dialog.body, nodes);
  fill(dialog.foot, h("button", { type: "button", onclick: dialog.close }, "Close"));
  dialog.foot.querySelector("button").focus();
  return dialog;
}
