"""Tests of a filter, without a proxy: the filter is loaded as a worker loads it, and what it returns is held against what proxyd accepts.

    pytest_plugins = ["proxyd.filters.testing"]         # in conftest.py

    def test_unknown_tenants_are_refused(proxyd_filter):
        tenant = proxyd_filter("filters/tenant.py")
        assert tenant.run(Request(host="nobody.example.com")).response.status == 404

    def test_the_server_learns_the_plan(proxyd_filter):
        outcome = proxyd_filter("filters/tenant.py").run(Request(host="acme.example.com", headers={"X-Plan": "forged"}))
        assert outcome.request.headers.get_all("x-plan") == ("gold",)

    async def test_in_a_test_that_is_a_coroutine(proxyd_filter):
        outcome = await proxyd_filter("filters/tenant.py").arun(Request(), ResponseHead(200, {"X-Internal-Node": "a"}))
        assert "x-internal-node" not in outcome.response.headers

Without pytest: `run(load_filter("filters/tenant.py"), Request(...))`.
"""
from __future__ import annotations

import asyncio
import inspect
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from proxyd.filters.api import Changes, Headers, Request, Response, ResponseHead, pairs_of
from proxyd.filters.protocol import HookWord, answer
from proxyd.filters.source import Source, load_source

TIMEOUT = 1.0      # seconds: what the config says unless it says something else
_numbers = count(1)


class FilterTimeout(AssertionError):
    """The filter took longer than its `timeout`. In the proxy the call would have failed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a message.

    result     what the filter has returned
    request    what the server is sent, or would have been; as it was, where only `on_response` ran
    response   what the client is sent: the filter's own answer, or the server's as `on_response` changes it; None: the server is asked
    seconds    that the filter took
    """

    result: Changes | Response | None
    request: Request
    response: Response | ResponseHead | None
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether the message goes on."""
        return not isinstance(self.result, Response)


@dataclass(frozen=True, slots=True)
class Filter:
    """A loaded filter. `module` is its file, for what else a test wants of it."""

    source: Source
    timeout: float = TIMEOUT

    @property
    def module(self) -> Any:
        return self.source.module

    def run(self, request: Request, response: ResponseHead | None = None) -> Outcome:
        """`on_request(request)`; with a `response`, `on_response(request, response)`. On a loop of its own.

        What the filter raises is raised here. TypeError, ValueError: it returned what proxyd would not take. FilterTimeout.
        """
        return asyncio.run(self.arun(request, response))

    async def arun(self, request: Request, response: ResponseHead | None = None) -> Outcome:
        """As `run`, on the running loop."""
        hook: HookWord = "request" if response is None else "response"
        function = self.source.hooks.get(hook)
        if function is None:
            raise LookupError(f"{self.source.path} has no on_{hook}")
        began = time.monotonic()
        result = function(request) if response is None else function(request, response)
        if inspect.isawaitable(result):
            try:
                result = await asyncio.wait_for(result, self.timeout)
            except TimeoutError:
                raise FilterTimeout(f"on_{hook} took longer than {self.timeout:g} s") from None
        seconds = time.monotonic() - began
        if seconds > self.timeout:
            raise FilterTimeout(f"on_{hook} took {seconds:.3f} s, longer than {self.timeout:g} s, and kept its worker from everything else")
        answer(0, hook, result)
        if isinstance(result, Response):
            return Outcome(result, request, result, seconds)
        if response is None:
            return Outcome(result, changed_request(request, result), None, seconds)
        return Outcome(result, request, changed_response(response, result), seconds)


def load_filter(path: str | Path, timeout: float = TIMEOUT) -> Filter:
    """SourceError: it does not load, or has no hook. `timeout`: seconds that each call may take."""
    return Filter(load_source(Path(path).absolute(), f"proxyd_filter_{next(_numbers)}"), timeout)


def run(filter_: Filter, request: Request, response: ResponseHead | None = None) -> Outcome:
    return filter_.run(request, response)


def changed_request(request: Request, changes: Changes | None) -> Request:
    """What the server is sent."""
    if changes is None:
        return request
    return Request(
        request.method, request.path if changes.path is None else changes.path, request.query if changes.query is None else changes.query,
        headers=changed_fields(request.headers, changes), scheme=request.scheme, host=request.host, client=request.client, id=request.id,
        user=request.user,
    )


def changed_response(response: ResponseHead, changes: Changes | None) -> ResponseHead:
    """What the client is sent."""
    if changes is None:
        return response
    return ResponseHead(response.status if changes.status is None else changes.status, changed_fields(response.headers, changes))


def changed_fields(headers: Headers, changes: Changes) -> Headers:
    dropped = {name.lower() for name in (*changes.remove, *changes.set)}
    kept = [pair for pair in headers.fields if pair[0].lower() not in dropped]
    return Headers([*kept, *changes.set.items(), *pairs_of(changes.add)])


@pytest.fixture
def proxyd_filter(request: pytest.FixtureRequest) -> Iterator[Callable[..., Filter]]:
    """`proxyd_filter(path, timeout=1.0)` loads a filter anew; relative paths start at the folder of the test, or at that of the run.

    What it imports from its own folder is forgotten after the test.
    """
    before, modules = list(sys.path), set(sys.modules)

    def load(path: str | Path, timeout: float = TIMEOUT) -> Filter:
        places = [request.path.parent / path, request.config.rootpath / path]
        return load_filter(next((place for place in places if place.exists()), places[0]), timeout)

    yield load
    folders = tuple(set(sys.path) - set(before))
    sys.path[:] = before
    for name in set(sys.modules) - modules:
        file = getattr(sys.modules[name], "__file__", None)
        if isinstance(file, str) and folders and file.startswith(folders):
            del sys.modules[name]
