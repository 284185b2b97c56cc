"""What a snapshot is compiled from: plain values, already validated by the control plane.

Times are milliseconds (0 = no limit), sizes bytes, names text. Handles (`Server`, `UpstreamState`, `Listener`, `RouteStats`) are
native objects that outlive snapshots; the control plane keeps them in a store by their full identity and passes the same object
again after a reload.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from proxyd_ext.balance.server import Server, UpstreamState
    from proxyd_ext.io.listener import Listener
    from proxyd_ext.route.stats import RouteStats

Balance = Literal["round_robin", "least_conn", "p2c", "random", "hash"]
HashKey = Literal["client.ip", "host", "path", "uri", "header", "cookie", "query"]


@dataclass(frozen=True, slots=True)
class MemberSpec:
    """A server's part in one upstream."""

    server: Server
    weight: int = 1            # 1..65535
    backup: bool = False       # used only when no other member is usable


@dataclass(frozen=True, slots=True)
class UpstreamSpec:
    name: str
    state: UpstreamState
    members: Sequence[MemberSpec]
    balance: Balance = "round_robin"
    hash_key: HashKey = "client.ip"
    hash_name: str = ""        # field, cookie or query parameter name for those keys
    pool_max: int = 256        # idle connections kept per server, over all engines
    pool_idle_ms: int = 50_000
    passive_failures: int = 5  # consecutive failures that eject a server; 0 = never
    eject_ms: int = 30_000
    max_ejected_percent: int = 50


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """One branch of a weighted split."""

    upstream: int              # index into SnapshotSpec.upstreams
    weight: int = 100          # 0..10_000_000
    connect_ms: int = 3_000
    retry_attempts: int = 2    # tries after the first


@dataclass(frozen=True, slots=True)
class ProxyAction:
    targets: Sequence[TargetSpec]
    first_byte_ms: int = 30_000
    between_bytes_ms: int = 60_000
    total_ms: int = 0
    tunnel_idle_ms: int = 3_600_000


@dataclass(frozen=True, slots=True)
class RespondAction:
    """A fixed answer; `head` holds extra whole field lines, each with CRLF."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    head: bytes = b""


@dataclass(frozen=True, slots=True)
class RedirectAction:
    """Location is a template: `{scheme} {host} {path} {query}` are replaced (`{query}` with its `?`, or nothing)."""

    status: int
    location: str


@dataclass(frozen=True, slots=True)
class ConsultAction:
    """The answer is made by the control plane through the consult door (`respond: {probe: ready}`)."""

    kind: Literal["ready", "live"]
    timeout_ms: int = 1_000


Action = ProxyAction | RespondAction | RedirectAction | ConsultAction


@dataclass(frozen=True, slots=True)
class AccessFilter:
    """Allow or deny by the client's address: networks in CIDR text; the longest matching prefix decides, else `default_allow`."""

    allow: Sequence[str] = ()
    deny: Sequence[str] = ()
    default_allow: bool = False


@dataclass(frozen=True, slots=True)
class HeadersFilter:
    """Whole field lines (each with CRLF) that replace fields of the same names in the request and in the response."""

    request_add: bytes = b""
    response_add: bytes = b""


Filter = AccessFilter | HeadersFilter


@dataclass(frozen=True, slots=True)
class RouteSpec:
    name: str
    action: Action
    host: str = ""             # "" any, "example.com", "*.example.com" (any depth)
    path: str = ""             # "" any
    path_exact: bool = False   # else a prefix
    methods: frozenset[str] = frozenset()   # empty: any
    filters: Sequence[Filter] = ()          # in order


@dataclass(frozen=True, slots=True)
class ListenerSpec:
    """One bound address with the settings that this snapshot gives it. Several may share a `name`."""

    listener: Listener
    name: str
    table: int                 # index into SnapshotSpec.tables
    stats: Sequence[RouteStats]   # one per route of that table, in order, and one more for "no route"
    scheme: Literal["http", "https"] = "http"
    client_ip_header: str = ""     # trusted peers' header with the client's address
    trust: Sequence[str] = ()      # networks that are believed; "unix" for unix-socket peers
    header_size: int = 16_384
    header_count: int = 100
    uri_length: int = 8_192
    buffer: int = 131_072          # bytes kept per direction of one connection
    body_size: int = 0             # 0 = no limit
    header_ms: int = 10_000
    idle_ms: int = 75_000
    min_body_rate: int = 240       # bytes a second after 5 s; 0 = off
    per_client: int = 0            # connections per client address over all engines; 0 = no limit


@dataclass(frozen=True, slots=True)
class SnapshotSpec:
    generation: int            # counts up with each publish
    config_hash: str
    listeners: Sequence[ListenerSpec]
    tables: Sequence[Sequence[RouteSpec]]
    upstreams: Sequence[UpstreamSpec] = field(default=())
