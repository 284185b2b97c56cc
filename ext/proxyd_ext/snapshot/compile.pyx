# cython: cdivision=True
"""Compiling a SnapshotSpec into C structs (see compile.pxd), and asking the result what it would do (`proxyd route`)."""
import re

from libc.stdlib cimport calloc, free
from libc.stdint cimport int64_t
from proxyd_ext.balance.pool cimport BALANCE_HASH, BALANCE_MAGLEV, Pool
from proxyd_ext.cache.store cimport Cache
from proxyd_ext.core.address cimport Address, address_parse
from proxyd_ext.core.fault cimport FAULT_DENIED, FAULT_WHEN_CONNECT, FAULT_WHEN_RESET, FAULT_WHEN_TIMEOUT, fault_info
from proxyd_ext.core.live cimport LIVE_SNAPSHOT, live_born, live_died
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.filter.chain cimport access_admits
from proxyd_ext.filter.rules cimport FILTER_ACCESS
from proxyd_ext.http1.head cimport MAX_FIELDS
from proxyd_ext.http1.template cimport PARTS_MAX, Rewrite, Template, TemplatePart
from proxyd_ext.io.listener cimport Listener
from proxyd_ext.limit.gate cimport CLASS_CRITICAL, CLASS_HIGH, CLASS_LOW, CLASS_NORMAL, Lane
from proxyd_ext.limit.overload cimport Overload
from proxyd_ext.route.names cimport server_names_add, server_names_free, server_names_new
from proxyd_ext.route.stats cimport RouteStats
from proxyd_ext.route.table cimport (
    miss_words, route_match, route_table_add, route_table_free, route_table_new, route_table_seal, route_why,
)
from proxyd_ext.snapshot.caching cimport RouteCaching
from proxyd_ext.snapshot.conditions cimport RouteMatch
from proxyd_ext.snapshot.networks cimport networks_compile
from proxyd_ext.snapshot.question cimport Question
from proxyd_ext.snapshot.steps cimport RouteSteps
from proxyd_ext.snapshot.text cimport keep_text

from proxyd_ext.http1.template import PART_KINDS
from proxyd_ext.snapshot.question import normal_path
from proxyd_ext.snapshot.spec import (
    AsideAction, CacheSpec, ConsultAction, ProxyAction, RedirectAction, RespondAction,
)
from proxyd_ext.snapshot.template import location_parts, page_parts, path_parts

HEADER_SIZE_MAX = 65536   # a head is received into one buffer
COOKIE_PART_MAX = 256
LINES_MAX = 16384         # what a route adds to a head is composed with it

_KEYS = {"client.ip": KEY_CLIENT_IP, "host": KEY_HOST, "path": KEY_PATH, "uri": KEY_URI, "header": KEY_HEADER, "cookie": KEY_COOKIE,
         "query": KEY_QUERY, "client.net": KEY_CLIENT_NET, "flow": KEY_FLOW}
_STICKY = {"cookie": STICKY_COOKIE, "app_cookie": STICKY_APP_COOKIE, "key": STICKY_KEY}
_SPLIT = {"cookie": SPLIT_COOKIE, "header": SPLIT_HEADER}
_PRIORITIES = {"low": CLASS_LOW, "normal": CLASS_NORMAL, "high": CLASS_HIGH, "critical": CLASS_CRITICAL}
_MODES = {"tcp": MODE_TCP, "tls": MODE_TLS, "udp": MODE_UDP}
_CONSULTS = {"ready": CONSULT_READY, "live": CONSULT_LIVE}


cdef void* _zeroed(size_t count, size_t size) except NULL:
    cdef void* memory = calloc(count if count > 0 else 1, size)
    if memory == NULL:
        raise MemoryError
    return memory


cdef class Snapshot:
    """The compiled form of a SnapshotSpec. The caller keeps it until every engine has retired it (or was closed)."""

    def __cinit__(self, spec):
        self._keep = [spec]
        self.pools = []
        self.config_hash = spec.config_hash
        self.data = <SnapshotData*>_zeroed(1, sizeof(SnapshotData))
        live_born(LIVE_SNAPSHOT)
        self.data.generation = spec.generation
        self.data.config = _first_bits(spec.config_hash)
        self.store = spec.cache
        if spec.cache is not None:
            self.data.store = (<Cache?>spec.cache).data
        if spec.overload is not None:
            self._keep.append(spec.overload)
            self.data.overload = &(<Overload?>spec.overload).data
        if spec.trace_share is not None:
            self.data.traces = True
            self.data.trace_below = min(int(spec.trace_share * 2**64), 2**64 - 1)
        self.data.purge_allow = networks_compile(spec.purge_allow, (), &self.data.purge_allow_count)
        self._compile_upstreams(spec.upstreams)
        self._compile_tables(spec.tables)
        self._compile_listeners(spec.listeners)

    def __dealloc__(self):
        cdef int i, k
        if self.data == NULL:
            return
        free(self.data.upstreams)
        free(self.data.purge_allow)
        for i in range(self.data.table_count):
            route_table_free(self.data.tables[i].tree)
            for k in range(self.data.tables[i].count):
                self._free_route(&self.data.tables[i].routes[k])
            free(self.data.tables[i].routes)
        free(self.data.tables)
        for i in range(self.data.listener_count):
            free(self.data.listeners[i].stats)
            free(self.data.listeners[i].trust)
            free(self.data.listeners[i].proxies)
            _free_pages(self.data.listeners[i].pages, self.data.listeners[i].page_count)
            _free_flow(self.data.listeners[i].flow)
        free(self.data.listeners)
        free(self.data)
        live_died(LIVE_SNAPSHOT)

    cdef void _free_route(self, CompiledRoute* route) noexcept:
        free(route.targets)
        free(route.rewrite)
        _free_pages(route.pages, route.page_count)
        free(route.mirror)

    cdef Slice _lines(self, value) except *:
        """Field lines that are composed into heads."""
        if len(value) > LINES_MAX:
            raise ValueError(f"the fields that a route sets have more than {LINES_MAX} bytes")
        return self._slice(value)

    cdef Slice _cookie_part(self, value) except *:
        """Text that is written into Set-Cookie on the data plane, where the room for it is fixed."""
        if len(value) > COOKIE_PART_MAX:
            raise ValueError(f"name and attributes of a cookie have at most {COOKIE_PART_MAX} bytes each")
        return self._slice(value)

    cdef Slice _slice(self, value) except *:
        """Bytes that live as long as the snapshot."""
        return keep_text(self._keep, value)

    def _compile_upstreams(self, upstreams) -> None:
        cdef CompiledUpstream* out
        cdef Pool pool
        cdef int i
        self.data.upstreams = <CompiledUpstream*>_zeroed(len(upstreams), sizeof(CompiledUpstream))
        self.data.upstream_count = len(upstreams)
        for i, spec in enumerate(upstreams):
            out = &self.data.upstreams[i]
            pool = Pool(spec)
            self.pools.append(pool)
            out.state = pool.data.state
            out.pool = pool.data
            out.name = self._slice(spec.name)
            out.keyed = pool.data.balance == BALANCE_HASH or pool.data.balance == BALANCE_MAGLEV
            keyed_by = spec
            if spec.sticky is not None:
                out.sticky = _STICKY[spec.sticky.kind]
                if out.sticky == STICKY_KEY:
                    keyed_by = spec.sticky
                    out.keyed = True
                out.sticky_name = self._cookie_part(spec.sticky.name)
                out.sticky_attributes = self._cookie_part(spec.sticky.attributes)
                out.sticky_follows = self._slice(spec.sticky.follows)
            out.key = _KEYS[keyed_by.hash_key]
            out.key_name = self._slice(keyed_by.hash_name.lower() if keyed_by.hash_key == "header" else keyed_by.hash_name)
            out.max_pending = spec.max_pending
            out.queue_ms = spec.queue_ms
            out.proxy = spec.proxy
            out.proxy_crc = spec.proxy_crc
            out.proxy_unique_id = spec.proxy_unique_id

    def _compile_tables(self, tables) -> None:
        cdef CompiledTable* out
        cdef RouteMatch match
        cdef int i, k
        self.data.tables = <CompiledTable*>_zeroed(len(tables), sizeof(CompiledTable))
        self.data.table_count = len(tables)
        for i, routes in enumerate(tables):
            out = &self.data.tables[i]
            out.routes = <CompiledRoute*>_zeroed(len(routes), sizeof(CompiledRoute))
            out.count = len(routes)
            out.tree = route_table_new()
            if out.tree == NULL:
                raise MemoryError
            for k, spec in enumerate(routes):
                match = RouteMatch(spec)
                self._keep += match.expressions
                if route_table_add(out.tree, match.host, match.path_kind, match.path, match.methods, match.conditions, match.count) < 0:
                    raise MemoryError
                self._compile_route(spec, &out.routes[k])
            if route_table_seal(out.tree) < 0:
                raise MemoryError

    cdef int _compile_route(self, spec, CompiledRoute* out) except -1:
        cdef uint64_t total = 0
        cdef int i = 0
        action = spec.action
        out.name = self._slice(spec.name)
        self._compile_steps(spec, out)
        out.pages = self._compile_pages(spec.error_pages, &out.page_count)
        if isinstance(action, ProxyAction):
            out.action = ACTION_PROXY
            out.targets = <Target*>_zeroed(len(action.targets), sizeof(Target))
            for target in action.targets:
                if target.weight == 0:
                    continue
                total += target.weight
                self._compile_target(target, &out.targets[i])
                out.targets[i].up_to = total
                i += 1
            out.target_count = i
            if i == 0:
                raise ValueError(f"route {spec.name}: the weights of its targets sum to 0")
            if action.split is not None:
                out.split = _SPLIT[action.split.kind]
                out.split_name = self._cookie_part(action.split.name)
                out.split_attributes = self._cookie_part(action.split.attributes)
            if action.failover is not None:
                out.failover.active = True
                self._compile_target(action.failover.target, &out.failover.target)
                out.failover.no_server = action.failover.no_server
                out.failover.when = _when(action.failover)
                _set_statuses(action.failover.statuses, &out.failover.statuses)
            out.hedge_ms = HEDGE_NEVER if action.hedge is None else action.hedge.after_ms
            out.hedge_max = 0 if action.hedge is None else action.hedge.max
            out.per_try_ms = action.per_try_ms
            out.first_byte_ms = action.first_byte_ms
            out.between_bytes_ms = action.between_bytes_ms
            out.total_ms = action.total_ms
            out.tunnel_idle_ms = action.tunnel_idle_ms
            if action.rewrite is not None:
                self._compile_rewrite(action.rewrite, out)
            out.mirror = self._compile_mirror(spec.name, action.mirror)
            out.cache = self._compile_cache(spec.name, action.cache)
        elif isinstance(action, RespondAction):
            out.action = ACTION_RESPOND
            out.status = action.status
            out.body = self._slice(action.body)
            out.head = self._lines(f"Content-Type: {action.content_type}\r\n".encode() + action.head)
        elif isinstance(action, RedirectAction):
            out.action = ACTION_REDIRECT
            out.status = action.status
            self._parts(location_parts(action.location), &out.location)
        elif isinstance(action, ConsultAction):
            out.action = ACTION_CONSULT
            out.consult = _CONSULTS[action.kind]
            out.consult_ms = action.timeout_ms
        elif isinstance(action, AsideAction):
            out.action = ACTION_ASIDE
            out.aside_prefix = self._slice(action.prefix)
            out.aside_max = action.max_value
            out.aside_ttl_ms = <int64_t>action.default_ttl_s * 1000
            out.cache = self._compile_cache(spec.name, CacheSpec("\0aside", share=action.share, share_ms=action.share_ms))
        else:
            raise ValueError(f"route {spec.name}: unknown action {action!r}")
        return 0

    cdef CompiledCache* _compile_cache(self, str route, spec) except? NULL:
        cdef RouteCaching caching
        if spec is None:
            return NULL
        if self._keep[0].cache is None:
            raise ValueError(f"route {route}: there is no cache to store in")
        self.data.shares = self.data.shares or spec.share
        caching = RouteCaching(spec, self._keep[0].cache)
        self._keep.append(caching)
        return caching.data

    cdef int _compile_target(self, spec, Target* out) except -1:
        retry = spec.retry
        if not 0 <= spec.upstream < self.data.upstream_count:
            raise ValueError(f"no upstream number {spec.upstream}")
        out.upstream = &self.data.upstreams[<int>spec.upstream]
        out.connect_ms = spec.connect_ms
        out.retry.attempts = retry.attempts
        out.retry.when = _when(retry)
        _set_statuses(retry.statuses, &out.retry.statuses)
        out.retry.has_statuses = len(retry.statuses) > 0
        out.retry.idempotency_key = retry.idempotency_key
        out.retry.backoff_ms = retry.backoff_ms
        out.retry.factor_percent = retry.factor_percent
        out.retry.backoff_max_ms = retry.backoff_max_ms
        out.retry.jitter = retry.jitter
        out.retry.retry_after_max_ms = retry.retry_after_max_ms
        out.retry.budget_percent = retry.budget_percent
        out.retry.budget_min = retry.budget_min
        return 0

    cdef CompiledMirror* _compile_mirror(self, str route, spec) except? NULL:
        cdef CompiledMirror* out
        if spec is None:
            return NULL
        if not 0 <= spec.upstream < self.data.upstream_count:
            raise ValueError(f"route {route}: no upstream number {spec.upstream} to mirror to")
        if not 0 <= spec.sample_ppm <= 1_000_000 or spec.in_flight < 1:
            raise ValueError(f"route {route}: a mirror takes 0..1000000 of a million requests, and at least one at a time")
        out = <CompiledMirror*>_zeroed(1, sizeof(CompiledMirror))
        out.upstream = &self.data.upstreams[<int>spec.upstream]
        out.sample_ppm = spec.sample_ppm
        out.connect_ms = spec.connect_ms
        out.answer_ms = spec.answer_ms
        out.in_flight = spec.in_flight
        return out

    cdef int _compile_steps(self, spec, CompiledRoute* out) except -1:
        cdef RouteSteps steps = RouteSteps(spec.filters)
        self._keep.append(steps)
        out.steps = steps.steps
        out.step_count = steps.count
        out.stateful = steps.stateful
        out.light = steps.light
        out.hears_responses = steps.hears_responses
        out.identifies = len(steps._auths) > 0
        out.priority = _PRIORITIES[spec.priority]
        if spec.lane is not None:
            self._keep.append(spec.lane)
            out.lane = (<Lane?>spec.lane).data
        return 0

    cdef int _compile_rewrite(self, spec, CompiledRoute* out) except -1:
        strip = normal_path(spec.strip) if spec.strip else b""
        if not re.fullmatch(r"[!-~]*", spec.host):
            raise ValueError(f"the host {spec.host!r} cannot stand in a head")
        out.rewrite = <Rewrite*>_zeroed(1, sizeof(Rewrite))
        out.rewrite.deep = strip.endswith(b"/")
        out.rewrite.strip = self._slice(strip[:-1] if out.rewrite.deep else strip)
        out.rewrite.host = self._slice(spec.host)
        self._parts(path_parts(spec.path), &out.rewrite.path)
        return 0

    cdef int _parts(self, parts, Template* out) except -1:
        for kind, text in parts:
            if out.count == PARTS_MAX:
                raise ValueError(f"a path and a Location have at most {PARTS_MAX} parts")
            out.parts[out.count].kind = PART_KINDS[kind]
            out.parts[out.count].text = self._slice(text)
            out.count += 1
        return 0

    cdef CompiledPage* _compile_pages(self, pages, int* count) except? NULL:
        cdef CompiledPage* out
        cdef CompiledPage* all = <CompiledPage*>_zeroed(len(pages), sizeof(CompiledPage))
        try:
            for spec in pages:
                out = &all[count[0]]
                count[0] += 1
                out.intercept = spec.intercept
                out.escape = re.match(r"text/html|[^;]*xml", spec.content_type, re.IGNORECASE) is not None
                out.head = self._lines(f"Content-Type: {spec.content_type}\r\n".encode())
                out.statuses = <StatusRange*>_zeroed(len(spec.statuses), sizeof(StatusRange))
                for first, last in spec.statuses:
                    if not 400 <= first <= last <= 599:
                        raise ValueError(f"an error page for {first}-{last}: statuses are in 400..599")
                    out.statuses[out.status_count].first = first
                    out.statuses[out.status_count].last = last
                    out.status_count += 1
                parts = page_parts(spec.body)
                out.parts = <TemplatePart*>_zeroed(len(parts), sizeof(TemplatePart))
                for kind, text in parts:
                    out.parts[out.part_count].kind = PART_KINDS[kind]
                    out.parts[out.part_count].text = self._slice(text)
                    out.part_count += 1
        except BaseException:
            _free_pages(all, count[0])
            count[0] = 0
            raise
        return all

    cdef int _compile_flow(self, spec, CompiledListener* listener) except -1:
        cdef CompiledFlow* out = <CompiledFlow*>_zeroed(1, sizeof(CompiledFlow))
        cdef CompiledFlowRoute* route
        cdef CompiledUpstream* upstream
        cdef uint64_t total
        cdef int i
        flow = spec.flow
        listener.flow = out
        listener.mode = _MODES[flow.kind]
        out.idle_ms = flow.idle_ms
        out.max_age_ms = flow.max_age_ms
        out.drain_ms = flow.drain_ms
        out.keepalive = flow.keepalive
        out.responses = flow.responses
        out.amplification = flow.amplification
        if flow.kind != "tls" and len(flow.routes) != 1:
            raise ValueError(f"listener {spec.name}: flows of {flow.kind} have one route")
        if flow.kind != "tls" and not flow.routes[0].targets:
            raise ValueError(f"listener {spec.name}: its flows go nowhere")
        out.routes = <CompiledFlowRoute*>_zeroed(len(flow.routes), sizeof(CompiledFlowRoute))
        out.names = server_names_new()
        if out.names == NULL:
            raise MemoryError
        for i, each in enumerate(flow.routes):
            route = &out.routes[i]
            out.route_count = i + 1
            route.name = self._slice(each.name)
            route.targets = <Target*>_zeroed(len(each.targets), sizeof(Target))
            total = 0
            for target in each.targets:
                if target.weight == 0:
                    continue
                total += target.weight
                self._compile_target(target, &route.targets[route.target_count])
                route.targets[route.target_count].up_to = total
                upstream = route.targets[route.target_count].upstream
                out.needs_local = out.needs_local or upstream.proxy != 0 or (upstream.keyed and upstream.key == KEY_FLOW)
                route.target_count += 1
            if each.targets and total == 0:
                raise ValueError(f"listener {spec.name}: the weights of {each.name} sum to 0")
            route.alpn = <Slice*>_zeroed(len(each.alpn), sizeof(Slice))
            for protocol in each.alpn:
                route.alpn[route.alpn_count] = self._slice(protocol)
                route.alpn_count += 1
            if not each.names and not server_names_add(out.names, self._slice(""), True, i):
                raise MemoryError
            for name in each.names:
                if not server_names_add(out.names, self._slice(name.lower()), False, i):
                    raise MemoryError
        return 0

    def _compile_listeners(self, listeners) -> None:
        cdef CompiledListener* out
        cdef RouteSteps steps
        cdef int i, k
        self.data.listeners = <CompiledListener*>_zeroed(len(listeners), sizeof(CompiledListener))
        self.data.listener_count = len(listeners)
        for i, spec in enumerate(listeners):
            out = &self.data.listeners[i]
            out.snapshot = self.data
            out.listener = (<Listener?>spec.listener).data
            if spec.header_size > HEADER_SIZE_MAX:
                raise ValueError(f"listener {spec.name}: header_size is at most {HEADER_SIZE_MAX}")
            if spec.flow is not None:
                self._compile_flow(spec, out)
            elif not 0 <= spec.table < self.data.table_count:
                raise ValueError(f"listener {spec.name}: no route table number {spec.table}")
            else:
                out.table = &self.data.tables[<int>spec.table]
                if len(spec.stats) != out.table.count + 1:
                    raise ValueError(f"listener {spec.name}: {out.table.count + 1} stats are needed, {len(spec.stats)} given")
            out.stats = <RouteStatsData**>_zeroed(len(spec.stats), sizeof(RouteStatsData*))
            for k, stats in enumerate(spec.stats):
                out.stats[k] = &(<RouteStats?>stats).data
            if spec.access is not None:
                steps = RouteSteps((spec.access,))
                self._keep.append(steps)
                out.access = &steps.steps[0].rule.access
            if spec.proxy is not None:
                out.proxied = True
                out.proxies = networks_compile(spec.proxy, (), &out.proxy_count)
            out.connections = spec.connections
            out.limits.head_size = spec.header_size
            out.limits.uri_length = spec.uri_length
            out.limits.field_count = min(spec.header_count, MAX_FIELDS)
            out.scheme = self._slice(spec.scheme)
            out.client_ip_header = self._slice(spec.client_ip_header.lower())
            out.trust = networks_compile(spec.trust, (), &out.trust_count)
            out.buffer = spec.buffer
            out.body_size = spec.body_size
            out.header_ms = spec.header_ms
            out.idle_ms = spec.idle_ms
            out.min_body_rate = spec.min_body_rate
            out.per_client = spec.per_client
            out.pages = self._compile_pages(spec.error_pages, &out.page_count)

    @property
    def generation(self) -> int:
        return self.data.generation

    def match(self, int listener, str method, str host, str path, *, headers=(), str query="", str client="") -> tuple[int, str]:
        """(number of the route that a request would take, or -1; its path in normal form).  headers: (name, value) pairs; client: an IP
        literal, or "" where it is not known.  ValueError where a request like that is refused."""
        cdef Question question = Question(method, host, path, headers, query, client)
        return route_match(self.data.listeners[self._listener(listener)].table.tree, &question.asked), question.path

    def why_not(self, int listener, int route, str method, str host, str path, *, headers=(), str query="", str client="") -> list[str]:
        """What keeps a route from matching: [] or some of "method", "host", "path", "header", "query", "cookie", "source"."""
        cdef Question question = Question(method, host, path, headers, query, client)
        cdef CompiledTable* table = self.data.listeners[self._listener(listener)].table
        if not 0 <= route < table.count:
            raise ValueError(f"no route number {route}")
        return miss_words(route_why(table.tree, route, &question.asked))

    def verdict(self, int listener, int route, str client) -> str | None:
        """What the route's rules of access say to a client address: None (they let it pass) or the word of the fault that refuses it."""
        cdef CompiledTable* table = self.data.listeners[self._listener(listener)].table
        cdef bytes text = client.encode()
        cdef Address address
        cdef int i
        if not 0 <= route < table.count:
            raise ValueError(f"no route number {route}")
        if not address_parse(_view(text), &address):
            raise ValueError(f"not an IP address: {client}")
        for i in range(table.routes[route].step_count):
            if (table.routes[route].steps[i].kind == FILTER_ACCESS
                    and not access_admits(&table.routes[route].steps[i].rule.access, &address)):
                return (<bytes>fault_info(FAULT_DENIED).word).decode()
        return None

    cdef int _listener(self, int listener) except -1:
        if not 0 <= listener < self.data.listener_count:
            raise ValueError(f"no listener number {listener}")
        return listener


def _first_bits(config_hash: str) -> int:
    """The first 48 bits of a hash in hex; 0 for a snapshot that was not made from a config file."""
    return int(config_hash[:12], 16) if re.match(r"[0-9a-f]{12}", config_hash) else 0


def _when(conditions) -> int:
    """Bits FAULT_WHEN_* of a RetrySpec or a FailoverSpec."""
    return ((FAULT_WHEN_CONNECT if conditions.connect_failure else 0) | (FAULT_WHEN_RESET if conditions.reset else 0)
            | (FAULT_WHEN_TIMEOUT if conditions.timeout else 0))


cdef int _set_statuses(ranges, StatusSet* out) except -1:
    cdef int status
    for low, high in ranges:
        if not 100 <= low <= high <= 599:
            raise ValueError(f"no statuses {low} to {high}")
        for status in range(low, high + 1):
            out.bits[status >> 6] |= <unsigned long long>1 << (status & 63)
    return 0


cdef void _free_flow(CompiledFlow* flow) noexcept:
    cdef int i
    if flow == NULL:
        return
    for i in range(flow.route_count):
        free(flow.routes[i].targets)
        free(flow.routes[i].alpn)
    free(flow.routes)
    server_names_free(flow.names)
    free(flow)


cdef void _free_pages(CompiledPage* pages, int count) noexcept:
    cdef int i
    for i in range(count):
        free(pages[i].statuses)
        free(pages[i].parts)
    free(pages)


cdef Slice _view(bytes data) except *:
    cdef Slice s
    s.data = data
    s.size = len(data)
    return s
