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
    from proxyd_ext.auth.verdict import Verdicts
    from proxyd_ext.balance.pool import UpstreamState
    from proxyd_ext.balance.server import Server
    from proxyd_ext.cache.store import Cache
    from proxyd_ext.filter.country import Countries
    from proxyd_ext.filter.hooks import Hooks
    from proxyd_ext.io.listener import Listener
    from proxyd_ext.limit.ban import Bans
    from proxyd_ext.limit.gate import Lane
    from proxyd_ext.limit.inflight import Inflight
    from proxyd_ext.limit.overload import Overload
    from proxyd_ext.limit.rate import RateLimit
    from proxyd_ext.route.stats import RouteStats

Balance = Literal["round_robin", "least_conn", "p2c", "ewma", "random", "first", "hash", "maglev"]
# client.net: as nginx's ip_hash; flow: addresses and ports of both sides, as network load balancers hash
HashKey = Literal["client.ip", "client.net", "flow", "host", "path", "uri", "header", "cookie", "query"]
Statuses = Sequence[tuple[int, int]]     # ranges, both ends included


@dataclass(frozen=True, slots=True)
class MemberSpec:
    """A server's part in one upstream."""

    server: Server
    weight: int = 1            # 1..65535
    tier: int = 0              # 0..15: the lowest tier with a usable server gets the requests; `backup: true` is 1
    local: bool = True         # in this proxy's own zone; True where there are no zones
    max_requests: int = 0      # exchanges at a time, over all engines; 0 = no limit
    sticky_id: bytes = b""     # value of the sticky cookie that stands for this server


@dataclass(frozen=True, slots=True)
class StickySpec:
    """Requests of one client go to one server while that is usable.

    cookie      ours: `name` holds a member's `sticky_id`; set where the request brought none that is good
    app_cookie  the same, set only with an answer in which the server sets its cookie `follows`
    key         no cookie: the request's key (`hash_key`, `hash_name`) chooses on the ketama ring, whatever the balancer; without a key the
                balancer chooses
    """

    kind: Literal["cookie", "app_cookie", "key"]
    name: str = ""
    attributes: str = ""       # of Set-Cookie, with leading "; "
    follows: str = ""
    hash_key: HashKey = "client.ip"
    hash_name: str = ""


@dataclass(frozen=True, slots=True)
class UpstreamSpec:
    name: str
    state: UpstreamState
    members: Sequence[MemberSpec]
    balance: Balance = "round_robin"
    hash_key: HashKey = "client.ip"
    hash_name: str = ""        # field, cookie or query parameter name for those keys
    bounded_load: int = 0      # percent of the mean load that one server may have, for "hash" and "maglev"; 0 = no bound
    sticky: StickySpec | None = None
    zone_min: int = 0          # percent of the local members' weight that must be usable for them to be preferred; 0 = zones play no part
    panic: int = 0             # percent of usable weight below which health is ignored; 0 = never
    fail_open: bool = False    # all down: try them all the same
    slow_start_ms: int = 0
    pool_max: int = 256        # idle connections kept per server, over all engines
    pool_idle_ms: int = 50_000
    passive_failures: int = 5  # consecutive failures that eject a server; 0 = never
    eject_ms: int = 30_000     # times the number of ejections in a row
    eject_max_ms: int = 300_000
    max_ejected_percent: int = 50
    max_requests: int = 0      # exchanges at a time on the whole upstream; 0 = no limit
    max_pending: int = 0       # exchanges that may wait for a server with room; 0 = none waits
    queue_ms: int = 0          # how long one waits
    zone_only: bool = False    # members that are not local are never used
    proxy: Literal[0, 1, 2] = 0        # version of the PROXY header that its servers are sent; 0 = none
    proxy_crc: bool = False    # of version 2: with a CRC32c
    proxy_unique_id: bool = False      # of version 2: with the id of the record
    on_down_close: bool = False        # flows on a server that checks or operators take out end at once


@dataclass(frozen=True, slots=True)
class RetrySpec:
    attempts: int = 2          # tries after the first
    connect_failure: bool = True
    reset: bool = True         # reset or closed before an answer; only what is idempotent, unless no byte had left
    timeout: bool = False      # first_byte, per_try; only what is idempotent
    statuses: Statuses = ()    # only what is idempotent
    idempotency_key: bool = False      # a request with Idempotency-Key counts as idempotent
    backoff_ms: int = 0        # before the first retry; 0 = none waits
    factor_percent: int = 200  # each further wait is that much of the one before
    backoff_max_ms: int = 250
    jitter: bool = True        # full: uniform between 0 and the wait; False: the wait itself
    retry_after_max_ms: int = 0    # with nobody else to ask, a Retry-After up to this is waited for; above it the answer is passed on
    budget_percent: int = 20   # retries in flight, of the exchanges that are on the upstream
    budget_min: int = 3        # but so many may always


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """One branch of a weighted split."""

    upstream: int              # index into SnapshotSpec.upstreams
    weight: int = 100          # 0..10_000_000
    connect_ms: int = 3_000
    retry: RetrySpec = field(default_factory=RetrySpec)


@dataclass(frozen=True, slots=True)
class SplitSpec:
    """Which branch of a split a client is pinned to: the upstream's name in a cookie, or the hash of a header field."""

    kind: Literal["cookie", "header"]
    name: str
    attributes: str = ""       # of Set-Cookie, with leading "; "


@dataclass(frozen=True, slots=True)
class FailoverSpec:
    """Where requests go when the chosen upstream cannot answer."""

    target: TargetSpec         # its weight plays no part
    no_server: bool = True     # no usable server, circuit open, queue full
    connect_failure: bool = True
    reset: bool = False
    timeout: bool = False
    statuses: Statuses = ()


@dataclass(frozen=True, slots=True)
class HedgeSpec:
    """A second try beside the first when that takes long; the first answer wins."""

    after_ms: int = 0          # 0: `UpstreamState.set_hedge_ms` says (the percentile, kept by the control plane)
    max: int = 1
    percentile: int = 95       # for people only


@dataclass(frozen=True, slots=True)
class MirrorSpec:
    """A copy of requests, whose answer nobody waits for."""

    upstream: int
    sample_ppm: int = 1_000_000        # of a million
    connect_ms: int = 3_000
    answer_ms: int = 30_000
    in_flight: int = 256               # copies under way at a time, one engine


@dataclass(frozen=True, slots=True)
class RewriteSpec:
    """What becomes of path and host on the way to the server. `path` is a template: {path} {rest} {host} {query:NAME}.

    `rest` is what follows `strip` (a literal prefix of the path) where that matches, else the whole path.
    """

    path: str = ""             # "": unchanged
    strip: str = ""
    host: str = ""             # "": as the client sent it


@dataclass(frozen=True, slots=True)
class ErrorPage:
    """The body for answers with these statuses that proxyd makes; with `intercept` for those of servers too."""

    statuses: Statuses
    body: bytes
    content_type: str = "text/html; charset=utf-8"
    intercept: bool = False


@dataclass(frozen=True, slots=True)
class ProxyAction:
    targets: Sequence[TargetSpec]
    first_byte_ms: int = 30_000
    between_bytes_ms: int = 60_000
    total_ms: int = 0
    per_try_ms: int = 0        # from the pick to the head of the answer
    tunnel_idle_ms: int = 3_600_000
    split: SplitSpec | None = None
    failover: FailoverSpec | None = None
    hedge: HedgeSpec | None = None
    mirror: MirrorSpec | None = None
    rewrite: RewriteSpec | None = None
    cache: CacheSpec | None = None


@dataclass(frozen=True, slots=True)
class CacheKeyPart:
    """A part of a cache key. `names`: of query parameters (empty: the whole query as it came), or the one header field or cookie."""

    kind: Literal["scheme", "host", "path", "query", "header", "cookie"]
    names: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class CompressSpec:
    """Compressed forms that are made of stored answers."""

    encodings: Sequence[Literal["zstd", "br", "gzip"]]     # in order of preference
    min_size: int
    types: Sequence[str]       # media types; "text/*" is allowed


@dataclass(frozen=True, slots=True)
class CacheSpec:
    """How a route's answers are stored and served (RFC 9111). Times of storing are seconds, -1 = not set; waits are milliseconds."""

    zone: str                  # whose answers: part of every key
    key: Sequence[CacheKeyPart] = (CacheKeyPart("scheme"), CacheKeyPart("host"), CacheKeyPart("path"), CacheKeyPart("query"))
    default_s: int = -1        # lifetime of answers that tell none; -1: those are not stored
    override_s: int = -1       # replaces what answers tell
    min_s: int = -1
    max_s: int = -1
    heuristic_percent: int = 0         # of the time since Last-Modified; 0: no heuristic
    heuristic_max_s: int = 86_400
    negative_s: int = -1       # lifetime of `negative` statuses that tell none
    negative: Statuses = ((404, 404), (410, 410))
    while_revalidate_s: int = -1       # -1: as the answer says (RFC 5861)
    if_error_s: int = -1
    max_object: int = 0        # bytes of a body; 0: an eighth of the store
    variants: int = 32         # per key
    uncacheable_s: int = 120   # how long a key is remembered as one whose answers are not stored
    collapse_ms: int = 5_000   # how long a request waits for the fetch of another; 0: not at all
    client_directives: bool = True     # Cache-Control of requests is obeyed
    strip_set_cookie: bool = False     # answers with Set-Cookie are stored without it; else they are not stored
    bypass: Sequence[Condition] = ()   # any holds: neither looked up nor stored
    tags: Sequence[str] = ("surrogate-key", "cache-tag")   # fields, lower case
    share: bool = False        # in the second tier too
    share_ms: int = 50         # how long a look-up there may take
    compress: CompressSpec | None = None


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


@dataclass(frozen=True, slots=True)
class AsideAction:
    """The cache for applications over HTTP: GET, HEAD, PUT and DELETE of {prefix}{key}."""

    prefix: str = "/cache/"
    max_value: int = 1 << 20   # bytes of a value
    default_ttl_s: int = 3_600
    share: bool = False        # in the second tier too
    share_ms: int = 50


Action = ProxyAction | RespondAction | RedirectAction | ConsultAction | AsideAction


@dataclass(frozen=True, slots=True)
class LimitKeyPart:
    """A part of the key that a limit counts by. `name`: of the header field, cookie, query parameter or claim.

    user      who the route's auth policy says it is; empty without one
    claim     an attribute of its verdict
    client.ip by network: so many leading bits of the address
    """

    kind: Literal["client.ip", "host", "path", "method", "header", "cookie", "query", "user", "claim", "route", "listener"]
    name: str = ""
    ipv4_bits: int = 32
    ipv6_bits: int = 64


LimitKey = Sequence[LimitKeyPart]          # a request in which all parts are empty is not counted, as with nginx


# A route's filters. They run in the order in which they stand here (`filters` of RouteSpec is sorted by it), those of one kind in the order
# of `use`. `policy` is the name that logs and `proxyd route` show.

@dataclass(frozen=True, slots=True)
class BanFilter:
    """Who was refused too often (401, 403, 429 by a later filter of the route) is refused at once, by client address."""

    policy: str
    bans: Bans
    ipv4_bits: int = 32
    ipv6_bits: int = 64


@dataclass(frozen=True, slots=True)
class AccessFilter:
    """Allow or deny by the client's address: networks in CIDR text; the longest matching prefix decides; where none matches, the country
    (ISO 3166-1 alpha-2 codes) in `countries`; else `default_allow`."""

    allow: Sequence[str] = ()
    deny: Sequence[str] = ()
    default_allow: bool = False
    policy: str = ""
    countries: Countries | None = None
    allow_countries: frozenset[str] = frozenset()
    deny_countries: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class RequestFilter:
    """Methods that are served (405 else), and the largest body (413); 0: no bound."""

    policy: str
    methods: frozenset[str] = frozenset()
    body_size: int = 0


@dataclass(frozen=True, slots=True)
class CorsFilter:
    """Cross-origin requests (Fetch standard, section 3.2). Preflights are answered here; other requests pass, and their answers say what
    the origin may see. origins: "*", "https://app.example.com", or "https://*.example.com". max_age_s -1: not told."""

    policy: str
    origins: Sequence[str]
    methods: Sequence[str] = ("GET", "HEAD", "POST")
    headers: Sequence[str] = ()        # "*": whatever is asked for
    expose: Sequence[str] = ()
    credentials: bool = False
    max_age_s: int = -1


@dataclass(frozen=True, slots=True)
class RateLimitFilter:
    """Those whose key has neither `user` nor `claim` run before AuthFilter, the others behind PlanFilter."""

    policy: str
    limit: RateLimit
    key: LimitKey
    status: int = 429
    headers: Literal["refused", "always", "none"] = "refused"      # answers with RateLimit and RateLimit-Policy
    quota: int = 0             # what those fields tell: so many requests
    window_s: int = 1          # in so many seconds
    dry_run: bool = False
    salt: int = 0              # not 0: keys have the same hashes in every process (limits that proxies share)


@dataclass(frozen=True, slots=True)
class InflightFilter:
    """At most `max` requests of one key in flight. Order: as RateLimitFilter."""

    policy: str
    table: Inflight
    key: LimitKey
    max: int
    status: int = 429
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class AuthFilter:
    """Who is it, and may they? A verdict that is remembered decides at once; else the control plane is asked ("decide").

    source    where the credential is: the token of `Authorization: Bearer`, the credentials of `Authorization: Basic`, a header field,
              query parameter or cookie `name`. "fields": the whole of the `fields`, with method and target when `per_target`.
    challenge whole field lines (WWW-Authenticate) of the 401 for requests without a credential
    optional  those pass, without a user
    """

    policy: str
    verdicts: Verdicts
    source: Literal["bearer", "basic", "header", "query", "cookie", "fields"]
    name: str = ""
    fields: Sequence[str] = ()
    per_target: bool = False
    challenge: bytes = b""
    optional: bool = False
    timeout_ms: int = 5_000
    hide: bool = False         # the credential's own field, parameter or cookie is not sent to the server (header, bearer and basic only)


@dataclass(frozen=True, slots=True)
class Plan:
    """A usage plan: a rate (by consumer) and a quota of requests in a calendar period (UTC)."""

    name: str
    limit: RateLimit | None = None
    quota_requests: int = 0    # 0: none
    period: Literal["day", "week", "month"] = "day"
    policy_quota: int = 0      # RateLimitFilter.quota and .window_s of `limit`
    policy_window_s: int = 1


@dataclass(frozen=True, slots=True)
class PlanFilter:
    """Behind AuthFilter: the plan of its verdict."""

    policy: str
    plans: Sequence[Plan]


@dataclass(frozen=True, slots=True)
class HeadersFilter:
    """Changes to the fields of the request and of the answer. `*_set` replace fields of their names, `*_add` stand beside them: whole field
    lines, each with CRLF. `*_remove`: names. Order: remove, set, add."""

    request_set: bytes = b""
    response_set: bytes = b""
    request_add: bytes = b""
    response_add: bytes = b""
    request_remove: Sequence[str] = ()
    response_remove: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class PythonFilter:
    """A user's filter in a worker process. Which of its hooks are there, and whether it is enabled, `hooks` tells at run time."""

    policy: str
    hooks: Hooks
    timeout_ms: int = 1_000
    fail_open: bool = False


Filter = (
    BanFilter | AccessFilter | RequestFilter | CorsFilter | RateLimitFilter | InflightFilter | AuthFilter | PlanFilter | HeadersFilter
    | PythonFilter
)


@dataclass(frozen=True, slots=True)
class Condition:
    """What a request must bring beside host, path and method. `name`: field (any case), cookie or query parameter.

    A header field that comes several times, and a parameter that does, satisfies when one of its values does. `negate` turns the result.
    """

    of: Literal["header", "query", "cookie", "source", "path", "host"]
    test: Literal["present", "exact", "prefix", "suffix", "regex", "network"]
    name: str = ""
    value: str = ""
    networks: Sequence[str] = ()       # of "source": CIDR text
    negate: bool = False


@dataclass(frozen=True, slots=True)
class RouteSpec:
    name: str
    action: Action
    host: str = ""             # "" any, "example.com", "*.example.com" (any depth)
    path: str = ""             # "" any
    path_exact: bool = False   # else a prefix
    methods: frozenset[str] = frozenset()   # empty: any
    conditions: Sequence[Condition] = ()    # all must hold
    filters: Sequence[Filter] = ()          # in order
    error_pages: Sequence[ErrorPage] = ()   # the first that has the status
    lane: Lane | None = None   # its part in the places of the gate; of ProxyAction
    priority: Literal["low", "normal", "high", "critical"] = "normal"


@dataclass(frozen=True, slots=True)
class FlowRoute:
    """Where flows of an L4 listener go. `names` and `alpn` are of a ClientHello ("tls"); a flow takes the first route that fits."""

    name: str
    targets: Sequence[TargetSpec]      # empty: such flows are refused
    names: Sequence[str] = ()  # "a.example", "*.example" (any depth), "" (no name); none = any hello
    alpn: Sequence[str] = ()   # offers one of these; none = any


@dataclass(frozen=True, slots=True)
class FlowSpec:
    """What a listener does with flows: it passes their bytes, or datagrams, on.

    tcp   connections
    tls   connections that begin with a ClientHello, which chooses the route
    udp   datagrams; those of one client address and port are a flow
    """

    kind: Literal["tcp", "tls", "udp"]
    routes: Sequence[FlowRoute]        # "tcp" and "udp": one
    idle_ms: int = 600_000
    max_age_ms: int = 0
    drain_ms: int = 300_000    # how long a flow whose listener or server is left may go on; 0 = as long as it likes
    keepalive: bool = False    # TCP keep-alive on both sides
    responses: int = 0         # "udp": datagrams of the server that end a flow; 0 = none do
    amplification: int = 10    # "udp": bytes sent to a source that has not spoken again, per byte it sent (4 KiB always); 0 = any


@dataclass(frozen=True, slots=True)
class ListenerSpec:
    """One bound address with the settings that this snapshot gives it. Several may share a `name`."""

    listener: Listener
    name: str
    table: int = -1            # index into SnapshotSpec.tables; without `flow`
    stats: Sequence[RouteStats] = ()   # one per route of that table, in order, and one more for "no route"
    flow: FlowSpec | None = None       # not HTTP
    access: AccessFilter | None = None     # who may connect at all, by the peer's address, or the one that a PROXY header names
    proxy: Sequence[str] | None = None     # networks whose connections must begin with a PROXY header, others are closed; None = none
    connections: int = 0       # at a time, over all engines, or UDP flows; 0 = no limit
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
    error_pages: Sequence[ErrorPage] = ()  # for requests without a route


@dataclass(frozen=True, slots=True)
class SnapshotSpec:
    generation: int            # counts up with each publish
    config_hash: str
    listeners: Sequence[ListenerSpec]
    tables: Sequence[Sequence[RouteSpec]]
    upstreams: Sequence[UpstreamSpec] = field(default=())
    cache: Cache | None = None         # where routes with `cache` store; None: there are none
    purge_allow: Sequence[str] = ()    # networks whose PURGE requests are obeyed
    overload: Overload | None = None   # None: nothing is shed
    trace_share: float | None = None   # of requests without a trace, 0.0 to 1.0: how many are exported; None: traces are passed on only
    handles: Sequence[object] = ()     # what the control plane keeps alive with it; the engines do not look
