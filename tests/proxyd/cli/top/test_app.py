"""The screen, driven by Textual's Pilot: what is shown, and what keys do."""
from __future__ import annotations

import contextlib
import queue
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, Input, Static

from proxyd.admin.client import AdminError
from proxyd.cli.top import app as app_module
from proxyd.cli.top.app import Question, Top
from proxyd.cli.top.rows import Sample
from proxyd.cli.top.source import State
from tests.proxyd.cli.samples import route, sample, server, upstream
from tests.support.wait import until

SIZE = (80, 24)


class Daemon:
    """A `Source` that gives what a test puts into it."""

    def __init__(self, *first: Sample) -> None:
        self.given: queue.SimpleQueue[Sample | Exception | None] = queue.SimpleQueue()
        self.over = False
        self.orders: list[tuple[str, str, str]] = []
        self.refusal = ""
        for one in first:
            self.given.put(one)

    def samples(self) -> Iterator[Sample]:
        while not self.over and (found := self.given.get()) is not None:
            if isinstance(found, Exception):
                raise found
            yield found

    def set_state(self, upstream: str, server: str, state: State) -> str:
        self.orders.append((upstream, server, state))
        if self.refusal:
            raise AdminError(self.refusal)
        return f"{upstream}/{server} {state}"


def two_servers(state: str = "up") -> dict[str, Any]:
    servers = (server("10.0.0.1:80", requests=50), server("10.0.0.2:80", state, requests=10))
    routes = [route("api", 500, times=0.001), route("media", 20)]
    wrong = ["app/10.0.0.2:80 is down for 3 s"] if state == "down" else []
    return sample(routes=routes, upstreams=[upstream("app", *servers)], wrong=wrong)


def column(app: Top, table: str, number: int) -> list[str]:
    found: DataTable[str] = app.query_one(f"#{table}", DataTable)
    return [str(found.get_row_at(index)[number]).strip() for index in range(found.row_count)]


def text_of(app: Top, name: str) -> str:
    return str(app.query_one(f"#{name}", Static).render())


@pytest.fixture
def daemon() -> Daemon:
    return Daemon(two_servers("down"))


async def shown(app: Top, rows: int = 2) -> None:
    await until(lambda: app.query_one("#routes", DataTable).row_count == rows)


@contextlib.asynccontextmanager
async def running(daemon: Daemon) -> AsyncIterator[tuple[Top, Pilot[None]]]:
    """The app with its first sample on the screen. Its samples end before it does: a thread waits for them."""
    app = Top(daemon)
    async with app.run_test(size=SIZE) as pilot:
        await shown(app)
        yield app, pilot
        daemon.over = True          # before the word that ends a wait: the app may ask again at once
        daemon.given.put(None)


async def test_what_is_shown(daemon: Daemon) -> None:
    async with running(daemon) as (app, pilot):
        assert column(app, "routes", 0) == ["web/api", "web/media"]
        assert column(app, "servers", 0) == ["app", "10.0.0.1:80", "10.0.0.2:80"]
        assert column(app, "servers", 1) == ["1/2 up", "up", "down"], "states are words"
        assert "52 req/s" in text_of(app, "headline")
        assert text_of(app, "wrong") == "! app/10.0.0.2:80 is down for 3 s"
        await pilot.pause()
        assert all(table.region.width <= 80 and table.virtual_size.width <= 80 for table in app.query(DataTable)), "it fits 80 columns"


async def test_keys_of_the_tables(daemon: Daemon) -> None:
    async with running(daemon) as (app, pilot):
        await pilot.press("shift+tab")
        await pilot.press("r")
        assert column(app, "routes", 0) == ["web/media", "web/api"]
        app._sorts["routes"] = (7, True)
        await pilot.press("s")
        assert column(app, "routes", 0) == ["web/api", "web/media"], "behind the last column comes the first, by name"
        await pilot.press("p")
        app.show(sample(routes=[route("new")]))
        assert column(app, "routes", 0) == ["web/api", "web/media"], "it stands still"
        await pilot.press("p", "question_mark")
        app.show(sample(routes=[route("new")]))
        assert isinstance(app.screen, Question), "help"
        await pilot.press("escape")
        assert column(app, "routes", 0) == ["web/new"]


async def test_filter(daemon: Daemon) -> None:
    async with running(daemon) as (app, pilot):
        await pilot.press("slash", "d", "i", "enter")
        assert column(app, "routes", 0) == ["web/media"]
        assert column(app, "servers", 0) == []
        assert text_of(app, "headline").startswith("only di: ")
        assert not app.query_one("#filter", Input).has_class("shown")
        await pilot.press("escape")
        assert column(app, "routes", 0) == ["web/api", "web/media"]


async def test_drain_asks_first_and_a_refusal_is_told(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(daemon) as (app, pilot):
        await pilot.press("d")
        assert daemon.orders == []
        assert not isinstance(app.screen, Question), "an upstream is no server"
        await pilot.press("down", "d")
        assert isinstance(app.screen, Question)
        await pilot.press("n")
        assert daemon.orders == []
        await pilot.press("d", "y")
        await until(lambda: daemon.orders == [("app", "10.0.0.1:80", "drain")])
        told = list[str]()
        monkeypatch.setattr(app, "notify", lambda text, **_: told.append(text))
        daemon.refusal = "it may not"
        await pilot.press("down", "y", "y")
        await until(lambda: told == ["it may not"])
        assert daemon.orders[1:] == [("app", "10.0.0.2:80", "ready")]


async def test_the_cursor_stays_on_its_server(daemon: Daemon) -> None:
    async with running(daemon) as (app, pilot):
        await pilot.press("down", "down")
        grown = sample(routes=[route("api")], upstreams=[upstream("a", server("10.0.9.1:80")), *two_servers()["upstreams"]])
        daemon.given.put(grown)
        await shown(app, 1)
        table: DataTable[str] = app.query_one("#servers", DataTable)
        assert (column(app, "servers", 0)[table.cursor_row], table.cursor_row) == ("10.0.0.2:80", 4)


async def test_a_daemon_that_leaves_is_asked_again(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "AGAIN_S", 0.01)
    said = list[str]()
    async with running(daemon) as (app, _):
        monkeypatch.setattr(app, "_say", said.append)
        daemon.given.put(AdminError("no proxyd answers"))
        daemon.given.put(None)
        daemon.given.put(sample(routes=[route("back")]))
        await shown(app, 1)
        assert said[:2] == ["no proxyd answers; asking again every 0.01 s", "the daemon has left; asking again every 0.01 s"]
