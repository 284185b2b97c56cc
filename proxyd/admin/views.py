"""What each path of the admin API answers. Every view is a few lines over `Control`; `Views.table` is the whole API."""
from __future__ import annotations

import asyncio
import logging
from dataclasses import asdict

from aiohttp import web

from proxyd import codes
from proxyd.admin import problem
from proxyd.admin.access import VIEWS, Access
from proxyd.admin.audit import AuditViews
from proxyd.admin.auth import AuthViews
from proxyd.admin.cache import CacheViews
from proxyd.admin.configs import check_text, json_schema
from proxyd.admin.control import Control
from proxyd.admin.guard import json_answer
from proxyd.admin.limits import LimitViews
from proxyd.admin.login import LoginViews
from proxyd.admin.openapi import document
from proxyd.admin.problem import Problem
from proxyd.admin.request import JSON, YAML, View, asker, audited, body_text, demand, json_object, text_member, text_pairs, texts_member
from proxyd.admin.requests import RequestViews
from proxyd.admin.transactions import ConfigViews, diagnostic_facts
from proxyd.admin.turns import Turns
from proxyd.admin.upstreams import UpstreamViews
from proxyd.admin.watching import WatchViews
from proxyd.config.target import client_part, field_part, flow_parts, port_part, protocol_part, query_part, request_parts
from proxyd.process.upgrade import UpgradeError
from proxyd.snapshot.explain import Question
from proxyd.snapshot.explain_flow import FlowQuestion

PREFIX = "/api/v1"
CONFIG_VIEWS = ("file", "running", "full")

_log = logging.getLogger("proxyd.admin")


class Views:
    def __init__(self, control: Control, access: Access) -> None:
        self._control, self._checks = control, Turns()
        self.table: tuple[View, ...] = (
            View("GET", "", self.index, "this list"),
            View("GET", "/status", self.status, "the daemon, its listeners, upstreams and engines", vital=True, heavy=True),
            View("GET", "/ready", self.ready, "200 when traffic may come, else 503 with the reasons", at_root=True, vital=True),
            View("GET", "/live", self.live, "200 while every engine moves, else 503", at_root=True, vital=True),
            *ConfigViews(control).table,
            View("POST", "/check", self.check, "check the config in the body (role admin: it may include any file), or the daemon's file",
                 role="viewer", takes=YAML),
            View("GET", "/listeners", self.listeners, "the bound addresses"),
            View("GET", "/routes", self.routes, "the routes of every listener, in order", heavy=True),
            *UpstreamViews(control).table,
            *CacheViews(control).table,
            *LimitViews(control).table,
            *AuthViews(control).table,
            *LoginViews(access).table,
            *WatchViews(control).table,
            *RequestViews(control).table,
            *AuditViews(control).table,
            View("POST", "/route/explain", self.explain,
                 "what a request would meet: {url, method, host, headers, client, listener}, or a flow: {url: tcp://:5432, client, alpn}",
                 role="viewer", takes=JSON),
            View("POST", "/stop", self.stop, "drain and leave; {\"now\": true}: at once", role="admin", action="daemon.stop", takes=JSON),
            View("POST", "/upgrade", self.upgrade, "have a new process take over, then drain and leave",
                 role="admin", action="daemon.upgrade"),
            View("GET", "/metrics", self.metrics, "Prometheus metrics", at_root=True, answers="text/plain"),
            View("GET", "/schema.json", self.schema, "the JSON Schema of the config", answers="application/schema+json"),
            View("GET", "/openapi.json", self.openapi, "this API, as OpenAPI 3.1", at_root=True),
        )

    def add_to(self, application: web.Application) -> None:
        for view in self.table:
            for path in (PREFIX + view.path, view.path) if view.at_root else (PREFIX + view.path,):
                for method in ("GET", "HEAD") if view.method == "GET" else (view.method,):
                    application[VIEWS][application.router.add_route(method, path, view.handler)] = view

    # ------------------------------------------------------------------ facts
    async def index(self, request: web.Request) -> web.Response:
        return json_answer([{"method": view.method, "path": PREFIX + view.path, "summary": view.summary} for view in self.table])

    async def status(self, request: web.Request) -> web.Response:
        return json_answer(asdict(self._control.status()))

    async def ready(self, request: web.Request) -> web.Response:
        reasons = self._control.not_ready()
        return json_answer({"ready": not reasons, "reasons": list(reasons)}, 503 if reasons else 200)

    async def live(self, request: web.Request) -> web.Response:
        dead = [engine.index for engine in self._control.status().engines if not engine.alive]
        return json_answer({"live": not dead, "dead_engines": dead}, 503 if dead else 200)

    async def listeners(self, request: web.Request) -> web.Response:
        return json_answer([asdict(view) for view in self._control.status().listeners])

    async def routes(self, request: web.Request) -> web.Response:
        return json_answer([asdict(view) for view in self._control.routes()])

    async def metrics(self, request: web.Request) -> web.Response:
        body, content_type = await self._control.metrics.render(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})

    async def schema(self, request: web.Request) -> web.Response:
        return json_answer(await asyncio.to_thread(json_schema), content_type="application/schema+json")

    async def openapi(self, request: web.Request) -> web.Response:
        return json_answer(document(self.table, PREFIX, self._control.status().version))

    # ------------------------------------------------------------------ questions and orders
    async def check(self, request: web.Request) -> web.Response:
        if request.can_read_body:
            demand(request, "admin", "checking another config, which may name any file of this machine and is told what stands in it,")
        async with self._checks.take():
            text, path = await body_text(request), self._control.config_path
            if text is None and path is None:
                text = self._control.config_text
            diagnostics = await asyncio.to_thread(check_text, text, path)
        errors = sum(1 for entry in diagnostics if entry.severity == "error")
        return json_answer({
            "ok": not errors,
            "errors": errors,
            "warnings": len(diagnostics) - errors,
            "diagnostics": diagnostic_facts(diagnostics),
        })

    async def explain(self, request: web.Request) -> web.Response:
        value = await json_object(request)
        url = text_member(value, "url", "")
        if not url:
            raise Problem(problem.PARAMETER_INVALID, "`url` is missing; it is a path, a whole URL, or `tcp://:5432`")
        listener = text_member(value, "listener", "")
        headers = text_pairs(value, "headers")
        try:
            flow = flow_parts(url)
            if flow is not None:
                kind, host, flow_port, path = flow
                protocols = tuple(protocol_part(name) for name in texts_member(value, "alpn"))
                client = client_part(text_member(value, "client", ""))
                asked = FlowQuestion(kind, host, flow_port, path, client, listener, protocols)
                return json_answer([asdict(decision) for decision in self._control.explain_flow(asked)])
            named = text_member(value, "host", "")
            method, host, path = request_parts(text_member(value, "method", "GET"), url, named)
            port = port_part(url, named)
            client = client_part(text_member(value, "client", ""))
            fields = tuple(field_part(*pair) for pair in headers)
        except ValueError as error:
            raise Problem(problem.PARAMETER_INVALID, str(error)) from error
        question = Question(method, host, path, client, listener, fields, query_part(url), port)
        return json_answer([asdict(decision) for decision in self._control.explain(question)])

    async def stop(self, request: web.Request) -> web.Response:
        now = (await json_object(request)).get("now", False)
        if not isinstance(now, bool):
            raise Problem(problem.PARAMETER_INVALID, "`now` is true or false")
        _log.info("stop asked for by %s%s", asker(request), ", at once" if now else "")
        audited(request, "", now=now)
        phase = self._control.status().phase
        self._control.stop(now=now)                  # only begins: this server is closed last, and lets answers out first
        return json_answer({"stopping": True, "now": now, "was": phase}, 202)

    async def upgrade(self, request: web.Request) -> web.Response:
        _log.info("upgrade asked for by %s", asker(request))
        try:
            return json_answer(asdict(await self._control.upgrade()))
        except UpgradeError as error:
            raise Problem(problem.CHANGES[codes.NO_UPGRADE.code], f"{error}; the old one serves on", output=error.output) from error
