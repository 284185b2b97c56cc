"""The screen: a headline, what is wrong, routes above, upstreams with their servers below. Made for 80 columns and 24 lines.

States are words, never colours alone; NO_COLOR is Textual's to obey. A thread reads samples and hands them to the app; orders to the daemon
are given on threads, too, so that a slow daemon does not freeze the keys.
"""
from __future__ import annotations

import threading
from typing import ClassVar

from textual import on, work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, Input, Static

from proxyd.admin.client import AdminError
from proxyd.cli.top.rows import (
    ROUTE_COLUMNS,
    SERVER_COLUMNS,
    Row,
    Sample,
    arranged_routes,
    arranged_servers,
    headline,
    route_rows,
    server_groups,
)
from proxyd.cli.top.source import Source, State

AGAIN_S = 2.0            # after which a daemon that does not answer is asked again

HELP = """\
tab      the other table            up, down  choose a row
s        sort by the next column    r         the other way round
/        show only what has a text  escape    show all again
d        drain the chosen server    y         make it ready again
p        stand still, go on         q         leave

REQ/S, 5XX/S, FAIL/S, ERR/S and times are those of the last ten seconds.
5XX/S   answers with a 5xx, whoever made them
FAIL/S  answers that proxyd made of a failure (4xx too)
ERR/S   tries that failed, or had a 5xx
BUSY    requests in flight
~       the mean, of servers"""


class Question(ModalScreen[bool]):
    """Yes or no; with no question, something to read."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,enter", "answer(True)", "yes"), Binding("n,escape,q,question_mark", "answer(False)", "no"),
    ]
    CSS = """
    Question { align: center middle; }
    Question > Static { width: auto; max-width: 78; height: auto; border: ascii; padding: 0 1; }
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        yield Static(self._text, markup=False)

    def action_answer(self, yes: bool) -> None:
        self.dismiss(yes)


class Top(App[None]):
    TITLE = "proxyd top"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #headline { height: 1; text-style: bold; }
    #wrong { height: auto; max-height: 3; }
    #tables { height: 1fr; }
    DataTable { height: 1fr; }
    #filter { height: 1; border: none; padding: 0; display: none; }
    #filter.shown { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "sort", "sort"), Binding("r", "reverse", "reverse"), Binding("slash", "filter", "filter", key_display="/"),
        Binding("escape", "all", "all", show=False),
        Binding("d", "set_state('drain')", "drain"), Binding("y", "set_state('ready')", "ready"),
        Binding("p", "pause", "pause"), Binding("question_mark", "help", "help", key_display="?"), Binding("q", "quit", "quit"),
    ]

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source = source
        self._sample: Sample | None = None
        self._paused = False
        self._leaving = threading.Event()
        self._wanted = ""
        self._sorts = {"routes": (1, True), "servers": (0, False)}       # by which column, and whether downwards
        self._rows: dict[str, list[Row]] = {"routes": [], "servers": []}

    def compose(self) -> ComposeResult:
        yield Static("waiting for the daemon", id="headline", markup=False)
        yield Static("", id="wrong", markup=False)
        with Vertical(id="tables"):
            for name in ("routes", "servers"):
                yield DataTable[str](id=name, cursor_type="row", zebra_stripes=False)
        yield Input(placeholder="show only what has this text", id="filter", compact=True)
        yield Footer()

    def on_mount(self) -> None:
        for name, columns in (("routes", ROUTE_COLUMNS), ("servers", SERVER_COLUMNS)):
            table = self._table(name)
            table.cell_padding = 1
            for column in columns:
                table.add_column(column, key=column)
        self._table("servers").focus()
        self._read()

    def on_unmount(self) -> None:
        self._leaving.set()

    # ------------------------------------------------------------------ samples
    @work(thread=True, exit_on_error=False)
    def _read(self) -> None:
        """Ends with the app. A daemon that is gone is asked again until it is back."""
        while not self._leaving.is_set():
            try:
                for sample in self._source.samples():
                    if self._leaving.is_set():
                        return
                    self.call_from_thread(self.show, sample)
                reason = "the daemon has left"
            except AdminError as error:
                reason = str(error)
            if not self._leaving.is_set():
                self.call_from_thread(self._say, f"{reason}; asking again every {AGAIN_S:g} s")
            self._leaving.wait(AGAIN_S)

    def show(self, sample: Sample) -> None:
        if not self._paused:
            self._sample = sample
            self._refresh()

    def _refresh(self) -> None:
        sample = self._sample
        if sample is None:
            return
        self._say((f"only {self._wanted}: " if self._wanted else "") + headline(sample))
        wrong = sample["wrong"]
        more = f" (and {len(wrong) - 2} more)" if len(wrong) > 2 else ""
        self.query_one("#wrong", Static).update("\n".join(f"! {text}" for text in wrong[:2]) + more)
        column, down = self._sorts["routes"]
        self._fill("routes", arranged_routes(route_rows(sample), column, down=down, wanted=self._wanted))
        column, down = self._sorts["servers"]
        self._fill("servers", arranged_servers(server_groups(sample), column, down=down, wanted=self._wanted))

    def _fill(self, name: str, rows: list[Row]) -> None:
        """The cursor stays on the row that it is on, wherever that has gone."""
        table, chosen = self._table(name), self._chosen(name)
        self._rows[name] = rows
        table.clear()
        for row in rows:
            table.add_row(*row.cells, key=row.key)
        at = next((index for index, row in enumerate(rows) if chosen is not None and row.key == chosen.key), 0)
        table.move_cursor(row=at, animate=False)

    def _say(self, text: str) -> None:
        self.query_one("#headline", Static).update(text)

    def _table(self, name: str) -> DataTable[str]:
        found: DataTable[str] = self.query_one(f"#{name}", DataTable)
        return found

    def _chosen(self, name: str) -> Row | None:
        at, rows = self._table(name).cursor_row, self._rows[name]
        return rows[at] if 0 <= at < len(rows) else None

    def _focused(self) -> str:
        return "routes" if self._table("routes").has_focus else "servers"

    # ------------------------------------------------------------------ keys
    def action_sort(self) -> None:
        name = self._focused()
        columns = ROUTE_COLUMNS if name == "routes" else SERVER_COLUMNS
        column = (self._sorts[name][0] + 1) % len(columns)
        self._sorts[name] = column, columns[column] not in ("ROUTE", "UPSTREAM/SERVER", "STATE")
        self._refresh()
        self.notify(f"{name} by {columns[column]}", timeout=2)

    def action_reverse(self) -> None:
        name = self._focused()
        column, down = self._sorts[name]
        self._sorts[name] = column, not down
        self._refresh()

    def action_filter(self) -> None:
        field = self.query_one("#filter", Input)
        field.add_class("shown")
        field.focus()

    def action_all(self) -> None:
        self.query_one("#filter", Input).value = ""
        self._leave_filter()

    @on(Input.Changed, "#filter")
    def _on_filter(self, event: Input.Changed) -> None:
        self._wanted = event.value.strip().lower()
        self._refresh()

    @on(Input.Submitted, "#filter")
    def _leave_filter(self) -> None:
        self.query_one("#filter", Input).remove_class("shown")
        self._table("servers").focus()

    def action_pause(self) -> None:
        self._paused = not self._paused
        self._say("standing still; p goes on" if self._paused else "going on")

    def action_help(self) -> None:
        self.push_screen(Question(HELP))

    def action_set_state(self, state: State) -> None:
        row = self._chosen("servers")
        if row is None or not row.server:
            self.notify("choose a server in the lower table first", severity="warning", timeout=3)
            return
        sentence = f"Drain {row.upstream}/{row.server}? It gets no new requests; what is under way finishes." if state == "drain" else (
            f"Make {row.upstream}/{row.server} ready? Requests may go to it again.")

        def decided(yes: bool | None) -> None:
            if yes:
                self._order(row.upstream, row.server, state)

        self.push_screen(Question(f"{sentence}\n\ny: yes   n: no"), decided)

    @work(thread=True, exit_on_error=False)
    def _order(self, upstream: str, server: str, state: State) -> None:
        try:
            self.call_from_thread(self.notify, self._source.set_state(upstream, server, state), timeout=4)
        except AdminError as error:
            self.call_from_thread(self.notify, str(error), severity="error", timeout=8)
