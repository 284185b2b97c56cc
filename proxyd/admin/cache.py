"""The cache: what it holds, why something is not in it, and purges. Each purge leaves one audit record."""
from __future__ import annotations

from dataclasses import asdict

from aiohttp import web

from proxyd.admin import problem
from proxyd.admin.control import Control
from proxyd.admin.guard import json_answer
from proxyd.admin.problem import Problem
from proxyd.admin.request import JSON, View, audited, json_object
from proxyd.caching.purge import parse_order, words_of
from proxyd.config.target import client_part, field_part, port_part, query_part, request_parts
from proxyd.snapshot.explain import Question


class CacheViews:
    def __init__(self, control: Control) -> None:
        self._control = control
        self.table: tuple[View, ...] = (
            View("GET", "/cache", self.stats, "the cache: results of routes, what the store holds, tiers, the miss-ratio curve"),
            View("GET", "/cache/objects", self.objects, "what is stored under url=URL", query={"url": "[http://]HOST/PATH"}),
            View("GET", "/cache/why", self.why, "what is stored under url=URL, or why nothing is; header=NAME:VALUE, client=, listener=",
                 query={"url": "[http://]HOST/PATH", "header": "NAME: VALUE of the request; may come again", "client": "an address",
                        "listener": "a name"}),
            View("POST", "/cache/purge", self.purge, "purge: {url, prefix, tag or host: TEXT or [TEXT], or all: true; soft: true}",
                 action="cache.purge", takes=JSON),
        )

    async def stats(self, request: web.Request) -> web.Response:
        return json_answer(asdict(self._control.cache()))

    async def objects(self, request: web.Request) -> web.Response:
        url = _url(request)
        try:
            found = self._control.cache_objects(url)
        except ValueError as error:
            raise Problem(problem.PARAMETER_INVALID, str(error)) from error
        return json_answer({"url": url, "objects": [asdict(entry) for entry in found]})

    async def why(self, request: web.Request) -> web.Response:
        url = _url(request)
        try:
            method, host, path = request_parts("GET", url)
            fields = tuple(field_part(*_field(text)) for text in request.query.getall("header", []))
            client = client_part(request.query.get("client", ""))
            question = Question(method, host, path, client, request.query.get("listener", ""), fields, query_part(url), port_part(url))
            found = self._control.cache_why(url, question)
        except ValueError as error:
            raise Problem(problem.PARAMETER_INVALID, str(error)) from error
        return json_answer(asdict(found))

    async def purge(self, request: web.Request) -> web.Response:
        order = await json_object(request)
        try:
            orders = parse_order(order)
        except ValueError as error:
            raise Problem(problem.PARAMETER_INVALID, str(error)) from error
        audited(request, words_of(orders))
        purged = await self._control.purge(orders)
        audited(request, words_of(orders), objects=purged.objects)
        return json_answer({
            "purged": purged.objects,
            "orders": [asdict(entry) for entry in purged.orders],
            "seconds": round(purged.seconds, 6),
            "spread": purged.spread,
        })


def _url(request: web.Request) -> str:
    url = request.query.get("url", "")
    if not url:
        raise Problem(problem.PARAMETER_INVALID, "`url` is missing; it is [http://]HOST/PATH")
    return url


def _field(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise ValueError(f"`{text}` is not a field; write NAME: VALUE")
    return name.strip(), value
