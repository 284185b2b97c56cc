"""The config as a whole, in its canonical form. Every field is type, default, bounds, unit and documentation of its setting at once.

Shorthands are of two kinds. Those of one field stand beside it (`Short`). Those that move things about — `listen`, `to` with
addresses, a listener's own `to`, missing names — are lifted by lift.py before validation; their fields are marked `SHORT_FORM`
and are None in a loaded config.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema

from proxyd.config.accept import ConnectionLimits, Listener, PeerTrust
from proxyd.config.access import Access
from proxyd.config.active import Active
from proxyd.config.address import Address, BindAddress
from proxyd.config.admin import Admin, AdminUser
from proxyd.config.balance import Balance, Zones
from proxyd.config.base import ONE_OR_MORE, SHORT_FORM, STRING, Described, Model, Short
from proxyd.config.branches import Failover, Mirror, Pin
from proxyd.config.builtin import BUILT_IN
from proxyd.config.cache import Aside, Cache, Memory, Purge, SnapshotFile
from proxyd.config.cache_keys import Bypass
from proxyd.config.circuit import Adaptive, Circuit
from proxyd.config.cluster import SharedLimits
from proxyd.config.compress import Compress
from proxyd.config.concurrency import Concurrency, effective
from proxyd.config.error_pages import ErrorPage, PageFile
from proxyd.config.expectations import Expectation
from proxyd.config.flow_routes import FlowRoute, HelloMatch
from proxyd.config.flows import (
    Flow,
    FlowClientIp,
    FlowLimits,
    FlowListener,
    TcpFlow,
    TcpListener,
    TlsListener,
    UdpFlow,
    UdpLimits,
    UdpListener,
)
from proxyd.config.geoip import GeoIpField
from proxyd.config.headers import HeaderChanges, Headers
from proxyd.config.health import Health, Latency, Passive, SuccessRate
from proxyd.config.listeners import AnyListener, ClientIp, HttpListener, Limits
from proxyd.config.log import AccessLog, Log
from proxyd.config.match import Match
from proxyd.config.metrics import Metrics
from proxyd.config.overload import OverloadField
from proxyd.config.plans import UsageField, UsagePlan
from proxyd.config.policies import Defaults, Policy
from proxyd.config.redis_url import RedisUrl
from proxyd.config.regex import Regex
from proxyd.config.retry import Backoff, Budget, Hedge, Retry
from proxyd.config.rewrite import Rewrite
from proxyd.config.roles import PostgresRole, RedisRole
from proxyd.config.route_cache import Collapse, Grace, Heuristic, Negative, RouteCache, Ttl
from proxyd.config.routes import STORE_ROUTES, Redirect, Respond, Route, RouteTimeout, TargetsField
from proxyd.config.script import ScriptStep, Tcp, Udp
from proxyd.config.statuses import StatusSet
from proxyd.config.sticky import Sticky, StickyCookie
from proxyd.config.text import Name, Text, as_integer
from proxyd.config.tiers import Shared, TierCircuit
from proxyd.config.tracing import Tracing, TracingField
from proxyd.config.units import Duration, Lifetime, Percent, Rate, Size, Within
from proxyd.config.upstreams import Pool, ProxyHeader, Server, Upstream, UpstreamTimeout, expand_upstream
from proxyd.diagnostics.fail import fail, shown

__all__ = [
    "Access",
    "AccessLog",
    "Active",
    "Adaptive",
    "Address",
    "Admin",
    "AdminUser",
    "Aside",
    "Backoff",
    "Balance",
    "BindAddress",
    "Budget",
    "Bypass",
    "Cache",
    "Circuit",
    "ClientIp",
    "Collapse",
    "Compress",
    "Config",
    "ConnectionLimits",
    "Defaults",
    "Duration",
    "ErrorPage",
    "Expectation",
    "Failover",
    "Flow",
    "FlowClientIp",
    "FlowLimits",
    "FlowListener",
    "FlowRoute",
    "Grace",
    "HeaderChanges",
    "Headers",
    "Health",
    "Hedge",
    "HelloMatch",
    "Heuristic",
    "HttpListener",
    "Latency",
    "Lifetime",
    "Limits",
    "Listener",
    "Log",
    "Match",
    "Memory",
    "Metrics",
    "Mirror",
    "Negative",
    "Passive",
    "PeerTrust",
    "Percent",
    "Pin",
    "Policy",
    "Pool",
    "PostgresRole",
    "ProxyHeader",
    "Purge",
    "Rate",
    "Redirect",
    "RedisRole",
    "RedisUrl",
    "Regex",
    "Respond",
    "Retry",
    "Rewrite",
    "Route",
    "RouteCache",
    "RouteTimeout",
    "Runtime",
    "ScriptStep",
    "Server",
    "Shared",
    "Shutdown",
    "Size",
    "SnapshotFile",
    "StatusSet",
    "Sticky",
    "StickyCookie",
    "SuccessRate",
    "Tcp",
    "TcpFlow",
    "TcpListener",
    "TierCircuit",
    "TlsListener",
    "Tracing",
    "Ttl",
    "Udp",
    "UdpFlow",
    "UdpLimits",
    "UdpListener",
    "Upstream",
    "UpstreamTimeout",
    "Zones",
]


MAX_THREADS = 64


def check_threads(value: object) -> int | Literal["auto"]:
    if isinstance(value, str) and value != "auto" and not re.match(r"[-+]?[0-9]{1,18}\Z", value):
        raise fail("PXD-034", f"{shown(value)} is not a number of threads", "write `auto` (one a CPU) or 0 to 64")
    if value == "auto":
        return "auto"
    number = as_integer(value)
    if not isinstance(number, int | str) or not 0 <= int(number) <= MAX_THREADS:
        raise fail("PXD-033", f"{shown(value)} is out of bounds", f"allowed: `auto`, or 0 to {MAX_THREADS}")
    return int(number)


class Shutdown(Model):
    drain: Annotated[Duration, Within("0s", "1d")] = Field(
        Duration("30s"), description="How long requests in flight may take to finish after TERM; what is left then is cut off."
    )


class Runtime(Model):
    threads: Annotated[
        Literal["auto"] | int,
        PlainValidator(check_threads),
        Described(bounds=f"auto, or 0 to {MAX_THREADS}"),
        WithJsonSchema({"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 0, "maximum": MAX_THREADS}]}),
    ] = Field(
        "auto", description="Engine threads: `auto` is one a CPU, 0 runs inside the event loop. Read at start; a reload cannot change it."
    )
    zone: Name | None = Field(
        None, description="Where this proxy stands; servers of the same zone go first, see `upstreams.NAME.zones`.", examples=["a"]
    )
    user: Text | None = Field(
        None,
        examples=["proxyd"],
        description="Who proxyd, started as root, becomes once ports, logs and folders are open; unset: it stays who it is. Read at start.",
    )
    group: Text | None = Field(None, description="Its group; unset: that of the user. Read at start.", examples=["proxyd"])
    shutdown: Shutdown = Field(Shutdown(), description="What TERM does.")
    overload: OverloadField | None = Field(
        None, description="When to shed requests, the lowest class first; unset: never.", examples=[{"memory": "90%"}]
    )


class Config(Model):
    later: ClassVar[frozenset[str]] = frozenset({"tls", "providers", "autoscaling"})
    moved: ClassVar[Mapping[str, str]] = {  # words of nginx, HAProxy, Caddy and Traefik
        **dict.fromkeys(("frontend", "frontends", "entryPoints"), "write `listeners: {NAME: {bind: …}}`, or `listen: :8080`"),
        **dict.fromkeys(("backend", "backends", "services"), "write `upstreams: {NAME: {servers: […]}}`"),
        **dict.fromkeys(("server", "servers"), "write `to: [HOST:PORT]`, or `upstreams: {NAME: {servers: […]}}`"),
        **dict.fromkeys(("location", "routers"), "write `routes: [{match: /api/*, to: NAME}]`"),
        "proxy_read_timeout": "write `timeout: {first_byte: 60s, between_bytes: 60s}` in the route",
        "proxy_connect_timeout": "write `timeout: {connect: 3s}` in the upstream, or in the route",
        "client_max_body_size": "write `limits: {body_size: 10MiB}` in the listener",
        "worker_processes": "write `runtime: {threads: auto}`",
        "middlewares": "write `policies: {NAME: …}`, and `use: [NAME]` in the route",
    }

    version: Annotated[Literal[1], BeforeValidator(as_integer)] = Field(1, description="Version of this format.")
    include: Annotated[tuple[Text, ...], ONE_OR_MORE] | None = Field(
        None,
        description="Further files, merged by key; globs, relative to this file. The same key in two files is an error.",
        examples=["conf.d/*.yaml"],
        json_schema_extra=SHORT_FORM,
    )
    vars: dict[Name, Text] | None = Field(
        None,
        description="Texts to put in as `${name}`. `${env:NAME}`, `${env:NAME:-default}` and `${file:PATH}` need none.",
        examples=[{"domain": "example.com"}],
        json_schema_extra=SHORT_FORM,
    )
    listen: Annotated[tuple[BindAddress, ...], ONE_OR_MORE] | None = Field(
        None, description="Short form of `listeners: {default: {bind: …}}`.", examples=[":8080"], json_schema_extra=SHORT_FORM
    )
    to: TargetsField | None = Field(
        None,
        description="Short form of a last route for all that no other matches.",
        examples=[["127.0.0.1:9001", "127.0.0.1:9002"]],
        json_schema_extra=SHORT_FORM,
    )
    runtime: Runtime = Field(Runtime(), description="The process.")
    listeners: dict[Name, AnyListener] = Field({}, description="Where clients are accepted, by name.")
    routes: tuple[Route, ...] = Field((), description="What becomes of a request; the first route that matches wins.")
    policies: dict[Name, Policy] = Field({}, description="Reusable behaviour, by name; routes attach it with `use`.")
    defaults: Defaults = Field(Defaults(), description="What holds for every route.")
    upstreams: dict[Name, Annotated[Upstream, Short(expand_upstream, (STRING, {"type": "array", "items": {}}))]] = Field(
        {}, description="Services that requests are sent to, by name."
    )
    concurrency: Concurrency | None = Field(
        None, description="Places for requests of all routes; unset: no bound, unless a route reserves some.", examples=[{"total": 1000}]
    )
    plans: dict[Name, UsagePlan] = Field({}, description="Usage plans of API keys, by name.", examples=[{"gold": {"rate": "100/s"}}])
    usage: UsageField | None = Field(
        None, description="Where usage of quotas outlives a restart; unset: it does not.", examples=[{"file": "/var/lib/proxyd/usage.json"}]
    )
    limits: SharedLimits | None = Field(
        None, description="The store that proxies share for limits with `scope: cluster`.", examples=[{"redis": "redis://127.0.0.1:6379/0"}]
    )
    geoip: GeoIpField | None = Field(
        None,
        description="MaxMind database for `access` by country; in short its file.",
        examples=["/usr/share/GeoIP/GeoLite2-Country.mmdb"],
    )
    cache: Cache = Field(Cache(), description="The store behind all routes that cache.")
    admin: Admin = Field(Admin(), description="The admin API, which the command line, the dashboard and Prometheus use.")
    tests: tuple[Expectation, ...] = Field(
        (),
        description=(
            "Requests, and what must become of them. `proxyd check` and a reload refuse a config that does otherwise; a start does not."
        ),
        examples=[[{"request": "GET /api/v1/cart", "route": "shop-api", "upstream": ["api"]}]],
    )
    log: Log = Field(Log(), description="What is written down.")
    metrics: Metrics = Field(Metrics(), description="The Prometheus metrics, at `/metrics` of the admin API.")
    tracing: TracingField | None = Field(
        None, description="Where spans of traced requests go; unset: none are made. In short the URL.", examples=["http://127.0.0.1:4318"]
    )

    def routes_of(self, listener: Listener) -> tuple[Route, ...]:
        """The routes that hold on a listener: its own, or the top-level ones; always the same tuple for those that share them. Where flows
        are passed on there are none: see `flow_routes_of`."""
        if listener.mode == "cache":
            return STORE_ROUTES
        if listener.is_flow:
            return ()
        return self.routes if listener.own_routes is None else listener.own_routes

    def flow_routes_of(self, name: str) -> tuple[FlowRoute, ...]:
        """The routes of flows on the listener of that name, in order; of one without routes, one that has the listener's name."""
        listener = self.listeners[name]
        routes = listener.flow_routes if isinstance(listener, FlowListener) else ()
        return tuple(route if route.name else route.model_copy(update={"name": name}) for route in routes)

    @property
    def stores(self) -> bool:
        """Whether anything is stored: some route that can be reached caches, or a listener offers the store itself."""
        listeners = self.listeners.values()
        return any(route.cache is not None or route.serves_store for listener in listeners for route in self.routes_of(listener))

    @cached_property
    def places(self) -> Concurrency | None:
        """The bounds that hold for all routes together; None: there are none."""
        return effective(self.concurrency, (route.concurrency for routes in self.tables() for route in routes))

    def policies_of(self, route: Route) -> tuple[tuple[str, Policy], ...]:
        """The policies of a route in the order of their names in `use`, each once."""
        return tuple((name, self.policies.get(name) or BUILT_IN[name]) for name in dict.fromkeys((*self.defaults.use, *route.use)))

    def tables(self) -> tuple[tuple[Route, ...], ...]:
        """The top-level routes, and those of each listener that has its own."""
        return (self.routes, *(listener.own_routes for listener in self.listeners.values() if listener.own_routes is not None))

    def page_files(self) -> tuple[PageFile, ...]:
        """The files that were read for error pages."""
        pages = [*self.defaults.error_pages.values()]
        pages += [page for routes in self.tables() for route in routes for page in route.error_pages.values()]
        return tuple(page.file for page in pages if page.file is not None)
