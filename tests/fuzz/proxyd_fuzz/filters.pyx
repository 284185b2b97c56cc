"""The filters of a route over any request: every credential, key and field line that they read or write lies where it may, what they say is
whole field lines, and whatever they took is given back.

An input is the route, a seed of what the control plane says, and a target's query, a line feed, and field lines.
"""
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memchr, memcmp, memcpy, memset
from proxyd_ext.auth.verdict cimport Verdict, VerdictData, verdict_hold
from proxyd_ext.core.address cimport ADDRESS_UNIX, Address, address_parse
from proxyd_ext.core.buffer cimport BufferPool, buffers_init
from proxyd_ext.core.fault cimport FAULT_NONE
from proxyd_ext.core.shim cimport INVARIANT
from proxyd_ext.core.slice cimport Slice, slice_empty, slice_of
from proxyd_ext.filter.chain cimport (
    CHAIN_ANSWER, CHAIN_ASK_AUTH, CHAIN_ASK_FILTER, CHAIN_CONTINUE, CHAIN_DELAY, CHAIN_SCRATCH, chain_run, drop_fields, filter_begin,
    filter_end, filter_join, filter_told,
)
from proxyd_ext.filter.rules cimport FilterStep
from proxyd_ext.filter.state cimport FilterChange, FilterState
from proxyd_ext.http1.head cimport BODY_NONE, Head, HeadLimits, MAX_FIELDS, parse_request_head
from proxyd_ext.http1.rewrite cimport RequestEdits, write_request_head
from proxyd_ext.snapshot.steps cimport RouteSteps
from proxyd_fuzz.heads cimport answer_around, request_around
from proxyd_fuzz.support cimport exact_copy, next_random

from proxyd_ext.auth.verdict import Consumer, Verdicts
from proxyd_ext.filter.hooks import Hooks
from proxyd_ext.limit.ban import Bans
from proxyd_ext.limit.inflight import Inflight
from proxyd_ext.limit.rate import RateLimit
from proxyd_ext.snapshot.spec import (
    AccessFilter, AuthFilter, BanFilter, CorsFilter, HeadersFilter, InflightFilter, LimitKeyPart, Plan, PlanFilter, PythonFilter,
    RateLimitFilter, RequestFilter,
)

cdef enum:
    ROUTES = 8
    VERDICTS = 5
    TURNS = 40                # more than a chain can ask
    HEAD_CAP = 1 << 18
    BURST = 5


cdef BufferPool _buffers
buffers_init(&_buffers)
_hooks = Hooks("fuzz")
_hooks.request = True
_bans = Bans("fuzz", after=3, within_us=10_000_000, for_us=5_000_000, capacity=8)
_inflight = Inflight("fuzz", capacity=8)
_consumer = Consumer("fuzz")
_net = LimitKeyPart("client.ip", ipv4_bits=20, ipv6_bits=61)
_parts = [_net, LimitKeyPart("path"), LimitKeyPart("header", "x-user"), LimitKeyPart("query", "q")]
_others = [LimitKeyPart("cookie", "a"), LimitKeyPart("host"), LimitKeyPart("method"), LimitKeyPart("route")]
_who = [LimitKeyPart("user"), LimitKeyPart("claim", "team")]


_limits = []              # all of them, to be forgotten between two inputs


def _rate(key, **settings):
    algorithm = settings.pop("algorithm", "token_bucket")
    table = RateLimit("fuzz", requests=20, per_us=1_000_000, burst=BURST, delay=2, algorithm=algorithm, capacity=16)
    _limits.append(table)
    return RateLimitFilter('a "rate"', table, key, quota=20, **settings)


def _auth(source, name="", **settings):
    return AuthFilter("auth", Verdicts("fuzz"), source, name, challenge=b"WWW-Authenticate: Bearer\r\n", **settings)


def _route(number):
    """One of the routes; together they have every kind of step, credential and key."""
    python = PythonFilter("python", _hooks, fail_open=number % 2 == 1)
    plans = [Plan("gold", _rate(_parts).limit, 3, "week", 20, 1), Plan("none")]
    auths = [
        [_auth("bearer", hide=True)], [_auth("basic"), _auth("header", "X-Key", optional=True)], [_auth("query", "key")],
        [_auth("cookie", "a")], [_auth("fields", fields=["X-A", "Cookie", "Authorization"])],
        [_auth("fields", fields=["X-A"], per_target=True)], [],
        [_auth("header", "x-key", optional=True, hide=True)],
    ][number]
    origins = [["*"], ["https://*.example.com", "http://a:8080"]][number % 2]
    return [
        BanFilter("ban", _bans, ipv4_bits=24),
        AccessFilter(allow=["0.0.0.0/0", "::/0"], deny=["192.0.2.0/25"], default_allow=True),
        CorsFilter("cors", origins, ["GET", "PUT"], ["*"] if number % 3 else ["x-a"], ["x-b"], credentials=number % 2 == 1, max_age_s=5),
        RequestFilter("request", frozenset(["GET", "BREW"]) if number else frozenset(), 100),
        _rate(_parts, headers="always"), _rate(_others, algorithm="leaky_bucket", headers="refused", dry_run=number == 2),
        InflightFilter("inflight", _inflight, _parts[:3], 1), InflightFilter("inflight", _inflight, _others[:1], 2, dry_run=number == 3),
        *auths, *[PlanFilter(auth.policy, plans) for auth in auths[:1]],
        _rate(_who), InflightFilter("inflight", _inflight, _who, 2),
        HeadersFilter(b"X-Set: 1\r\n", b"Y-Set: 1\r\n", b"X-Add: 1\r\n", b"Y-Add: 1\r\n", ["x-a", "authorization"], ["server"]),
        python, python,
    ]


_routes = [RouteSteps(_route(number)) for number in range(ROUTES)]
_verdicts = [
    Verdict(allow=True, user="ann", lines=b"X-User-Id: ann\r\n", attributes={"team": "red"}, plan=0, consumer=_consumer),
    Verdict(allow=True, lines=b"X-Long: %s\r\n" % (b"l" * 8_000), plan=1, consumer=_consumer),
    Verdict(allow=True, user="u" * 300, plan=7),
    Verdict(allow=False, status=403, head=b"WWW-Authenticate: Basic\r\nX-Why: not\r\n", body=b"no"),
    Verdict(allow=False, user="bob", head=b"X-Long: %s\r\n" % (b"l" * 8_000)),
]
cdef FilterStep* _steps[ROUTES]
cdef int[ROUTES] _counts
cdef VerdictData* _words[VERDICTS]
cdef int _number
for _number in range(ROUTES):
    _steps[_number] = (<RouteSteps>_routes[_number]).steps
    _counts[_number] = (<RouteSteps>_routes[_number]).count
for _number in range(VERDICTS):
    _words[_number] = (<Verdict>_verdicts[_number]).data


cdef void check_readable(Slice text) noexcept nogil:
    """Every byte: the sanitizer looks. Of an empty one there need not be a place."""
    free(exact_copy(text.data, text.size))


cdef void check_lines(Slice lines) noexcept nogil:
    """Whole field lines that any head may have, with nothing that frames."""
    cdef Head* head = answer_around(lines.data, lines.size)
    INVARIANT(head != NULL)
    INVARIANT(lines.size == 0 or (head.field_count > 0 and head.field_count <= MAX_FIELDS))
    INVARIANT(not head.has_content_length)
    free(head)


cdef void check_told(Slice lines) noexcept nogil:
    """What limits say of themselves: never more left than a burst, nor longer to wait than for all of it."""
    cdef size_t i, k
    cdef uint64_t number
    for i in range(lines.size - 3 if lines.size > 3 else 0):
        if memcmp(lines.data + i, <const char*>b";r=", 3) != 0 and memcmp(lines.data + i, <const char*>b";t=", 3) != 0:
            continue
        number, k = 0, i + 3
        while c'0' <= lines.data[k] <= c'9':
            number = number * 10 + lines.data[k] - c'0'
            k += 1
        INVARIANT(k > i + 3 and number <= BURST + 1)


cdef void check_names(Slice names) noexcept nogil:
    INVARIANT(names.size == 0 or names.data[names.size - 1] == c'\n')
    check_readable(names)


cdef FilterChange* change_of(uint64_t lot) noexcept nogil:
    """As filter/change makes them: one block."""
    cdef FilterChange* change = <FilterChange*>calloc(1, sizeof(FilterChange) + 64)
    cdef char* text = <char*>(change + 1)
    INVARIANT(change != NULL)
    memcpy(text, <const char*>b"X-Changed: 1\r\n", 14)
    memcpy(text + 14, <const char*>b"x-a\nx-changed\n", 14)
    if lot & 1:
        change.lines = slice_of(<const uint8_t*>text, 14)
    if lot & 2:
        change.drop = slice_of(<const uint8_t*>text + 14, 14)
    return change


cdef int run(const FilterStep* steps, int count, FilterState* state, uint64_t* draw) noexcept nogil:
    """To the end of the chain, with a control plane that says anything."""
    cdef FilterChange* change
    cdef uint64_t lot
    cdef int _turn, result
    for _turn in range(TURNS):
        result = chain_run(steps, count, state)
        lot = next_random(draw)
        if result == CHAIN_DELAY:
            INVARIANT(not state.delayed)
            state.delayed = True
        elif result == CHAIN_ASK_AUTH:
            INVARIANT(state.credential.data != NULL and state.timeout_ms > 0)
            check_readable(state.credential)
            state.failed = lot % 7 == 0
            if not state.failed:
                state.answered = _words[lot // 7 % VERDICTS]
                verdict_hold(state.answered)
        elif result == CHAIN_ASK_FILTER:
            state.failed = lot % 5 == 0
            state.resumed = not state.failed
            state.changed = state.resumed and (lot & 4) != 0
            if state.changed:
                change = change_of(lot)
                change.next = state.changes
                state.changes = change
        else:
            return result
        memset(state.scratch, 0xEE, CHAIN_SCRATCH)      # it is of one run only
        state.now_us += <int64_t>(lot % 400_000)        # after a delay, too: when it was waited, it was
    INVARIANT(False)
    return 0


cdef void check_sent(Head* head, const FilterState* state) noexcept nogil:
    """What goes to a server is a head that reads as one."""
    cdef RequestEdits edits
    cdef HeadLimits limits
    cdef Head again
    cdef size_t scanned = 0
    cdef uint8_t* out = <uint8_t*>malloc(HEAD_CAP)
    cdef int size
    memset(&edits, 0, sizeof(edits))
    edits.path, edits.proto, edits.via = state.path, slice_of(<const uint8_t*>b"http", 4), slice_of(<const uint8_t*>b"p", 1)
    edits.client_ip = edits.request_id = edits.via
    edits.extra, edits.body = state.request_lines, BODY_NONE
    edits.replaced = drop_fields(head, state.request_drop)
    size = write_request_head(head, &edits, out, HEAD_CAP)
    if size > 0 and head.field_count < 100:
        limits.head_size, limits.uri_length, limits.field_count = HEAD_CAP, HEAD_CAP, MAX_FIELDS
        INVARIANT(parse_request_head(out, size, &scanned, &limits, &again) == size)
    free(out)


cdef void look(Head* head, Slice query, const Address* client, int route, uint64_t seed) noexcept nogil:
    cdef FilterState state
    cdef uint64_t draw = seed * 2 + 1
    cdef int result
    filter_begin(&state)
    state.head, state.client, state.query = head, client, query
    state.host = slice_of(<const uint8_t*>b"h", 1)
    state.path = state.listener = state.route = slice_of(<const uint8_t*>b"/r", 2)
    state.now_us, state.wall_us = 50_000_000 + <int64_t>seed * 1_000_000, 1_700_000_000_000_000
    state.engine, state.lot, state.buffers = 0, seed, &_buffers
    state.scratch = <uint8_t*>malloc(CHAIN_SCRATCH)
    result = run(_steps[route], _counts[route], &state, &draw)
    if result == CHAIN_CONTINUE:
        INVARIANT(filter_join(&state) == FAULT_NONE)
        check_lines(state.request_lines)
        check_lines(state.response_lines)
        check_names(state.request_drop)
        check_names(state.response_drop)
        check_sent(head, &state)
    else:
        INVARIANT(result == CHAIN_ANSWER or result < 0)
        check_readable(state.body)
    check_lines(filter_told(&state))
    check_told(filter_told(&state))
    filter_end(&state)
    free(state.scratch)


cdef int one_input_c(const uint8_t* data, size_t size) noexcept:
    cdef const uint8_t* line
    cdef uint8_t* query
    cdef size_t query_size
    cdef Address client
    cdef Head* head
    cdef int i
    if size < 3:
        return 0
    line = <const uint8_t*>memchr(data + 2, c'\n', size - 2)
    query_size = line - data - 2 if line != NULL else 0
    head = request_around(data + 2 + query_size + (line != NULL), size - 2 - query_size - (line != NULL))
    if head == NULL:
        return 0
    memset(&client, 0, sizeof(client))
    client.family = ADDRESS_UNIX
    if data[1] & 1:
        INVARIANT(address_parse(slice_of(<const uint8_t*>b"192.0.2.1", 9), &client))
        client.bytes[2] = data[1] & 7
    elif data[1] & 2:
        INVARIANT(address_parse(slice_of(<const uint8_t*>b"2001:db8::1", 11), &client))
        client.bytes[7] = data[1]
    for limit in _limits:
        limit.reset()
    _bans.reset()
    _consumer.set_usage(0, 0)
    query = exact_copy(data + 2, query_size)
    look(head, slice_of(query, query_size) if line != NULL else slice_empty(), &client, data[0] % ROUTES, data[1])
    free(query)
    free(head)
    INVARIANT(_buffers.bytes_out == 0)
    for i in range(VERDICTS):
        INVARIANT(_words[i].refs == 1)
    INVARIANT(<int>_inflight.stats()["in_flight"] == 0)
    return 0


one_input = PyCapsule_New(<void*>one_input_c, "proxyd_fuzz.one_input", NULL)
