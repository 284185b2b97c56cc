// A table that can be sorted and filtered and is filled again and again. Rows are kept by key and cells are changed only where
// they differ: the button that has the focus, and text that is being selected, survive.

import { fill, fresh, h } from "./dom.js";

/**
 * columns: {id, title, name?: in words, text(row), sort(row)?, render(row)?, mark(row)?, kind?: "num" | "main" | "actions" | "order"}
 *   `text` is what the cell says, and by which it is told whether it has changed; `render` makes nodes of it, `mark` is a class for it.
 */
export class Table {
  constructor({ label, columns, key, empty = "Nothing here.", sort = null, search = null }) {
    Object.assign(this, { columns, key, empty, search });
    this.sorted = sort ?? { id: columns[0].id, down: false };
    this.rows = [];
    this.made = new Map();
    this.needle = "";
    this.body = h("tbody", { role: "rowgroup" });
    this.heads = new Map(columns.map((column) => [column.id, this.#head(column)]));
    this.table = h("table", { class: "table", role: "table", "aria-label": label },
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, [...this.heads.values()])), this.body);
    this.nothing = h("p", { class: "empty", hidden: true });
    this.element = h("div", { class: "table-frame" }, this.table, this.nothing);
    this.tools = this.#tools(label);
    this.#showOrder();
  }

  update(rows) {
    this.rows = rows;
    this.#draw();
  }

  #head(column) {
    const kind = ["num", "order"].includes(column.kind) ? column.kind : "";
    if (!column.sort) return h("th", { role: "columnheader", scope: "col", class: kind }, column.title || h("span", { class: "visually-hidden" }, "Actions"));
    const button = h("button", { type: "button", class: "sort", onclick: () => this.#order(column.id) }, column.title);
    return h("th", { role: "columnheader", scope: "col", class: kind }, button);
  }

  #tools(label) {
    const found = [];
    if (this.search) {
      const id = fresh("search");
      const input = h("input", { id, type: "search", placeholder: this.search, autocomplete: "off", oninput: () => { this.needle = input.value.trim().toLowerCase(); this.#draw(); } });
      found.push(h("label", { class: "visually-hidden", for: id }, `${this.search} in ${label}`), input);
    }
    const sortable = this.columns.filter((column) => column.sort);
    if (sortable.length > 1) {      // where the heads are not shown
      this.choice = h("select", { onchange: () => this.#order(this.choice.value, true) },
        sortable.map((column) => h("option", { value: column.id }, column.name ?? column.title)));
      found.push(h("label", { class: "field sort-choice" }, "Sort by", this.choice));
    }
    return found;
  }

  #order(id, chosen = false) {
    const column = this.columns.find((entry) => entry.id === id);
    const down = this.sorted.id === id && !chosen ? !this.sorted.down : column.kind === "num";
    this.sorted = { id, down };
    this.#showOrder();
    this.#draw();
  }

  #showOrder() {
    for (const [id, head] of this.heads) {
      if (id === this.sorted.id) head.setAttribute("aria-sort", this.sorted.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    if (this.choice) this.choice.value = this.sorted.id;
  }

  #shown() {
    const needle = this.needle;
    const rows = needle ? this.rows.filter((row) => this.columns.some((column) => column.kind !== "actions" && String(column.text(row)).toLowerCase().includes(needle))) : [...this.rows];
    const by = this.columns.find((column) => column.id === this.sorted.id)?.sort;
    if (!by) return rows;
    const sign = this.sorted.down ? -1 : 1;
    return rows.sort((a, b) => {
      const [x, y] = [by(a), by(b)];
      if (x === y) return 0;
      if (x === null || x === undefined) return 1;
      if (y === null || y === undefined) return -1;
      return sign * (typeof x === "string" ? x.localeCompare(y, "en", { numeric: true }) : x - y);
    });
  }

  #draw() {
    const shown = this.#shown();
    const seen = new Set();
    shown.forEach((row, index) => {
      const key = this.key(row);
      seen.add(key);
      let line = this.made.get(key);
      if (!line) this.made.set(key, (line = this.#line()));
      this.#write(line, row);
      if (this.body.children[index] !== line.element) this.body.insertBefore(line.element, this.body.children[index] ?? null);
    });
    for (const [key, line] of this.made) {
      if (!seen.has(key)) {
        line.element.remove();
        this.made.delete(key);
      }
    }
    this.table.hidden = !shown.length;
    this.nothing.hidden = shown.length > 0;
    if (!shown.length) fill(this.nothing, this.rows.length ? `Nothing matches “${this.needle}”.` : this.empty);
  }

  #line() {
    const cells = this.columns.map((column) => {
      const kind = { num: "num", main: "main-cell", actions: "actions", order: "order" }[column.kind] ?? "";
      return h("td", { role: "cell", class: kind, "data-label": column.title });
    });
    return { element: h("tr", { role: "row" }, cells), cells, said: [] };
  }

  #write(line, row) {
    this.columns.forEach((column, index) => {
      const text = String(column.text(row) ?? "");
      const mark = column.mark?.(row) ?? "";
      const said = `${mark}\u0000${text}`;
      line.row = row;
      if (line.said[index] === said) return;
      line.said[index] = said;
      const cell = line.cells[index];
      const content = column.render ? column.render(row, () => line.row) : h("span", { class: mark || null }, text);
      fill(cell, content);
      cell.classList.toggle("blank", text === "");
    });
  }
}
