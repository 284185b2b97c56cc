# cython: cdivision=True
"""The life of one request, from its first byte to its log record (ext/README.md tells it in prose).

Longer than other files on purpose: the order of phases stands here and nowhere else. Read it from the top:

    read_head → begin → route → filter → pick → connect → send_request → read_response → begin_response → move_response → end → log

`exchange_fail` is the one way out for every fault: before the first byte of the answer it retries or answers, after it only cuts off
visibly and logs.
What streams and timers tell comes in through `dispatch`, which calls the `exchange_*` steps below.
"""
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t, uint8_t
from libc.string cimport memcmp, memcpy
from proxyd_ext.balance.circuit cimport circuit_admits, circuit_give
from proxyd_ext.balance.heap cimport TRIED_MAX, was_tried
from proxyd_ext.balance.passive cimport note_success
from proxyd_ext.balance.pick cimport PICK_FULL, PICK_NONE, PickInput, pick, pick_leave
from proxyd_ext.balance.pool cimport (
    CIRCUIT_CLOSED, STICKY_ID_MAX, PoolData, pool_pin, pool_sticky, pool_unpin,
)
from proxyd_ext.balance.queue cimport queue_found
from proxyd_ext.balance.server cimport ServerData, server_usable
from proxyd_ext.conn.affinity cimport COOKIES_ROOM, affinity_again, affinity_branch, affinity_lines, affinity_read
from proxyd_ext.conn.answer cimport (
    answer_fault, answer_fixed, answer_instead, answer_options, answer_redirect, answer_refusal, answer_with, wanted_form,
)
from proxyd_ext.conn.attempt cimport (
    RETRY_OTHER, RETRY_SAME, attempt_after_fault, attempt_after_status, attempt_backoff_ms, attempt_failover, attempt_give_budget,
    attempt_refuse_budget, attempt_repeatable, attempt_retry_after_ms, attempt_take_budget,
)
from proxyd_ext.cache.alarm cimport alarm_heard, alarm_ring_self
from proxyd_ext.conn.aside cimport ASIDE_DELETE, ASIDE_SERVE, ASIDE_TAKE, ASIDE_TIER, aside_begin, aside_take
from proxyd_ext.conn.cache_status cimport cached_status_line
from proxyd_ext.conn.cached cimport cached_as_get, cached_asked, cached_claim, cached_end, cached_heard, cached_unfilled
from proxyd_ext.conn.client cimport client_behind, client_behind_ended, client_close, client_finish, client_rest
from proxyd_ext.conn.collapse cimport cached_again, cached_alone, cached_failed, cached_woken
from proxyd_ext.conn.deliver cimport (
    DELIVER_BLOCKED, DELIVER_DONE, DELIVER_FAILED, DELIVER_LATER, deliver_begin, deliver_more,
)
from proxyd_ext.conn.fill cimport fill_begin
from proxyd_ext.conn.filtered cimport (
    SHOW_NONE, filtered_ask, filtered_begin_behind, filtered_change_answer, filtered_end, filtered_hear_change, filtered_hear_nothing,
    filtered_remember, filtered_replied, filtered_run, filtered_show, filtered_show_failed, filtered_wants_verdict,
)
from proxyd_ext.conn.lookup cimport (
    LOOKUP_BEHIND, LOOKUP_ONLY, LOOKUP_PASS, LOOKUP_SERVE, LOOKUP_TIER, LOOKUP_WAIT, cached_behind, cached_lookup, cached_need,
)
from proxyd_ext.conn.revalidate cimport CACHED_LINES, cached_edit
from proxyd_ext.conn.stale cimport cached_instead
from proxyd_ext.conn.store cimport STORE_AGAIN, STORE_FILL, STORE_RELAY, cached_answer
from proxyd_ext.conn.wait cimport (
    ANSWER_CHANGE, ANSWER_CONTENT, ANSWER_FAIL, ANSWER_VERDICT, Answer, consult_ask, consult_ask_about, lookup_ask, wait_again, wait_end,
    wait_for_place, wait_for_room, wait_served, wait_sheds,
)
from proxyd_ext.conn.introduce cimport introduce
from proxyd_ext.conn.key cimport real_client, trusted_peer
from proxyd_ext.conn.mirror cimport mirror_take
from proxyd_ext.conn.guard cimport drop_disguised, max_forwards_used_up
from proxyd_ext.conn.model cimport (
    CLIENT_BUSY, CLIENT_HEAD, CLIENT_IDLE, CLIENT_TUNNEL, CacheUse, ClientConn, Context, EX_BEHIND, EX_CLIENT_CLOSE, EX_FAILED_OVER,
    EX_FRESH, EX_HEDGE, EX_IDEMPOTENT, EX_IN_FLIGHT, EX_LAST_REQUEST, EX_NEW_TRACE, EX_OF_TRY, EX_ORIGIN_KEEP, EX_OUT_CHUNKED,
    EX_OWN_ANSWER, EX_PERSONAL, EX_PLACED, EX_PROBE, EX_QUIET, EX_REPLAYABLE, EX_REQUEST_DONE, EX_RESPONSE_BEGUN, EX_REUSED, EX_SET_PIN,
    EX_SHOWN, EX_STICKY_KEY, EX_TRUSTED, EX_UPGRADE, Exchange, LINES_ROOM, ORIGIN_BODY, ORIGIN_TUNNEL, ORIGIN_WAITING, OriginConn,
    PATH_SCRATCH, PAUSE_ASK, PAUSE_BACKOFF, PAUSE_BUDGET, PAUSE_DELAY, PAUSE_FETCH, PAUSE_HEDGE, PAUSE_NONE, PAUSE_PLACE, PAUSE_QUEUE,
    PAUSE_TIER, Try, USE_SERVE, USE_TAKE, context_timers_needed,
)
from proxyd_ext.conn.page cimport page_find
from proxyd_ext.conn.phases cimport (
    PHASE_CACHE_LOOKUP, PHASE_CACHE_STORE, PHASE_CONNECT, PHASE_DELIVER, PHASE_DONE, PHASE_FILTER_ORIGIN_RESPONSE, PHASE_FILTER_REQUEST,
    PHASE_FILTER_RESPONSE, PHASE_LOG, PHASE_PICK, PHASE_READ_HEAD, PHASE_READ_RESPONSE, PHASE_ROUTE, PHASE_SEND_REQUEST, phase_next,
)
from proxyd_ext.conn.pin cimport snapshot_hold, snapshot_release
from proxyd_ext.conn.origin cimport origin_close, origin_connect, origin_park, origin_reuse
from proxyd_ext.conn.record cimport record_exchange, record_failure, record_try, record_unwanted
from proxyd_ext.conn.relay cimport RELAY_BLOCKED, RELAY_DONE, RELAY_MORE, RELAY_SPLICED, finish_until_close, relay_request, relay_response
from proxyd_ext.conn.trace cimport TRACE_KEPT, TRACEPARENT_SIZE, trace_take, trace_write
from proxyd_ext.conn.tunnel cimport tunnel_from_client, tunnel_from_origin
from proxyd_ext.core.address cimport Address, network_contains
from proxyd_ext.core.buffer cimport buffer_class, buffer_free, buffer_new
from proxyd_ext.core.fault cimport (
    FAULT_BODY_TOO_LARGE, FAULT_CIRCUIT_OPEN, FAULT_CLIENT_CLOSED, FAULT_CONSULT_FULL, FAULT_FD_EXHAUSTED, FAULT_FILTER_FAILED,
    FAULT_HEAD_REWRITE_TOO_LARGE, FAULT_HOST_INVALID, FAULT_LOOP, FAULT_MEMORY, FAULT_METHOD_REFUSED, FAULT_NONE, FAULT_NOT_CACHED,
    FAULT_NOT_STORED, FAULT_NO_ROUTE, FAULT_NO_SERVER, FAULT_OVERLOADED, FAULT_PATH_INVALID, FAULT_PLACES_FULL, FAULT_PLACES_TIMEOUT,
    FAULT_QUEUE_FULL, FAULT_QUEUE_TIMEOUT, FAULT_RETRY_IF_REUSED, FAULT_SHED, FAULT_SOURCE_CLIENT, FAULT_SOURCE_UPSTREAM,
    FAULT_TOTAL_TIMEOUT, FAULT_UPGRADE_UNEXPECTED, FAULT_UPSTREAM_FIRST_BYTE_TIMEOUT, FAULT_UPSTREAM_HEAD_TOO_LARGE,
    FAULT_UPSTREAM_TRUNCATED, FAULT_URI_TOO_LONG, FAULT_WHEN_CONNECT, FAULT_WHEN_RESET, FaultInfo, fault_info,
)
from proxyd_ext.core.hash cimport random_below, random_next
from proxyd_ext.core.shim cimport INVARIANT, counter_add, load_i64, load_int, store_i64
from proxyd_ext.core.slab cimport slab_free, slab_new
from proxyd_ext.core.slice cimport Slice, slice_empty, slice_of
from proxyd_ext.core.stats cimport count_add, histogram_add
from proxyd_ext.core.timer cimport TIMER_OFF_MS, timer_after, timer_init, timer_off, timer_remove, timer_set, timers_reserve
from proxyd_ext.filter.chain cimport CHAIN_ANSWER, CHAIN_CONTINUE, CHAIN_DELAY, chain_run, drop_fields, filter_begin
from proxyd_ext.filter.state cimport FilterChange, FilterState
from proxyd_ext.http1.chunk cimport chunk_start
from proxyd_ext.http1.fields cimport field_from_last
from proxyd_ext.http1.head cimport (
    BODY_CHUNKED, BODY_CLOSE, BODY_LENGTH, BODY_NONE, FIELD_ACCEPT, FIELD_DATE, FIELD_REFERER, FIELD_TRACEPARENT, FIELD_USER_AGENT,
    FIELD_VIA, FIELD_X_REQUEST_ID, Field, HEAD_EXPECT_CONTINUE, HEAD_KEEP_ALIVE, HEAD_UPGRADE_WEBSOCKET, Head, HeadLimits,
    METHOD_CONNECT, METHOD_DELETE, METHOD_GET, METHOD_HEAD, METHOD_OPTIONS, METHOD_OTHER, METHOD_PUT, METHOD_TRACE, TARGET_ASTERISK,
    head_field, parse_request_head, parse_response_head, split_host,
)
from proxyd_ext.http1.path cimport merge_slashes, normalize_path, path_is_normal
from proxyd_ext.http1.rewrite cimport RequestEdits, ResponseEdits, write_decimal, write_request_head, write_response_head
from proxyd_ext.http1.template cimport TemplateValues, rewrite_path
from proxyd_ext.io.peer cimport local_address
from proxyd_ext.io.poller cimport STREAM_BROKEN, STREAM_ENDED, STREAM_ENDING, STREAM_ERRORED, STREAM_READABLE, STREAM_SENT
from proxyd_ext.io.stream cimport (
    stream_commit, stream_consume, stream_pause, stream_resume, stream_room, stream_send, stream_send_stable, stream_unsent,
)
from proxyd_ext.limit.gate cimport (
    GATE_GRANTED, GATE_IN, GATE_WAITS, LANE_ADMITTED, LANE_FULL, LANE_QUEUED, LANE_SHED, LANE_TIMEOUT, LaneData, gate_enter, gate_leave,
    lane_count, lane_queue_ms,
)
from proxyd_ext.limit.overload cimport OverloadData
from proxyd_ext.log.record cimport CACHE_NONE, T_NONE, TRACE_NONE
from proxyd_ext.route.condition cimport RouteInput
from proxyd_ext.route.table cimport route_match
from proxyd_ext.snapshot.compile cimport (
    ACTION_ASIDE, ACTION_CONSULT, CONSULT_PURGE, ACTION_PROXY, ACTION_REDIRECT, ACTION_RESPOND, CompiledListener, CompiledPage,
    CompiledRoute, HEDGE_NEVER, HEDGE_PERCENTILE, SPLIT_NONE, STICKY_NONE, SnapshotData,
)

cdef enum:
    ORIGIN_HEAD_MAX = 65536       # bytes of an origin's answer head
    REQUEST_EXTRA = 1024          # bytes that rewriting may add to a head, beside the config's own lines
    RESPONSE_EXTRA = 512
    SMALL_BODY = 32768            # a request body up to this is kept with its head: one send, and it can be sent again
    LOG_TEXT_MAX = 512            # bytes kept of User-Agent and of Referer for the log
    INTERIMS_MAX = 32             # 1xx answers to one request
    BUDGET_WAIT_MS = 1000         # how long a retry waits for a place in the budget at most
    BUDGET_LOOK_MS = 4            # and how long between two looks
    PURGE_MS = 30000              # for the control plane to purge, with the nodes that share the cache
    BEHIND_MS = 60000             # for a fetch that nobody waits for, on routes without a total timeout
    WORKING_LOOKS = 64            # servers among which one that works is looked for

cdef HeadLimits _origin_limits
_origin_limits.head_size = ORIGIN_HEAD_MAX
_origin_limits.uri_length = 0
_origin_limits.field_count = 256


cdef inline void _enter(Exchange* exchange, int phase) noexcept nogil:
    INVARIANT(phase_next(exchange.phase) >> phase & 1)
    exchange.phase = phase


# ---- READ_HEAD ----

cdef void exchange_read_head(ClientConn* client) noexcept nogil:
    cdef Context* context = client.context
    cdef CompiledListener* settings = <CompiledListener*>client.local.settings
    cdef Head* head = &context.head
    cdef int size
    if client.state == CLIENT_IDLE:
        client.state = CLIENT_HEAD
        client.head_us = context.clock.now_us
        timer_after(&context.timers, &client.timer, context.clock.now_ms, settings.header_ms)
    size = parse_request_head(client.stream.received.data + client.stream.received.start,
                              client.stream.received.end - client.stream.received.start, &client.scanned, &settings.limits, head)
    if size == 0:
        if client.ended:
            client_finish(client, False)   # the rest of this head will never come
        return
    client.scanned = 0
    exchange_begin(client, settings, size)


cdef Exchange* _new(ClientConn* client, CompiledListener* settings) noexcept nogil:
    cdef Context* context = client.context
    cdef Exchange* exchange = <Exchange*>slab_new(&context.exchanges)
    if exchange == NULL or not timers_reserve(&context.timers, context_timers_needed(context)):
        if exchange != NULL:
            slab_free(&context.exchanges, exchange)
        return NULL
    exchange.context = context
    exchange.client = client
    exchange.origin = NULL
    exchange.snapshot = settings.snapshot
    snapshot_hold(context, exchange.snapshot)
    exchange.listener = settings
    exchange.route = NULL
    exchange.target = NULL
    exchange.upstream = NULL
    exchange.pool = NULL
    exchange.server = NULL
    exchange.rival.origin = NULL
    exchange.rival.pool = NULL
    exchange.route_number = settings.table.count
    exchange.member = -1
    exchange.tried.count = 0
    exchange.phase = PHASE_READ_HEAD
    exchange.method = METHOD_OTHER
    exchange.minor = 1
    exchange.attempts = 0
    exchange.retries = 0
    exchange.retry_why = 0
    exchange.hedges = 0
    exchange.pausing = PAUSE_NONE
    exchange.request_body = BODY_NONE
    exchange.response_body = BODY_NONE
    exchange.error_form = 0
    exchange.status = 0
    exchange.fault = 0
    exchange.flags = EX_REPLAYABLE
    exchange.id = random_next(&context.random)
    exchange.request = NULL
    exchange.request_start = 0
    exchange.request_id = slice_empty()
    exchange.client_ip = slice_of(client.ip, client.ip_size)
    exchange.method_text = slice_empty()
    exchange.host = slice_empty()
    exchange.path = slice_empty()
    exchange.query = slice_empty()
    exchange.user_agent = slice_empty()
    exchange.referer = slice_empty()
    exchange.trace_id = slice_empty()
    exchange.parent_id = slice_empty()
    exchange.traced = TRACE_NONE
    exchange.try_count = 0
    exchange.request_lines = slice_empty()
    exchange.request_drop = slice_empty()
    exchange.sent_path = slice_empty()
    exchange.response_lines = slice_empty()
    exchange.response_drop = slice_empty()
    exchange.client_address = client.address
    exchange.request_left = 0
    exchange.response_left = 0
    exchange.request_trailers = NULL
    exchange.response_trailers = NULL
    exchange.splice.active = False
    exchange.splice.moved = 0
    exchange.splice.held = 0
    exchange.splice_is_request = False
    exchange.client_mark = 0
    exchange.interims = 0
    exchange.bytes_in = 0
    exchange.bytes_out = 0
    exchange.head_out = 0
    exchange.key = 0
    exchange.start_us = client.head_us
    exchange.try_us = 0
    exchange.sent_us = 0
    exchange.connect_us = T_NONE
    exchange.first_byte_us = T_NONE
    exchange.ttfb_us = 0
    exchange.body_ms = 0
    exchange.wait = -1
    exchange.filtered = NULL
    exchange.answer_step = 0
    exchange.refused_status = 0
    exchange.body_most = settings.body_size
    exchange.changed_path = slice_empty()
    exchange.changed_query = slice_empty()
    exchange.query_changed = False
    exchange.fault_lines = slice_empty()
    exchange.fault_body = slice_empty()
    exchange.cached = NULL
    exchange.cache = CACHE_NONE
    exchange.cache_age = T_NONE
    exchange.until_ms = 0
    exchange.queued_us = 0
    exchange.queue_us = 0
    exchange.sticky = slice_empty()
    timer_init(&exchange.pause, exchange, context.on_pause)
    timer_init(&exchange.total, exchange, context.on_total_timeout)
    client.exchange = exchange
    client.state = CLIENT_BUSY
    client.stream.want_drained = False
    client.served += 1
    timer_off(&client.timer)
    store_i64(&client.local.in_flight, client.local.in_flight + 1)
    store_i64(&context.exchange_count, context.exchange_count + 1)
    return exchange


cdef inline bint _idempotent(uint8_t method) noexcept nogil:
    """RFC 9110 §9.2.2."""
    return method == METHOD_GET or method == METHOD_HEAD or method == METHOD_PUT or method == METHOD_DELETE or method == METHOD_OPTIONS


cdef void exchange_begin(ClientConn* client, CompiledListener* settings, int size) noexcept nogil:
    cdef Context* context = client.context
    cdef Head* head = &context.head
    cdef Exchange* exchange = _new(client, settings)
    if exchange == NULL:
        client_close(client, True)
        return
    stream_pause(&client.stream)
    if size < 0:
        exchange.flags |= EX_CLIENT_CLOSE
        exchange_refuse(exchange, -size)
        return
    exchange.method = head.method
    exchange.minor = head.minor
    exchange.request_body = head.body
    if head.body == BODY_LENGTH:
        exchange.request_left = head.content_length
        if head.content_length == 0:
            exchange.flags |= EX_REQUEST_DONE
    elif head.body == BODY_CHUNKED:
        chunk_start(&exchange.request_chunks)
    else:
        exchange.flags |= EX_REQUEST_DONE
    if not head.flags & HEAD_KEEP_ALIVE:
        exchange.flags |= EX_CLIENT_CLOSE | EX_LAST_REQUEST
    elif context.draining or client.local.leaving:
        exchange.flags |= EX_CLIENT_CLOSE
    if _idempotent(head.method):
        exchange.flags |= EX_IDEMPOTENT
    if head.flags & HEAD_UPGRADE_WEBSOCKET and head.method == METHOD_GET and head.body == BODY_NONE:
        exchange.flags |= EX_UPGRADE
    if head.first[FIELD_ACCEPT]:
        exchange.error_form = wanted_form(head_field(head, FIELD_ACCEPT))
    _route(exchange, head, size)


# ---- ROUTE ----

cdef int _keep_request(Exchange* exchange, Head* head, uint32_t size) noexcept nogil:
    """Copy what the log and our own answers need out of the client's buffer; the head that goes upstream is written behind it later."""
    cdef Context* context = exchange.context
    cdef Slice agent = head_field(head, FIELD_USER_AGENT)
    cdef Slice referer = head_field(head, FIELD_REFERER)
    cdef Slice id = head_field(head, FIELD_X_REQUEST_ID)
    # Path and query stand in it twice: for the log, and in the head, where the path may be longer than it came.
    cdef size_t need = (size + 2 * exchange.path.size + 2 * exchange.query.size + exchange.host.size + 2 * LOG_TEXT_MAX + REQUEST_EXTRA
                        + TRACE_KEPT + 256)
    if exchange.route != NULL and exchange.route.step_count:
        need += exchange.response_lines.size + exchange.request_lines.size
    if exchange.filtered != NULL or exchange.flags & EX_BEHIND:
        need += exchange.request_lines.size + exchange.request_drop.size + 2 * exchange.changed_query.size
    if exchange.route != NULL and exchange.route.rewrite != NULL:
        need += exchange.route.rewrite.host.size
    need += 2 * exchange.sent_path.size
    if head.body == BODY_LENGTH and head.content_length <= SMALL_BODY:
        need += <size_t>head.content_length
    need += cached_need(exchange, head, size)
    if need > 262144:
        return FAULT_HEAD_REWRITE_TOO_LARGE
    exchange.request = buffer_new(&context.buffers, buffer_class(need))
    if exchange.request == NULL:
        return FAULT_MEMORY
    exchange.method_text = _keep(exchange, head.method_text, 64)
    exchange.host = _keep(exchange, exchange.host, 255)
    exchange.path = _keep(exchange, exchange.path, exchange.path.size)
    exchange.query = _keep(exchange, exchange.query, exchange.query.size)
    if exchange.flags & EX_TRUSTED and 0 < id.size <= 128:
        exchange.request_id = _keep(exchange, id, 128)
    if exchange.client_ip.data != exchange.client.ip:
        exchange.client_ip = _keep(exchange, exchange.client_ip, 46)
    if context.log != NULL:
        exchange.user_agent = _keep(exchange, agent, LOG_TEXT_MAX)
        exchange.referer = _keep(exchange, referer, LOG_TEXT_MAX)
    if exchange.snapshot.traces or head.first[FIELD_TRACEPARENT]:
        exchange.request.end += trace_take(exchange, head_field(head, FIELD_TRACEPARENT), exchange.request.data + exchange.request.end)
    if exchange.sent_path.size:
        exchange.sent_path = _keep(exchange, exchange.sent_path, exchange.sent_path.size)
    exchange.request_start = exchange.request.end
    return FAULT_NONE


cdef Slice _keep(Exchange* exchange, Slice s, size_t most) noexcept nogil:
    cdef uint8_t* out = exchange.request.data + exchange.request.end
    cdef size_t size = s.size if s.size < most else most
    if s.data == NULL:
        return s
    memcpy(out, s.data, size)
    exchange.request.end += <uint32_t>size
    return slice_of(out, size)


cdef int _resolve(Exchange* exchange, Head* head) noexcept nogil:
    """Host, path in normal form and client of a request; FAULT_NONE or why it is refused."""
    cdef Context* context = exchange.context
    cdef CompiledListener* listener = exchange.listener
    cdef Slice host = slice_empty()
    cdef int result, fault = FAULT_NONE
    if head.method == METHOD_TRACE or head.method == METHOD_CONNECT:
        fault = FAULT_METHOD_REFUSED
        exchange.flags |= EX_CLIENT_CLOSE   # what an optimistic client sends behind CONNECT is not HTTP
    elif listener.body_size and head.body == BODY_LENGTH and head.content_length > listener.body_size:
        fault = FAULT_BODY_TOO_LARGE
    elif head.first[FIELD_VIA] and _is_loop(context, head):
        fault = FAULT_LOOP
    if head.host.size and split_host(head.host, &host) < 0:
        fault = FAULT_HOST_INVALID
    exchange.host = host
    exchange.path = head.path
    exchange.query = head.query
    if head.target_form != TARGET_ASTERISK and head.method != METHOD_CONNECT and not path_is_normal(head.path):
        if 3 * head.path.size > PATH_SCRATCH:
            fault = FAULT_URI_TOO_LONG
        else:
            result = normalize_path(head.path, context.path, PATH_SCRATCH)
            if result < 0:
                fault = FAULT_PATH_INVALID
            else:
                exchange.path = slice_of(context.path, result)
    if listener.trust_count and trusted_peer(listener, &exchange.client.address):
        exchange.flags |= EX_TRUSTED
        exchange.client_ip = real_client(listener, head, &exchange.client_address, exchange.client_ip)
    return fault


cdef void _route(Exchange* exchange, Head* head, uint32_t size) noexcept nogil:
    cdef CompiledListener* listener = exchange.listener
    cdef RouteInput asked
    cdef int fault
    cdef int32_t number
    _enter(exchange, PHASE_ROUTE)
    fault = _resolve(exchange, head)
    if (fault == FAULT_NONE and head.method == METHOD_OTHER and exchange.snapshot.purge_allow_count and _may_purge(exchange, head)):
        _purge(exchange, head, size)
        return
    if fault == FAULT_NONE:
        asked.head = head
        asked.host = exchange.host
        asked.path = merge_slashes(exchange.path, exchange.context.sent_path)
        asked.query = head.query
        asked.method = head.method
        asked.client = &exchange.client_address
        number = route_match(listener.table.tree, &asked)
        if number >= 0:
            exchange.route_number = number
            exchange.route = &listener.table.routes[number]
            if exchange.snapshot.overload != NULL:
                fault = _guard(exchange)
        else:
            fault = FAULT_NO_ROUTE
    _go_on(exchange, head, size, fault)


cdef int _guard(Exchange* exchange) noexcept nogil:
    """What the overload guard says to the class of the request."""
    cdef OverloadData* overload = exchange.snapshot.overload
    cdef uint8_t* line = exchange.context.lines
    cdef uint8_t* at = line
    if exchange.route.priority >= load_int(&overload.shed_below):
        return FAULT_NONE
    at += _copy(at, slice_of(<const uint8_t*>b"Retry-After: ", 13))
    at += write_decimal(load_int(&overload.retry_s), at)
    at += _copy(at, slice_of(<const uint8_t*>b"\r\n", 2))
    exchange.fault_lines = slice_of(line, at - line)
    return FAULT_OVERLOADED


cdef void _go_on(Exchange* exchange, Head* head, uint32_t size, int fault) noexcept nogil:
    """From the filters on; here again after each wait of theirs."""
    cdef int result = CHAIN_CONTINUE
    if fault == FAULT_NONE:
        result = _run_filters(exchange, head, size)
        if result < 0:
            fault = -result
        elif result != CHAIN_CONTINUE and result != CHAIN_ANSWER:
            return
    if fault == FAULT_NONE and exchange.route.rewrite != NULL:
        fault = _rewrite(exchange)
    if exchange.changed_path.data != NULL and fault == FAULT_NONE:
        exchange.sent_path = exchange.changed_path
    fault = _keep_or(exchange, head, size, fault)
    if fault != FAULT_NONE:
        if fault_info(fault).status == 400:
            exchange.flags |= EX_CLIENT_CLOSE   # who sends one request that is not well-formed is not trusted with a second
        stream_consume(&exchange.client.stream, size)
        exchange_refuse(exchange, fault)
        return
    if result == CHAIN_ANSWER:
        stream_consume(&exchange.client.stream, size)
        _before_own_answer(exchange)
        exchange.response_lines = exchange.response_drop = slice_empty()
        answer_with(exchange, 204, exchange.fault_lines, slice_empty())
        _enter(exchange, PHASE_DELIVER)
        exchange_end(exchange)
        return
    if head.method == METHOD_OPTIONS and max_forwards_used_up(head):
        stream_consume(&exchange.client.stream, size)
        _before_own_answer(exchange)
        answer_options(exchange)
        _enter(exchange, PHASE_DELIVER)
        exchange_end(exchange)
        return
    if exchange.route.action == ACTION_ASIDE:
        _enter(exchange, PHASE_CACHE_LOOKUP)
        _aside(exchange, head, size)
        return
    if exchange.route.action != ACTION_PROXY:
        stream_consume(&exchange.client.stream, size)
        _own_answer(exchange)
        return
    _prepare(exchange, head, size)


cdef int _keep_or(Exchange* exchange, Head* head, uint32_t size, int fault) noexcept nogil:
    """Keep what must stay of the request; the first fault counts."""
    cdef int result = _keep_request(exchange, head, size)
    if result != FAULT_NONE:
        # Nothing could be kept: the log does without.
        fault = result if fault == FAULT_NONE else fault
        exchange.host = exchange.path = exchange.query = slice_empty()
        exchange.client_ip = slice_of(exchange.client.ip, exchange.client.ip_size)
    return fault


cdef int _run_filters(Exchange* exchange, Head* head, uint32_t size) noexcept nogil:
    """CHAIN_CONTINUE, CHAIN_ANSWER, or -FAULT_*. CHAIN_ASK_*, CHAIN_DELAY: it waits."""
    cdef int result = _filter(exchange, head)
    cdef int fault
    while result > CHAIN_CONTINUE and result != CHAIN_ANSWER:
        fault = _wait_for_filter(exchange, head, size, result)
        if fault == FAULT_NONE:
            return result
        if fault != FAULT_CONSULT_FULL:
            return -fault
        filtered_hear_nothing(exchange, True)      # the step knows what is to become of it
        result = _filter(exchange, head)
    return result


cdef int _wait_for_filter(Exchange* exchange, Head* head, uint32_t size, int what) noexcept nogil:
    """The client's head stays in its buffer and is read once more when the wait is over. FAULT_NONE, or why it cannot wait."""
    cdef Context* context = exchange.context
    cdef int fault = _keep_or(exchange, head, size, FAULT_NONE)      # for the log, should the client go away meanwhile
    cdef int64_t ms
    if fault == FAULT_NONE and what != CHAIN_DELAY and not filtered_ask(exchange, head, what):
        fault = FAULT_CONSULT_FULL
    if fault != FAULT_NONE:
        _forget_kept(exchange)
        _resolve(exchange, head)
        return fault
    ms = exchange.filtered.timeout_ms
    if what == CHAIN_DELAY:
        ms = (exchange.filtered.hold_until_us - context.clock.now_us + 999) // 1000
    exchange.head_size = size
    exchange.pausing = PAUSE_DELAY if what == CHAIN_DELAY else PAUSE_ASK
    timer_after(&context.timers, &exchange.pause, context.clock.now_ms, ms)
    return FAULT_NONE


cdef void _forget_kept(Exchange* exchange) noexcept nogil:
    if exchange.request != NULL:
        buffer_free(&exchange.context.buffers, exchange.request)
        exchange.request = NULL
    exchange.client_ip = slice_of(exchange.client.ip, exchange.client.ip_size)
    exchange.client_address = exchange.client.address
    exchange.method_text = exchange.user_agent = exchange.referer = slice_empty()
    exchange.trace_id = exchange.parent_id = exchange.request_id = exchange.sent_path = slice_empty()
    exchange.request_start = 0


cdef void _filter_again(Exchange* exchange) noexcept nogil:
    """A wait of the filters is over."""
    cdef Context* context = exchange.context
    cdef ClientConn* client = exchange.client
    cdef Head* head = &context.head
    cdef size_t scanned = 0
    cdef int size
    cdef int fault
    _forget_kept(exchange)
    size = parse_request_head(client.stream.received.data + client.stream.received.start,
                              client.stream.received.end - client.stream.received.start, &scanned, &exchange.listener.limits, head)
    INVARIANT(size == <int>exchange.head_size)       # it was parsed before, by the same limits
    fault = _resolve(exchange, head)
    INVARIANT(fault == FAULT_NONE)
    _go_on(exchange, head, size, FAULT_NONE)


cdef void exchange_filter_answered(Exchange* exchange, Answer* answer) noexcept nogil:
    """The control plane's word about a credential, or that of a user's filter."""
    cdef FilterChange* change
    cdef int kind = answer.kind
    if exchange.pausing != PAUSE_ASK:
        return
    if (kind == ANSWER_VERDICT) != filtered_wants_verdict(exchange):
        kind = ANSWER_FAIL    # no answer to what was asked
    _stop_asking(exchange)
    if kind == ANSWER_CONTENT:
        filtered_replied(exchange)
        if exchange.origin == NULL:
            stream_consume(&exchange.client.stream, exchange.head_size)
        _reply(exchange, <uint16_t>answer.status, slice_of(<const uint8_t*>(answer + 1), answer.head_size),
               slice_of(<const uint8_t*>(answer + 1) + answer.head_size, answer.body_size))
    elif exchange.origin != NULL:
        _shown(exchange, answer.change, answer.status, kind != ANSWER_CHANGE, True)
    elif kind == ANSWER_VERDICT:
        exchange.filtered.answered = answer.verdict
        answer.verdict = NULL
        _filter_again(exchange)
    elif kind == ANSWER_CHANGE:
        change = answer.change
        answer.change = NULL
        filtered_hear_change(exchange, change)
        _filter_again(exchange)
    else:
        filtered_hear_nothing(exchange, True)
        _filter_again(exchange)


cdef void _stop_asking(Exchange* exchange) noexcept nogil:
    exchange.pausing = PAUSE_NONE
    timer_off(&exchange.pause)
    wait_end(exchange)


cdef void _reply(Exchange* exchange, uint16_t status, Slice head, Slice body) noexcept nogil:
    """A user's filter answers in the server's place."""
    if exchange.flags & EX_BEHIND:
        exchange_end(exchange)
        return
    if exchange.origin != NULL:
        exchange.flags &= ~<uint32_t>EX_ORIGIN_KEEP      # the rest of the server's answer is not read
    _before_own_answer(exchange)
    exchange.response_lines = exchange.fault_lines
    exchange.response_drop = slice_empty()
    answer_with(exchange, status, head, body)
    _enter(exchange, PHASE_DELIVER)
    exchange_end(exchange)


cdef bint _may_purge(const Exchange* exchange, const Head* head) noexcept nogil:
    cdef int i
    if head.method_text.size != 5 or memcmp(head.method_text.data, b"PURGE", 5) != 0:
        return False
    for i in range(exchange.snapshot.purge_allow_count):
        if network_contains(&exchange.snapshot.purge_allow[i], &exchange.client_address):
            return True
    return False


cdef void _purge(Exchange* exchange, Head* head, uint32_t size) noexcept nogil:
    """PURGE from whom it is allowed: the control plane carries it out, here and on the nodes that share the cache, and answers."""
    cdef Context* context = exchange.context
    cdef uint8_t* out = context.lines
    cdef uint8_t* end = out + LINES_ROOM
    cdef int fault = _keep_request(exchange, head, size)
    cdef int i
    cdef const Field* field
    if fault == FAULT_NONE and exchange.path.size + exchange.query.size + head.host.size + 160 > LINES_ROOM // 2:
        fault = FAULT_URI_TOO_LONG
    if fault == FAULT_NONE:
        out += _copy(out, slice_of(<const uint8_t*>b"PURGE\n", 6))
        out += _copy(out, exchange.client_ip)
        out += _copy(out, slice_of(<const uint8_t*>b" ", 1))
        out += _copy(out, slice_of(exchange.client.ip, exchange.client.ip_size))
        out += _copy(out, slice_of(<const uint8_t*>b"\n", 1))
        out += _copy(out, exchange.listener.scheme)
        out += _copy(out, slice_of(<const uint8_t*>b"://", 3))
        out += _copy(out, head.host)
        out += _copy(out, exchange.path)
        if exchange.query.data != NULL:
            out += _copy(out, slice_of(<const uint8_t*>b"?", 1))
            out += _copy(out, exchange.query)
        for i in range(head.field_count):
            field = &head.fields[i]
            if field.name_size + field.value_size + 3 > <size_t>(end - out):
                fault = FAULT_HEAD_REWRITE_TOO_LARGE       # a tag that is left out would be one that stays
                break
            out += _copy(out, slice_of(<const uint8_t*>b"\n", 1))
            out += _copy(out, slice_of(head.base + field.name, field.name_size))
            out += _copy(out, slice_of(<const uint8_t*>b":", 1))
            out += _copy(out, slice_of(head.base + field.value, field.value_size))
    stream_consume(&exchange.client.stream, size)
    _enter(exchange, PHASE_FILTER_REQUEST)
    if fault == FAULT_NONE:
        _ask_to_purge(exchange, slice_of(context.lines, out - context.lines))
    else:
        exchange_refuse(exchange, fault)


cdef inline size_t _copy(uint8_t* out, Slice s) noexcept nogil:
    if s.size:
        memcpy(out, s.data, s.size)
    return s.size


cdef void _ask_to_purge(Exchange* exchange, Slice text) noexcept nogil:
    if consult_ask_about(exchange, CONSULT_PURGE, text, False, slice_empty()):
        timer_after(&exchange.context.timers, &exchange.total, exchange.context.clock.now_ms, PURGE_MS)
    else:
        exchange_refuse(exchange, FAULT_CONSULT_FULL)


# ---- the cache for applications ----

cdef void _aside(Exchange* exchange, Head* head, uint32_t size) noexcept nogil:
    cdef int fault = FAULT_NONE
    cdef uint32_t told
    cdef int what = aside_begin(exchange, head, &fault, &told)
    cdef bint waits = what == ASIDE_TAKE and head.flags & HEAD_EXPECT_CONTINUE
    if what == ASIDE_SERVE:
        _serve_stored(exchange, head, slice_empty(), size)
        return
    stream_consume(&exchange.client.stream, size)
    if what == ASIDE_DELETE:
        _ask_to_purge(exchange, slice_of(exchange.context.lines, told))
    elif what == ASIDE_TIER and lookup_ask(exchange):
        exchange.pausing = PAUSE_TIER
        timer_after(&exchange.context.timers, &exchange.pause, exchange.context.clock.now_ms, exchange.route.cache.share_ms)
    elif what != ASIDE_TAKE:
        exchange_refuse(exchange, fault)
    else:
        if waits:
            stream_send(&exchange.client.stream, <const uint8_t*>b"HTTP/1.1 100 Continue\r\n\r\n", 25)
        exchange.body_ms = exchange.context.clock.now_ms
        _watch_body(exchange)
        stream_resume(&exchange.client.stream)
        _take_value(exchange)


cdef void _take_value(Exchange* exchange) noexcept nogil:
    """More of a value that is put has come."""
    cdef int fault
    if not aside_take(exchange, &fault):
        if exchange.client.ended:
            exchange_abandon(exchange, FAULT_CLIENT_CLOSED, True)
        return
    timer_off(&exchange.client.timer)
    if fault != FAULT_NONE:
        exchange_refuse(exchange, fault)
        return
    _before_own_answer(exchange)
    answer_with(exchange, 204, slice_empty(), slice_empty())
    _enter(exchange, PHASE_DELIVER)
    exchange_end(exchange)


cdef bint _is_loop(Context* context, const Head* head) noexcept nogil:
    """Whether our own pseudonym stands in Via (RFC 9110 §7.6.3); it is made anew for each process."""
    cdef const uint8_t* value
    cdef uint32_t at
    cdef int i
    for i in range(head.field_count):
        if head.fields[i].id != FIELD_VIA or head.fields[i].value_size < context.via_size:
            continue
        value = head.base + head.fields[i].value
        for at in range(head.fields[i].value_size - context.via_size + 1):
            if value[at] == context.via[0] and memcmp(value + at, context.via, context.via_size) == 0:
                return True
    return False


# ---- FILTER_REQUEST ----

cdef int _filter(Exchange* exchange, Head* head) noexcept nogil:
    """Run the route's steps from where they stand: CHAIN_*, or -FAULT_*."""
    cdef FilterState state
    cdef int result
    _enter(exchange, PHASE_FILTER_REQUEST)
    if exchange.route.step_count == 0:
        return CHAIN_CONTINUE
    if exchange.route.stateful:
        return filtered_run(exchange, head)
    filter_begin(&state)      # only access and changes to fields: nothing is kept
    state.client = &exchange.client_address
    result = chain_run(exchange.route.steps, exchange.route.step_count, &state)
    if result < 0:
        filtered_remember(exchange, &state)
    exchange.request_lines = state.request_lines
    exchange.request_drop = state.request_drop
    exchange.response_lines = state.response_lines
    exchange.response_drop = state.response_drop
    return result


cdef int _rewrite(Exchange* exchange) noexcept nogil:
    """The path that servers are sent, for all tries; the log keeps the client's. FAULT_NONE or why there is none."""
    cdef TemplateValues values
    cdef int size
    values.scheme = exchange.listener.scheme
    values.host = exchange.host
    values.path = exchange.path
    values.query = exchange.query
    size = rewrite_path(exchange.route.rewrite, &values, exchange.context.sent_path, PATH_SCRATCH)
    if size < 0:
        return -size
    exchange.sent_path = slice_of(exchange.context.sent_path, size)
    return FAULT_NONE


cdef void _own_answer(Exchange* exchange) noexcept nogil:
    """respond, redirect, or ask the control plane."""
    if exchange.route.action == ACTION_CONSULT:
        if not consult_ask(exchange, exchange.route.consult):
            exchange_refuse(exchange, FAULT_CONSULT_FULL)
            return
        timer_after(&exchange.context.timers, &exchange.total, exchange.context.clock.now_ms, exchange.route.consult_ms)
        return
    _before_own_answer(exchange)
    if exchange.route.action == ACTION_RESPOND:
        answer_fixed(exchange)
    else:
        INVARIANT(exchange.route.action == ACTION_REDIRECT)
        answer_redirect(exchange)
    _enter(exchange, PHASE_DELIVER)
    exchange_end(exchange)


cdef void _before_own_answer(Exchange* exchange) noexcept nogil:
    """A request body that nobody will read: the connection cannot go on after the answer."""
    if not exchange.flags & EX_REQUEST_DONE or exchange.context.draining or exchange.client.local.leaving:
        exchange.flags |= EX_CLIENT_CLOSE
    _enter(exchange, PHASE_FILTER_RESPONSE)


cdef void exchange_refuse(Exchange* exchange, int fault) noexcept nogil:
    exchange.fault = fault
    if exchange.cached != NULL and fault_info(fault).source != FAULT_SOURCE_CLIENT and fault_info(fault).status >= 500:
        if exchange.pausing == PAUSE_FETCH:
            exchange.pausing = PAUSE_NONE
            timer_off(&exchange.pause)
        if cached_instead(exchange) and cached_claim(exchange):
            # The answer may take long: what was waited for (room, a backoff) is not any more.
            if exchange.pausing == PAUSE_QUEUE or exchange.pausing == PAUSE_PLACE:
                _queued(exchange)
            exchange.pausing = PAUSE_NONE
            timer_off(&exchange.pause)
            wait_end(exchange)
            exchange.fault = FAULT_NONE
            _serve_asked(exchange)
            return
        cached_failed(exchange, fault)
    if exchange.flags & EX_BEHIND:
        exchange.status = fault_info(fault).status
        exchange_end(exchange)
        return
    _before_own_answer(exchange)
    if exchange.fault_body.data != NULL:
        answer_refusal(exchange)
    else:
        answer_fault(exchange, fault)
    _enter(exchange, PHASE_DELIVER)
    exchange_end(exchange)


cdef void exchange_answered(Exchange* exchange, uint16_t status, Slice head, Slice body) noexcept nogil:
    wait_end(exchange)
    _before_own_answer(exchange)
    answer_with(exchange, status, head, body)
    _enter(exchange, PHASE_DELIVER)
    exchange_end(exchange)


# ---- PICK ----

cdef void _prepare(Exchange* exchange, Head* head, uint32_t size) noexcept nogil:
    """Ask the cache; what it does not answer gets a head that goes to the servers, once for all tries."""
    cdef Context* context = exchange.context
    cdef int lookup = LOOKUP_PASS, fault
    _enter(exchange, PHASE_CACHE_LOOKUP)
    if exchange.snapshot.store != NULL:
        lookup = cached_lookup(exchange, head, size)
        if (lookup == LOOKUP_SERVE or lookup == LOOKUP_BEHIND) and cached_claim(exchange):
            if lookup == LOOKUP_BEHIND:
                _fetch_behind(exchange, head, size)
            _serve_stored(exchange, head, slice_empty(), size)
            return
        if lookup == LOOKUP_ONLY:
            stream_consume(&exchange.client.stream, size)
            exchange_refuse(exchange, FAULT_NOT_CACHED)
            return
    fault = _compose(exchange, head)
    stream_consume(&exchange.client.stream, size)
    if fault != FAULT_NONE:
        exchange_refuse(exchange, fault)
        return
    if exchange.route.total_ms:
        timer_after(&context.timers, &exchange.total, context.clock.now_ms, exchange.route.total_ms)
    if lookup == LOOKUP_WAIT:
        exchange.pausing = PAUSE_FETCH
        timer_after(&context.timers, &exchange.pause, context.clock.now_ms, exchange.route.cache.collapse_ms)
    elif lookup == LOOKUP_TIER and lookup_ask(exchange):
        exchange.pausing = PAUSE_TIER
        timer_after(&context.timers, &exchange.pause, context.clock.now_ms, exchange.route.cache.share_ms)
    else:
        if lookup == LOOKUP_TIER:
            cached_again(exchange)
        _pick(exchange, FAULT_NO_SERVER)


cdef int _compose(Exchange* exchange, Head* head) noexcept nogil:
    """Choose the upstream, and write the head that goes there. FAULT_NONE or why there is none."""
    cdef Context* context = exchange.context
    cdef CompiledRoute* route = exchange.route
    cdef RequestEdits edits
    cdef uint8_t[CACHED_LINES] added
    cdef uint8_t[16] id_text
    cdef uint8_t[TRACEPARENT_SIZE] trace_text
    cdef uint64_t draw
    cdef int written, i
    exchange.target = affinity_branch(exchange, head) if route.target_count > 1 or route.split != SPLIT_NONE else &route.targets[0]
    exchange.upstream = exchange.target.upstream
    if exchange.upstream.keyed or exchange.upstream.sticky != STICKY_NONE:
        affinity_read(exchange, head)
        if exchange.sticky.size:
            exchange.sticky = _keep(exchange, exchange.sticky, STICKY_ID_MAX)
            exchange.request_start = exchange.request.end
    if exchange.target.retry.idempotency_key and _has_field(head, slice_of(<const uint8_t*>b"idempotency-key", 15)):
        exchange.flags |= EX_IDEMPOTENT
    edits.path = exchange.sent_path if exchange.sent_path.size else exchange.path
    edits.query = exchange.changed_query if exchange.query_changed else exchange.query
    edits.client_ip = slice_of(exchange.client.ip, exchange.client.ip_size)   # whom we got it from; who asked stands left of it
    edits.proto = exchange.listener.scheme
    draw = exchange.id
    for i in range(16):
        id_text[15 - i] = b"0123456789abcdef"[draw & 15]
        draw >>= 4
    edits.request_id = slice_of(id_text, 16)
    edits.trace = slice_of(NULL, 0)
    if exchange.traced != TRACE_NONE:
        trace_write(exchange, trace_text)
        edits.trace = slice_of(trace_text, TRACEPARENT_SIZE)
        edits.trace_new = (exchange.flags & EX_NEW_TRACE) != 0
    edits.via = slice_of(context.via, context.via_size)
    edits.host = slice_empty()
    if route.rewrite != NULL and route.rewrite.host.size:
        edits.host = route.rewrite.host
    written = cached_edit(exchange, head, added) if exchange.cached != NULL else 0
    edits.extra = exchange.request_lines
    if written > 0:
        if exchange.request_lines.size:
            memcpy(context.lines, exchange.request_lines.data, exchange.request_lines.size)
        memcpy(context.lines + exchange.request_lines.size, added, written)
        edits.extra = slice_of(context.lines, exchange.request_lines.size + written)
    edits.trusted = (exchange.flags & EX_TRUSTED) != 0
    edits.upgrade = (exchange.flags & EX_UPGRADE) != 0
    edits.body = head.body
    edits.content_length = head.content_length
    if not edits.trusted:
        drop_disguised(head)
    edits.replaced = drop_fields(head, exchange.request_drop) if exchange.request_drop.size else 0
    written = write_request_head(head, &edits, exchange.request.data + exchange.request.end, exchange.request.cap - exchange.request.end)
    if written < 0:
        return -written
    exchange.request.end += written
    return FAULT_NONE


# ---- the cache's part ----

cdef void _serve_stored(Exchange* exchange, const Head* asked, Slice cookies, uint32_t size) noexcept nogil:
    """`cached.object` answers. `size`: of the request's head, when it still stands in the client's buffer."""
    if not exchange.flags & EX_RESPONSE_BEGUN and exchange.phase != PHASE_FILTER_RESPONSE:
        _enter(exchange, PHASE_FILTER_RESPONSE)
    exchange.ttfb_us = exchange.context.clock.now_us - exchange.start_us
    _enter(exchange, PHASE_DELIVER)
    _moved(exchange, deliver_begin(exchange, asked, cookies), size)


cdef void _moved(Exchange* exchange, int result, uint32_t size) noexcept nogil:
    if size:
        stream_consume(&exchange.client.stream, size)
    if result == DELIVER_DONE:
        exchange_end(exchange)
    elif result == DELIVER_FAILED:
        _cut_off(exchange, FAULT_UPSTREAM_TRUNCATED)
    elif result == DELIVER_BLOCKED:
        timer_set(&exchange.context.timers, &exchange.client.timer, exchange.context.clock.now_ms + SEND_STALL_MS)
    elif result == DELIVER_LATER:
        alarm_ring_self(&exchange.cached.alarm)


cdef void exchange_move_stored(Exchange* exchange) noexcept nogil:
    """The client takes more of a stored answer, or there is more of it."""
    timer_off(&exchange.client.timer)
    _moved(exchange, deliver_more(exchange), 0)


cdef void exchange_cache_heard(CacheUse* use) noexcept nogil:
    """A wake-up of the cache: a fetch that was waited for has an outcome, or a stored body has grown."""
    cdef Exchange* exchange = use.exchange
    cdef int lookup, fault
    alarm_heard(&use.alarm)
    if exchange == NULL:
        cached_heard(use)
        return
    if use.state == USE_SERVE:
        if exchange.phase == PHASE_DELIVER:
            exchange_move_stored(exchange)
        return
    lookup = cached_woken(exchange, &fault)
    if lookup == LOOKUP_WAIT:
        return
    exchange.pausing = PAUSE_NONE
    timer_off(&exchange.pause)
    if lookup == LOOKUP_SERVE:
        _serve_asked(exchange)
    elif fault and not cached_instead(exchange):
        exchange_refuse(exchange, fault)
    elif fault:
        _serve_asked(exchange)
    else:
        _pick(exchange, FAULT_NO_SERVER)


cdef void _serve_asked(Exchange* exchange) noexcept nogil:
    """After a wait: the client's head is read once more, for its conditions and ranges."""
    if not cached_claim(exchange):
        _pick(exchange, FAULT_NO_SERVER)
        return
    timer_remove(&exchange.context.timers, &exchange.total)
    _serve_stored(exchange, cached_asked(exchange), slice_empty(), 0)


cdef void exchange_tier_answered(Exchange* exchange) noexcept nogil:
    """The second tier has found something, or nothing, or its time is up."""
    cdef int lookup
    exchange.pausing = PAUSE_NONE
    timer_off(&exchange.pause)
    wait_end(exchange)
    lookup = cached_again(exchange)
    if lookup == LOOKUP_SERVE:
        _serve_asked(exchange)
    elif exchange.route.action == ACTION_ASIDE:
        exchange_refuse(exchange, FAULT_NOT_STORED)
    else:
        _pick(exchange, FAULT_NO_SERVER)


cdef void _fetch_behind(Exchange* asker, Head* head, uint32_t size) noexcept nogil:
    """Fetch what is stored anew while the asker gets it as it is: an exchange whose client is a stand-in that nobody listens to."""
    cdef Context* context = asker.context
    cdef ClientConn* client = client_behind(asker.client)
    cdef Exchange* exchange
    if client == NULL:
        return
    exchange = _new(client, asker.listener)
    if exchange == NULL:
        client_behind_ended(client)
        return
    exchange.flags |= EX_BEHIND | EX_QUIET | EX_REQUEST_DONE | EX_IDEMPOTENT | (asker.flags & (EX_TRUSTED | EX_PERSONAL))
    exchange.method = METHOD_GET
    exchange.route = asker.route
    exchange.route_number = asker.route_number
    exchange.start_us = context.clock.now_us
    exchange.host = asker.host
    exchange.path = asker.path
    exchange.query = asker.query
    exchange.client_address = asker.client_address
    exchange.client_ip = asker.client_ip
    exchange.request_lines = asker.request_lines
    exchange.request_drop = asker.request_drop
    exchange.sent_path = asker.sent_path
    exchange.changed_query = asker.changed_query
    exchange.query_changed = asker.query_changed
    _enter(exchange, PHASE_ROUTE)
    _enter(exchange, PHASE_FILTER_REQUEST)
    if (_keep_request(exchange, head, size) != FAULT_NONE
            or exchange.route.hears_responses and not filtered_begin_behind(exchange)):
        exchange_refuse(exchange, FAULT_MEMORY)
        return
    if asker.filtered != NULL:
        # What the filters wrote for the asker goes with it, and this fetch may outlive it.
        exchange.request_lines = _keep(exchange, asker.request_lines, asker.request_lines.size)
        exchange.request_drop = _keep(exchange, asker.request_drop, asker.request_drop.size)
        exchange.changed_query = _keep(exchange, asker.changed_query, asker.changed_query.size)
        if asker.changed_path.data != NULL:
            exchange.changed_path = exchange.sent_path
        exchange.request_start = exchange.request.end
    _enter(exchange, PHASE_CACHE_LOOKUP)
    if not cached_behind(asker, exchange, head, size):
        exchange_end(exchange)
        return
    if _compose(exchange, head) != FAULT_NONE:
        exchange_refuse(exchange, FAULT_MEMORY)
        return
    timer_after(&context.timers, &exchange.total, context.clock.now_ms, exchange.route.total_ms if exchange.route.total_ms else BEHIND_MS)
    _pick(exchange, FAULT_NO_SERVER)


cdef bint _has_field(const Head* head, Slice name) noexcept nogil:
    return field_from_last(head, name, 0).data != NULL


cdef void _pick(Exchange* exchange, int otherwise) noexcept nogil:
    """Choose a server and go on to it. There is none: wait for room, or do without (`_no_server`); `otherwise` is what the last try failed
    with."""
    cdef int32_t member = PICK_FULL
    _enter(exchange, PHASE_PICK)
    if exchange.route.lane != NULL and not exchange.flags & EX_PLACED and not _take_place(exchange):
        return
    if not _admitted(exchange):
        _no_server(exchange, FAULT_CIRCUIT_OPEN)
        return
    if load_i64(&exchange.upstream.state.waiting) == 0:   # nobody overtakes those who wait
        member = _choose(exchange, True)
    if member >= 0:
        _try(exchange)
    elif member == PICK_FULL:
        _queue(exchange)
    else:
        _no_server(exchange, otherwise)


cdef bint _take_place(Exchange* exchange) noexcept nogil:
    """A place among those of the route (`concurrency`), before a server is looked for. False: it waits for one, or was refused."""
    cdef LaneData* lane = exchange.route.lane
    cdef Context* context = exchange.context
    cdef int64_t queue_ms
    cdef int result = gate_enter(lane)
    if result != GATE_IN:
        queue_ms = lane_queue_ms(lane)
        if queue_ms > 0 and not exchange.flags & EX_BEHIND:
            result = wait_for_place(exchange)
    if result == GATE_IN:
        exchange.flags |= EX_PLACED
        lane_count(lane, context.engine, LANE_ADMITTED)
        return True
    if result == GATE_WAITS:
        exchange.queued_us = context.clock.now_us
        exchange.pausing = PAUSE_PLACE
        timer_after(&context.timers, &exchange.pause, context.clock.now_ms, queue_ms)
        return False
    _no_place(exchange, LANE_FULL, FAULT_PLACES_FULL)
    return False


cdef void _no_place(Exchange* exchange, int result, int fault) noexcept nogil:
    lane_count(exchange.route.lane, exchange.context.engine, result)
    exchange_refuse(exchange, fault)


cdef void exchange_place_told(Exchange* exchange, int told) noexcept nogil:
    """The wait for a place of the route is over."""
    _queued(exchange)
    wait_end(exchange)
    if told == GATE_GRANTED:
        exchange.flags |= EX_PLACED
        lane_count(exchange.route.lane, exchange.context.engine, LANE_QUEUED)
        _pick(exchange, FAULT_NO_SERVER)
    else:
        _no_place(exchange, LANE_SHED, FAULT_SHED)


cdef bint _admitted(Exchange* exchange) noexcept nogil:
    """What the upstream's circuit breaker says: half open, it lets a few probes through."""
    cdef bint probe = False
    if exchange.flags & EX_PROBE:
        return True
    if not circuit_admits(exchange.upstream.state, &probe):
        return False
    if probe:
        exchange.flags |= EX_PROBE
    return True


cdef int32_t _choose(Exchange* exchange, bint again) noexcept nogil:
    """Ask the balancer. A member number, and the exchange is counted in flight on that server; or PICK_*. `again`: when every server has
    been tried, one may be asked once more, after a wait."""
    cdef Context* context = exchange.context
    cdef PoolData* pool = pool_pin(exchange.upstream.state, context.engine)
    cdef PickInput input
    cdef int32_t member
    input.tried = &exchange.tried
    input.key = exchange.key
    input.by_key = (exchange.flags & EX_STICKY_KEY) != 0
    input.sticky = pool_sticky(pool, exchange.sticky) if exchange.sticky.size else -1
    input.random = &context.random
    input.now_ms = context.clock.now_ms
    member = pick(pool, &input)
    if member == PICK_NONE and again and exchange.tried.count > 0 and exchange.target.retry.backoff_ms > 0:
        exchange.tried.count = 0
        member = pick(pool, &input)
    if member == PICK_FULL and again and exchange.tried.count > 0:
        # Better one that failed before than to wait for the others, and keep everybody behind from it.
        exchange.tried.count = 0
        member = pick(pool, &input)
    if member < 0 and exchange.pool != NULL:
        pool_unpin(pool, context.engine)      # the pool of the last try stays: the log names its server
        return member
    if exchange.pool != NULL:
        pool_unpin(exchange.pool, context.engine)
    exchange.pool = pool
    if member >= 0:
        exchange.member = member
        exchange.server = pool.members[member].server
        exchange.flags |= EX_IN_FLIGHT
    return member


cdef void _queue(Exchange* exchange) noexcept nogil:
    """Every server that could serve has max_requests: wait until one has room."""
    if not wait_for_room(exchange):
        _no_server(exchange, FAULT_QUEUE_FULL)
        return
    exchange.queued_us = exchange.context.clock.now_us
    # Room that came before we stood in the queue woke nobody; who stands behind others need not look.
    if load_i64(&exchange.upstream.state.waiting) == 1 and _choose(exchange, True) >= 0:
        wait_end(exchange)    # a wake-up that came meanwhile goes on to the next
        _try(exchange)
        return
    exchange.pausing = PAUSE_QUEUE
    timer_after(&exchange.context.timers, &exchange.pause, exchange.context.clock.now_ms, exchange.upstream.queue_ms)


cdef void _queued(Exchange* exchange) noexcept nogil:
    exchange.pausing = PAUSE_NONE
    timer_off(&exchange.pause)
    exchange.queue_us += <uint32_t>(exchange.context.clock.now_us - exchange.queued_us)


cdef void exchange_woken(Exchange* exchange) noexcept nogil:
    """Somebody left a server."""
    cdef int32_t member
    if not _admitted(exchange):      # the circuit has opened since
        _queued(exchange)
        wait_end(exchange)
        _no_server(exchange, FAULT_CIRCUIT_OPEN)
        return
    member = _choose(exchange, True)
    if member == PICK_FULL:
        wait_again(exchange)
        if load_i64(&exchange.upstream.state.waiting) == 1:
            member = _choose(exchange, True)     # as in _queue: room may have come while nobody stood in the queue
        if member == PICK_FULL:
            queue_found(exchange.upstream.state, False)
            return
    _queued(exchange)
    if member < 0:
        wait_end(exchange)
        _no_server(exchange, FAULT_NO_SERVER)
        return
    if wait_sheds(exchange):
        wait_served(exchange)
        _leave_server(exchange)      # the next is woken
        _no_server(exchange, FAULT_SHED)
        return
    wait_served(exchange)
    queue_found(exchange.upstream.state, True)
    _try(exchange)


cdef void exchange_shed(Exchange* exchange) noexcept nogil:
    """Given up in the queue of the upstream for one of a higher class."""
    _queued(exchange)
    wait_end(exchange)
    _no_server(exchange, FAULT_SHED)


cdef void _no_server(Exchange* exchange, int fault) noexcept nogil:
    """Nobody of this upstream can be asked: the route's failover upstream, or an answer."""
    if fault == FAULT_CIRCUIT_OPEN or fault == FAULT_QUEUE_FULL or fault == FAULT_QUEUE_TIMEOUT or fault == FAULT_SHED:
        count_add(&exchange.upstream.state.local[exchange.context.engine].refused, fault, 1)
    _give_probe(exchange)
    if attempt_failover(exchange, fault_info(fault).when, True, 0):
        _fail_over(exchange, fault)
    else:
        exchange_refuse(exchange, fault)


cdef void _fail_over(Exchange* exchange, int fault) noexcept nogil:
    attempt_give_budget(exchange)
    exchange.flags |= EX_FAILED_OVER
    exchange.target = &exchange.route.failover.target
    exchange.upstream = exchange.target.upstream
    affinity_again(exchange)
    if not exchange.target.retry.idempotency_key and not _idempotent(exchange.method):
        exchange.flags &= ~<uint32_t>EX_IDEMPOTENT
    exchange.server = NULL    # of the other upstream
    exchange.member = -1
    exchange.tried.count = 0
    exchange.retries = 0
    exchange.retry_why = 0
    _pick(exchange, fault)


cdef void _try(Exchange* exchange) noexcept nogil:
    cdef Context* context = exchange.context
    exchange.attempts += 1
    if exchange.retry_why:
        count_add(&exchange.upstream.state.local[context.engine].retries, exchange.retry_why, 1)
        exchange.retry_why = 0
    exchange.flags &= ~<uint32_t>(EX_ORIGIN_KEEP | EX_SHOWN)      # of an answer that was thrown away
    exchange.answer_step = 0
    exchange.try_us = context.clock.now_us
    exchange.sent_us = 0
    exchange.until_ms = context.clock.now_ms + exchange.route.per_try_ms if exchange.route.per_try_ms else 0
    _connect(exchange)


# ---- CONNECT ----

cdef void _connect(Exchange* exchange) noexcept nogil:
    cdef Context* context = exchange.context
    cdef OriginConn* origin = NULL
    cdef int fault = FAULT_NONE
    exchange.flags &= ~<uint32_t>EX_REUSED
    if not exchange.flags & EX_FRESH and not exchange.upstream.proxy:
        origin = origin_reuse(context, exchange.server)
    if origin != NULL:
        exchange.flags |= EX_REUSED
        exchange.origin = origin
        origin.exchange = exchange
        _send_request(exchange)
        return
    exchange.flags &= ~<uint32_t>EX_FRESH
    _enter(exchange, PHASE_CONNECT)
    origin = origin_connect(context, exchange.server, &fault)
    if origin == NULL:
        exchange_fail(exchange, fault)
        return
    exchange.origin = origin
    origin.exchange = exchange
    exchange_watch_origin(exchange, exchange.target.connect_ms)


cdef void exchange_watch_origin(Exchange* exchange, int64_t ms) noexcept nogil:
    """The origin has so long (0: no limit) for what it owes next, but not longer than the whole try has."""
    cdef Context* context = exchange.context
    timer_after(&context.timers, &exchange.origin.timer, context.clock.now_ms, ms)
    if exchange.until_ms and exchange.origin.timer.deadline_ms > exchange.until_ms:
        timer_set(&context.timers, &exchange.origin.timer, exchange.until_ms)


cdef void exchange_connected(Exchange* exchange) noexcept nogil:
    cdef int64_t took_us = exchange.context.clock.now_us - exchange.try_us
    exchange.connect_us = <uint32_t>took_us
    histogram_add(&exchange.upstream.state.local[exchange.context.engine].connect, took_us)
    exchange.origin.state = ORIGIN_WAITING
    if exchange.upstream.proxy:
        _introduce(exchange)
    _send_request(exchange)


cdef void _introduce(Exchange* exchange) noexcept nogil:
    """A PROXY header, in front of the only request of the connection: who asks proxyd, and where. A fetch that nobody waits for is
    proxyd's own."""
    cdef Address local
    local_address(exchange.client.stream.fd, &local)
    introduce(&exchange.origin.stream, exchange.upstream, &exchange.client_address, &local, exchange.id)


# ---- SEND_REQUEST ----

cdef void _send_request(Exchange* exchange) noexcept nogil:
    """Give the origin the head and whatever of the body has come, or, when it is a repeat, all that was given before."""
    cdef OriginConn* origin = exchange.origin
    cdef uint32_t size = exchange.request.end - exchange.request_start
    _enter(exchange, PHASE_SEND_REQUEST)
    origin.stream.flags &= ~<uint32_t>STREAM_SENT
    exchange.sent_us = exchange.context.clock.now_us
    counter_add(&origin.local.bytes_out, size)
    stream_send_stable(&origin.stream, exchange.request.data + exchange.request_start, size)
    _enter(exchange, PHASE_READ_RESPONSE)
    if exchange.flags & EX_REQUEST_DONE:
        exchange_watch_origin(exchange, exchange.route.first_byte_ms)
        if exchange.route.hedge_ms != HEDGE_NEVER:
            _watch_for_hedge(exchange)
        return
    exchange_watch_origin(exchange, exchange.route.between_bytes_ms)
    exchange.body_ms = exchange.context.clock.now_ms
    origin.progress = exchange_progress(exchange)
    _watch_body(exchange)
    stream_resume(&exchange.client.stream)
    if exchange.client.stream.received != NULL or exchange.client.ended:
        exchange_move_request(exchange)


cdef void _watch_body(Exchange* exchange) noexcept nogil:
    if exchange.listener.min_body_rate:
        timer_set(&exchange.context.timers, &exchange.client.timer, exchange.context.clock.now_ms + BODY_GRACE_MS)


cdef void exchange_move_request(Exchange* exchange) noexcept nogil:
    """More of the request's body has come, or there is room for it."""
    cdef int result
    if exchange.splice.active:
        return
    if exchange.cached != NULL and exchange.cached.state == USE_TAKE:
        _take_value(exchange)
        return
    result = relay_request(exchange)
    if result == RELAY_DONE:
        _request_sent(exchange)
    elif result < 0:
        exchange_fail(exchange, -result)
    elif result == RELAY_MORE and exchange.client.ended:
        exchange_abandon(exchange, FAULT_CLIENT_CLOSED, True)   # the rest of the body will never come


cdef void _request_sent(Exchange* exchange) noexcept nogil:
    cdef Context* context = exchange.context
    timer_off(&exchange.client.timer)
    if exchange.flags & EX_SHOWN:
        return                # it has answered already
    exchange.sent_us = context.clock.now_us
    if exchange.origin.state == ORIGIN_WAITING:
        exchange_watch_origin(exchange, exchange.route.first_byte_ms)
        if exchange.route.hedge_ms != HEDGE_NEVER:
            _watch_for_hedge(exchange)


cdef void exchange_request_spliced(Exchange* exchange) noexcept nogil:
    """A splice has moved the rest of the request's body."""
    exchange.request_left = 0
    exchange.flags |= EX_REQUEST_DONE
    _account_splice(exchange)
    stream_pause(&exchange.client.stream)
    _request_sent(exchange)


# ---- a second try beside the first ----

cdef void _watch_for_hedge(Exchange* exchange) noexcept nogil:
    cdef int64_t ms = exchange.route.hedge_ms
    if ms == HEDGE_PERCENTILE:
        ms = load_i64(&exchange.upstream.state.hedge_ms)
    if (ms > 0 and exchange.hedges < exchange.route.hedge_max and exchange.rival.origin == NULL
            and exchange.flags & (EX_IDEMPOTENT | EX_REPLAYABLE | EX_UPGRADE) == (EX_IDEMPOTENT | EX_REPLAYABLE)):
        exchange.pausing = PAUSE_HEDGE
        timer_after(&exchange.context.timers, &exchange.pause, exchange.context.clock.now_ms, ms)


cdef void exchange_switch(Exchange* exchange) noexcept nogil:
    """The try that something happens to becomes the current one: all other steps know one try only."""
    cdef Try other = exchange.rival
    exchange.rival.origin = exchange.origin
    exchange.rival.pool = exchange.pool
    exchange.rival.server = exchange.server
    exchange.rival.member = exchange.member
    exchange.rival.flags = exchange.flags & EX_OF_TRY
    exchange.rival.phase = exchange.phase
    exchange.rival.try_us = exchange.try_us
    exchange.rival.sent_us = exchange.sent_us
    exchange.rival.until_ms = exchange.until_ms
    exchange.rival.connect_us = exchange.connect_us
    exchange.origin = other.origin
    exchange.pool = other.pool
    exchange.server = other.server
    exchange.member = other.member
    exchange.flags = exchange.flags & ~<uint32_t>EX_OF_TRY | other.flags
    exchange.phase = other.phase
    exchange.try_us = other.try_us
    exchange.sent_us = other.sent_us
    exchange.until_ms = other.until_ms
    exchange.connect_us = other.connect_us


cdef void _take_over(Exchange* exchange) noexcept nogil:
    """The current try is over and its connection left: go on with the other one."""
    exchange_switch(exchange)
    if exchange.rival.pool != NULL:
        pool_unpin(exchange.rival.pool, exchange.context.engine)
    exchange.rival.pool = NULL
    INVARIANT(exchange.rival.origin == NULL)


cdef void _hedge_again(Exchange* exchange) noexcept nogil:
    """One of two tries has failed: beside the one that goes on another may begin, as long as `hedge.max` has not been reached."""
    if exchange.route.hedge_ms != HEDGE_NEVER:
        _watch_for_hedge(exchange)


cdef void _drop_rival(Exchange* exchange) noexcept nogil:
    if exchange.pausing == PAUSE_HEDGE:
        exchange.pausing = PAUSE_NONE
        timer_off(&exchange.pause)
    if exchange.rival.origin == NULL:
        return
    exchange_switch(exchange)
    _leave_server(exchange)
    _leave_origin(exchange, False)
    _take_over(exchange)


cdef int32_t _choose_beside(Exchange* exchange) noexcept nogil:
    """Choose another server while the current try stands: that one becomes the rival. PICK_*: there is none, and the current try stays."""
    cdef int32_t member
    exchange.tried.server[exchange.tried.count] = exchange.server
    exchange.tried.count += 1
    exchange.rival.pool = NULL
    exchange.rival.server = exchange.server
    exchange.rival.member = -1
    exchange.rival.flags = 0
    exchange.rival.phase = PHASE_PICK
    exchange.rival.connect_us = T_NONE
    exchange_switch(exchange)
    member = _choose(exchange, False)
    if member < 0:
        _take_over(exchange)
    return member


cdef void exchange_hedge(Exchange* exchange) noexcept nogil:
    """The answer takes long: ask another server as well. The first answer wins; the other try is dropped."""
    if (exchange.origin == NULL or exchange.rival.origin != NULL or exchange.tried.count == TRIED_MAX
            or load_int(&exchange.upstream.state.circuit) != CIRCUIT_CLOSED):
        return
    if not attempt_take_budget(exchange):
        attempt_refuse_budget(exchange)
        return
    exchange.hedges += 1
    if _choose_beside(exchange) < 0:
        return
    counter_add(&exchange.upstream.state.local[exchange.context.engine].hedged, 1)
    exchange.flags |= EX_HEDGE
    _try(exchange)


# ---- READ_RESPONSE ----

cdef void exchange_read_response(Exchange* exchange) noexcept nogil:
    """Heads of the answer: any number of 1xx, then the final one."""
    cdef Context* context = exchange.context
    cdef OriginConn* origin = exchange.origin
    cdef Head* head = &context.head
    cdef int size
    while True:
        size = parse_response_head(origin.stream.received.data + origin.stream.received.start,
                                   origin.stream.received.end - origin.stream.received.start, &origin.scanned, &_origin_limits, head)
        if size == 0:
            return
        origin.scanned = 0
        if size < 0:
            exchange_fail(exchange, -size)
            return
        if head.status >= 200 or head.status == 101:
            break
        exchange.interims += 1
        exchange.flags &= ~<uint32_t>EX_REUSED   # it has begun to answer: dying now is not the keep-alive race
        if exchange.interims > INTERIMS_MAX:
            exchange_fail(exchange, FAULT_UPSTREAM_HEAD_TOO_LARGE)
            return
        if exchange.minor == 1 and stream_unsent(&exchange.client.stream) < exchange.listener.buffer:
            _forward_interim(exchange, head)
        stream_consume(&origin.stream, size)
        if origin.stream.received == NULL:
            return
    _begin_response(exchange, head, size)


cdef void _forward_interim(Exchange* exchange, Head* head) noexcept nogil:
    """1xx answers pass through to clients that know them (RFC 9110 §15.2)."""
    cdef ResponseEdits edits
    cdef uint8_t* out
    cdef int written
    edits.extra = slice_empty()
    edits.cookies = slice_empty()
    edits.date = slice_of(exchange.context.date, 0)
    edits.close = False
    edits.keep_alive = False
    edits.upgrade = False
    edits.body = BODY_NONE
    edits.has_content_length = False
    edits.content_length = 0
    out = stream_room(&exchange.client.stream, head.size + RESPONSE_EXTRA)
    written = write_response_head(head, &edits, out, head.size + RESPONSE_EXTRA)
    if written > 0:
        exchange.bytes_out += written
        exchange.head_out += written
        stream_commit(&exchange.client.stream, out, written)


cdef bint _show(Exchange* exchange, Head* head) noexcept nogil:
    """Whether the answer waits for a user's filter, or was refused for want of its word."""
    cdef int result = filtered_show(exchange, head)
    if result == SHOW_NONE:
        return False
    if not exchange.flags & EX_SHOWN:
        # What the server said, and when: what the filter makes of it, and how long it takes, is not the server's.
        exchange.status = head.status
        _first_byte(exchange)
        _try_answered(exchange)
        exchange.flags |= EX_SHOWN
    if result < 0:
        _refuse_shown(exchange, -result)
        return True
    exchange.status = head.status
    stream_pause(&exchange.origin.stream)
    timer_off(&exchange.origin.timer)
    exchange.pausing = PAUSE_ASK
    timer_after(&exchange.context.timers, &exchange.pause, exchange.context.clock.now_ms, exchange.filtered.timeout_ms)
    return True


cdef void _refuse_shown(Exchange* exchange, int fault) noexcept nogil:
    """The server has done its part, and is not asked again."""
    _leave_server(exchange)
    _leave_origin(exchange, False)
    exchange_refuse(exchange, fault)


cdef void _shown(Exchange* exchange, const FilterChange* change, int status, bint failed, bint in_time) noexcept nogil:
    """A user's filter has seen the answer: its head is read again, with what the filter changed in it."""
    cdef OriginConn* origin = exchange.origin
    cdef Head* head = &exchange.context.head
    cdef size_t scanned = 0
    cdef int size
    exchange.status = 0
    if change != NULL:
        exchange.flags |= EX_PERSONAL        # the filter may have looked at who asks
    if failed and not filtered_show_failed(exchange, in_time):
        _refuse_shown(exchange, FAULT_FILTER_FAILED)
        return
    if change != NULL:
        size = parse_response_head(origin.stream.received.data + origin.stream.received.start,
                                   origin.stream.received.end - origin.stream.received.start, &scanned, &_origin_limits, head)
        INVARIANT(size > 0)                  # it was parsed before
        if not filtered_change_answer(exchange, head, change, status):
            _refuse_shown(exchange, FAULT_MEMORY)
            return
    exchange_watch_origin(exchange, exchange.route.between_bytes_ms)
    if origin.stream.error or origin.stream.flags & STREAM_ENDED:
        # It was told while nobody listened (conn/dispatch): the next read tells it again, behind what is still there.
        origin.stream.flags = (origin.stream.flags | STREAM_READABLE) & ~<uint32_t>STREAM_ENDED
    stream_resume(&origin.stream)
    exchange_read_response(exchange)


cdef bint _answer_instead(Exchange* exchange, Head* head, int size) noexcept nogil:
    """Whether an error page with `intercept` took the place of this answer. Its body is not read, so that the connection ends unless it has
    none."""
    cdef Context* context = exchange.context
    cdef const CompiledPage* page = page_find(exchange, head.status, True)
    cdef uint8_t[COOKIES_ROOM] cookies
    cdef int cookies_size = 0
    if page == NULL:
        return False
    _enter(exchange, PHASE_FILTER_ORIGIN_RESPONSE)
    _first_byte(exchange)
    exchange.ttfb_us = context.clock.now_us - exchange.start_us
    if head.flags & HEAD_KEEP_ALIVE and (exchange.method == METHOD_HEAD and not cached_as_get(exchange)
                                         or head.body == BODY_LENGTH and head.content_length == 0):
        exchange.flags |= EX_ORIGIN_KEEP
    _enter(exchange, PHASE_CACHE_STORE)
    _before_own_answer(exchange)
    if exchange.upstream.sticky != STICKY_NONE or exchange.flags & EX_SET_PIN:
        cookies_size = affinity_lines(exchange, head, cookies)
    drop_fields(head, exchange.response_drop)
    answer_instead(exchange, page, head, slice_of(cookies, cookies_size))
    _enter(exchange, PHASE_DELIVER)
    counter_add(&exchange.origin.local.bytes_in, size)
    stream_consume(&exchange.origin.stream, size)
    _try_answered(exchange)
    exchange_end(exchange)
    return True


cdef void _begin_response(Exchange* exchange, Head* head, int size) noexcept nogil:
    """The final head: decide the framing towards the client, write our head, and let the body follow."""
    cdef Context* context = exchange.context
    cdef OriginConn* origin = exchange.origin
    cdef ResponseEdits edits
    cdef uint8_t[COOKIES_ROOM] cookies
    cdef uint8_t* out
    cdef uint32_t room
    cdef int written
    cdef bint tunnel = head.status == 101
    if tunnel and not (exchange.flags & EX_UPGRADE and head.flags & HEAD_UPGRADE_WEBSOCKET):
        exchange_fail(exchange, FAULT_UPGRADE_UNEXPECTED)
        return
    if not exchange.flags & EX_SHOWN:
        if head.status >= 400 and _repeat_instead(exchange, head, size):
            return
        if exchange.flags & EX_HEDGE:
            counter_add(&exchange.upstream.state.local[context.engine].hedges_won, 1)
        _drop_rival(exchange)
    if exchange.route.hears_responses and not tunnel and _show(exchange, head):
        return
    if exchange.cached != NULL and _store_answer(exchange, head, size):
        return
    if _answer_instead(exchange, head, size):
        return
    _enter(exchange, PHASE_FILTER_ORIGIN_RESPONSE)
    exchange.status = head.status
    _first_byte(exchange)
    exchange.ttfb_us = context.clock.now_us - exchange.start_us
    if head.flags & HEAD_KEEP_ALIVE and not tunnel:
        exchange.flags |= EX_ORIGIN_KEEP
    _enter(exchange, PHASE_CACHE_STORE)
    _enter(exchange, PHASE_FILTER_RESPONSE)
    edits.extra = exchange.response_lines
    if exchange.cache != CACHE_NONE and not tunnel:
        edits.extra = _with_cache_status(exchange)
    edits.cookies = slice_empty()
    if exchange.upstream.sticky != STICKY_NONE or exchange.flags & EX_SET_PIN:
        edits.cookies = slice_of(cookies, affinity_lines(exchange, head, cookies))
    edits.date = slice_of(context.date, 29)
    edits.has_content_length = head.has_content_length
    edits.content_length = head.content_length
    edits.upgrade = tunnel
    edits.body = head.body
    exchange.response_body = head.body
    exchange.response_left = head.content_length
    if exchange.method == METHOD_HEAD or head.status == 204 or head.status == 304 or tunnel:
        if cached_as_get(exchange) and head.body != BODY_NONE:
            exchange.flags &= ~<uint32_t>EX_ORIGIN_KEEP      # a body comes that nobody wants
        exchange.response_body = BODY_NONE
        if edits.body == BODY_CLOSE or exchange.minor == 0 and edits.body == BODY_CHUNKED:
            edits.body = BODY_NONE
    elif head.body == BODY_CHUNKED or head.body == BODY_CLOSE:
        # HTTP/1.1 clients get chunks whatever the origin used, so that the connection lives on and a cut shows.
        edits.body = BODY_CHUNKED if exchange.minor == 1 else BODY_CLOSE
        if exchange.minor == 1:
            exchange.flags |= EX_OUT_CHUNKED
        else:
            exchange.flags |= EX_CLIENT_CLOSE
        if head.body == BODY_CHUNKED:
            chunk_start(&exchange.response_chunks)
        else:
            exchange.flags &= ~<uint32_t>EX_ORIGIN_KEEP
    if context.draining or exchange.client.local.leaving:
        exchange.flags |= EX_CLIENT_CLOSE
    if not exchange.flags & EX_REQUEST_DONE:
        # The answer came before the whole request did: the rest of the request is not worth a connection.
        exchange.flags |= EX_CLIENT_CLOSE
        exchange.flags &= ~<uint32_t>EX_ORIGIN_KEEP
    edits.close = (exchange.flags & EX_CLIENT_CLOSE) != 0 and not tunnel
    edits.keep_alive = exchange.minor == 0 and not edits.close
    room = <uint32_t>(head.size + edits.extra.size + edits.cookies.size + RESPONSE_EXTRA)
    out = stream_room(&exchange.client.stream, room)
    if exchange.response_drop.size and drop_fields(head, exchange.response_drop) >> FIELD_DATE & 1:
        edits.date = slice_empty()
    written = write_response_head(head, &edits, out, room)
    if written < 0:
        exchange_fail(exchange, -written)
        return
    _enter(exchange, PHASE_DELIVER)
    exchange.flags |= EX_RESPONSE_BEGUN
    exchange.bytes_out += written
    exchange.head_out += written
    counter_add(&origin.local.bytes_in, size)
    stream_commit(&exchange.client.stream, out, written)
    stream_consume(&origin.stream, size)
    _try_answered(exchange)
    if tunnel:
        _begin_tunnel(exchange)
        return
    origin.state = ORIGIN_BODY
    timer_after(&context.timers, &origin.timer, context.clock.now_ms, exchange.route.between_bytes_ms)
    if exchange.response_body == BODY_NONE or exchange.response_body == BODY_LENGTH and exchange.response_left == 0:
        exchange_end(exchange)
        return
    exchange_move_response(exchange)


cdef Slice _with_cache_status(Exchange* exchange) noexcept nogil:
    cdef uint8_t* out = exchange.context.lines
    if exchange.response_lines.size:
        memcpy(out, exchange.response_lines.data, exchange.response_lines.size)
    return slice_of(out, exchange.response_lines.size + cached_status_line(exchange, out + exchange.response_lines.size))


cdef void _ask_again(Exchange* exchange, Head* head, int size) noexcept nogil:
    """Without the condition: the client's own head is composed anew."""
    cdef const Head* asked
    exchange.status = head.status
    _first_byte(exchange)
    _try_answered(exchange)
    _discard_answer(exchange, head, size)
    exchange.tried.count = 0
    exchange.first_byte_us = T_NONE
    exchange.status = 0
    exchange.request_start = exchange.request.end
    asked = cached_asked(exchange)
    # The buffer was made for one head: what is left of it must hold what _compose keeps before it writes, which is bounded by itself.
    if asked == NULL or exchange.request.cap - exchange.request.end < STICKY_ID_MAX or _compose(exchange, <Head*>asked) != FAULT_NONE:
        exchange_refuse(exchange, FAULT_MEMORY)
    else:
        _pick(exchange, FAULT_NO_SERVER)


cdef bint _store_answer(Exchange* exchange, Head* head, int size) noexcept nogil:
    """Whether the answer comes from the cache now: it has been stored, or says that what is stored still holds, or is an error in whose
    place
    something stale is sent. What is not stored goes to the client alone."""
    cdef Context* context = exchange.context
    cdef uint8_t[COOKIES_ROOM] cookies
    cdef Slice lines = slice_empty()
    cdef int stored = cached_answer(exchange, head, size)
    if stored == STORE_RELAY and not exchange.flags & EX_BEHIND:
        return False
    if stored == STORE_AGAIN:
        _ask_again(exchange, head, size)
        return True
    exchange.status = head.status
    _first_byte(exchange)
    exchange.ttfb_us = context.clock.now_us - exchange.start_us
    _enter(exchange, PHASE_FILTER_ORIGIN_RESPONSE)
    _enter(exchange, PHASE_CACHE_STORE)
    _enter(exchange, PHASE_FILTER_RESPONSE)
    if not exchange.flags & EX_BEHIND and (exchange.upstream.sticky != STICKY_NONE or exchange.flags & EX_SET_PIN):
        lines = slice_of(cookies, affinity_lines(exchange, head, cookies))
    if head.flags & HEAD_KEEP_ALIVE:
        exchange.flags |= EX_ORIGIN_KEEP
    _try_answered(exchange)
    if stored == STORE_FILL and not fill_begin(exchange, head, size):
        cached_unfilled(exchange)
        if exchange.flags & EX_BEHIND:
            _discard_answer(exchange, head, size)
            exchange_end(exchange)
        else:
            exchange_refuse(exchange, FAULT_MEMORY)
        return True
    if stored != STORE_FILL:
        _discard_answer(exchange, head, size)
    if exchange.flags & EX_BEHIND:
        exchange_end(exchange)
        return True
    if not cached_claim(exchange):
        # Revalidated, or to be sent in place of an error, and given back meanwhile: rare, and no answer is left.
        exchange_refuse(exchange, FAULT_MEMORY)
        return True
    timer_remove(&context.timers, &exchange.total)
    _serve_stored(exchange, cached_asked(exchange), lines, 0)
    return True


cdef bint _repeat_instead(Exchange* exchange, Head* head, int size) noexcept nogil:
    """An answer whose status is among the conditions of a retry or of the failover: throw it away and ask another server.
    False: it stands."""
    cdef Context* context = exchange.context
    cdef int64_t least_ms = 0
    cdef bint retry = attempt_after_status(exchange, head.status)
    cdef bint failover = exchange.flags & EX_IDEMPOTENT and attempt_failover(exchange, 0, False, head.status)
    cdef int32_t beside = PICK_FULL
    if not retry and not failover:
        return False
    if retry and exchange.rival.origin == NULL:
        # Retry-After is the wish of this server: it is waited for when there is no other one to ask.
        if exchange.pool.level_count == 0 or exchange.tried.count + 1 >= exchange.pool.levels[0].count:
            least_ms = attempt_retry_after_ms(head)
        retry = (least_ms <= exchange.target.retry.retry_after_max_ms or least_ms == 0) and _in_time(exchange, least_ms)
        if retry and not attempt_take_budget(exchange):
            attempt_refuse_budget(exchange)
            retry = False
        if retry and least_ms == 0 and exchange.target.retry.backoff_ms == 0:
            beside = _beside_at_once(exchange)
            if beside == PICK_NONE:
                retry = False
                if exchange.retries == 0:
                    attempt_give_budget(exchange)
        if not retry and not failover:
            return False
    exchange.status = head.status
    exchange.first_byte_us = <uint32_t>(context.clock.now_us - exchange.sent_us)
    _try_answered(exchange)
    record_unwanted(exchange)
    _discard_answer(exchange, head, size)
    exchange.first_byte_us = T_NONE
    exchange.status = 0
    if exchange.rival.origin != NULL:
        _take_over(exchange)
        _hedge_again(exchange)
    elif beside >= 0:
        exchange.retries += 1
        exchange.retry_why = head.status
        _take_over(exchange)
        _try(exchange)
    elif retry:
        if least_ms:
            exchange.tried.count = 0      # after its wait the server itself may be asked again
        exchange.retry_why = head.status
        _try_later(exchange, FAULT_NO_SERVER, least_ms)
    else:
        _fail_over(exchange, FAULT_NO_SERVER)
    return True


cdef int32_t _beside_at_once(Exchange* exchange) noexcept nogil:
    """Choose the server of a retry that does not wait, as the rival: an answer is thrown away only when there is one. PICK_NONE: there is
    none; PICK_FULL: that is not decided here (others wait already, or the circuit has a word to say)."""
    cdef int32_t member
    if load_int(&exchange.upstream.state.circuit) != CIRCUIT_CLOSED or load_i64(&exchange.upstream.state.waiting) != 0:
        return PICK_FULL
    if exchange.tried.count == TRIED_MAX:
        return PICK_NONE
    member = _choose_beside(exchange)
    if member >= 0:
        exchange_switch(exchange)
    exchange.tried.count -= 1             # it comes there when its answer is thrown away
    return member


cdef void _discard_answer(Exchange* exchange, const Head* head, int size) noexcept nogil:
    """Leave server and connection; the connection is kept when nothing of the answer is still to come."""
    cdef OriginConn* origin = exchange.origin
    cdef uint32_t body = origin.stream.received.end - origin.stream.received.start - size
    cdef bint whole = False
    if exchange.method == METHOD_HEAD and not cached_as_get(exchange) or head.body == BODY_NONE:
        whole = body == 0
    elif head.body == BODY_LENGTH:
        whole = body == head.content_length
    if whole:
        if head.flags & HEAD_KEEP_ALIVE:
            exchange.flags |= EX_ORIGIN_KEEP
        stream_consume(&origin.stream, size + body)
    counter_add(&origin.local.bytes_in, size + body)
    _remember_tried(exchange)
    _leave_server(exchange)
    _leave_origin(exchange, whole)


# ---- DELIVER ----

cdef void exchange_move_response(Exchange* exchange) noexcept nogil:
    """More of the answer's body has come, or there is room for it."""
    cdef int result
    if exchange.splice.active and exchange.splice.source == &exchange.origin.stream:
        return
    result = relay_response(exchange)
    if result == RELAY_DONE:
        exchange_end(exchange)
    elif result < 0:
        exchange_fail(exchange, -result)
    elif result == RELAY_BLOCKED or result == RELAY_SPLICED:
        exchange.origin.progress = exchange_progress(exchange)
        timer_set(&exchange.context.timers, &exchange.client.timer, exchange.context.clock.now_ms + SEND_STALL_MS)


cdef void exchange_response_spliced(Exchange* exchange) noexcept nogil:
    """A splice has moved the rest of the answer's body."""
    exchange.response_left = 0
    _account_splice(exchange)
    exchange_end(exchange)


cdef void exchange_response_closed(Exchange* exchange) noexcept nogil:
    """The origin ended a body that only its end delimits."""
    finish_until_close(exchange)
    exchange_end(exchange)


cdef void _begin_tunnel(Exchange* exchange) noexcept nogil:
    cdef Context* context = exchange.context
    exchange.client.state = CLIENT_TUNNEL
    exchange.origin.state = ORIGIN_TUNNEL
    timer_off(&exchange.origin.timer)
    timer_remove(&context.timers, &exchange.total)
    timer_after(&context.timers, &exchange.client.timer, context.clock.now_ms, exchange.route.tunnel_idle_ms)
    tunnel_from_origin(exchange)
    stream_resume(&exchange.client.stream)
    tunnel_from_client(exchange)


# ---- LOG, DONE ----

cdef inline void _first_byte(Exchange* exchange) noexcept nogil:
    if not exchange.flags & EX_SHOWN:
        exchange.first_byte_us = <uint32_t>(exchange.context.clock.now_us - exchange.sent_us)


cdef void _try_answered(Exchange* exchange) noexcept nogil:
    """The server answered: good for its health unless it is a 5xx. An answer that was shown to a filter was counted then."""
    if exchange.flags & EX_SHOWN:
        return
    record_try(exchange, FAULT_NONE)
    if exchange.status >= 500:
        record_failure(exchange.context, exchange.pool, exchange.server)
    else:
        note_success(exchange.server)


cdef void _leave_server(Exchange* exchange) noexcept nogil:
    if exchange.flags & EX_IN_FLIGHT:
        exchange.flags &= ~<uint32_t>(EX_IN_FLIGHT | EX_HEDGE)
        pick_leave(exchange.upstream.state, exchange.server)
    _give_probe(exchange)


cdef inline void _give_probe(Exchange* exchange) noexcept nogil:
    """A probe that told nothing is given back."""
    if exchange.flags & EX_PROBE:
        exchange.flags &= ~<uint32_t>EX_PROBE
        circuit_give(exchange.upstream.state)


cdef void _leave_origin(Exchange* exchange, bint keep) noexcept nogil:
    """Part from the origin connection: back to the pool when it is clean, closed otherwise."""
    cdef OriginConn* origin = exchange.origin
    if exchange.splice.active or exchange.splice.moved:
        _account_splice(exchange)
    if origin == NULL:
        return
    exchange.origin = NULL
    origin.exchange = NULL
    timer_off(&origin.timer)
    if (keep and exchange.flags & EX_ORIGIN_KEEP and exchange.flags & EX_REQUEST_DONE and origin.stream.received == NULL
            and origin.stream.error == 0 and stream_unsent(&origin.stream) == 0
            and not origin.stream.flags & (STREAM_ENDED | STREAM_ENDING | STREAM_ERRORED | STREAM_BROKEN)):
        origin_park(origin, exchange.pool.pool_max, exchange.pool.pool_idle_ms)
    else:
        origin_close(origin, False)


cdef void _account_splice(Exchange* exchange) noexcept nogil:
    """Bytes that a splice moved belong to the exchange's counters, whether it ended or was stopped."""
    cdef uint64_t moved = exchange.splice.moved
    exchange.splice.moved = 0
    if exchange.splice_is_request:
        exchange.bytes_in += moved
        counter_add(&exchange.server.local[exchange.context.engine].bytes_out, moved)
    else:
        exchange.bytes_out += moved
        counter_add(&exchange.server.local[exchange.context.engine].bytes_in, moved)


cdef void _log(Exchange* exchange) noexcept nogil:
    """Reached exactly once for every exchange; frees it."""
    cdef Context* context = exchange.context
    cdef ClientConn* client = exchange.client
    cdef SnapshotData* snapshot = exchange.snapshot
    _enter(exchange, PHASE_LOG)
    if exchange.pausing == PAUSE_QUEUE or exchange.pausing == PAUSE_PLACE:
        _queued(exchange)
    if exchange.flags & EX_PLACED:
        gate_leave(exchange.route.lane, context.clock.now_us)
    if not exchange.flags & EX_QUIET:
        record_exchange(exchange)
    _enter(exchange, PHASE_DONE)
    cached_end(exchange)
    filtered_end(exchange)
    timer_remove(&context.timers, &exchange.total)
    timer_remove(&context.timers, &exchange.pause)
    wait_end(exchange)
    attempt_give_budget(exchange)
    if exchange.pool != NULL:
        pool_unpin(exchange.pool, context.engine)
    client.exchange = NULL
    store_i64(&client.local.in_flight, client.local.in_flight - 1)
    store_i64(&context.exchange_count, context.exchange_count - 1)
    if exchange.request_trailers != NULL:
        buffer_free(&context.buffers, exchange.request_trailers)
    if exchange.response_trailers != NULL:
        buffer_free(&context.buffers, exchange.response_trailers)
    mirror_take(exchange)
    if exchange.request != NULL:
        buffer_free(&context.buffers, exchange.request)
    slab_free(&context.exchanges, exchange)
    snapshot_release(context, snapshot)


cdef void exchange_end(Exchange* exchange) noexcept nogil:
    """The answer is complete: everything of it has been given to the client's stream."""
    cdef ClientConn* client = exchange.client
    cdef bint close = (exchange.flags & EX_CLIENT_CLOSE) != 0
    cdef bint quiet = exchange.flags & (EX_LAST_REQUEST | EX_REQUEST_DONE) == (EX_LAST_REQUEST | EX_REQUEST_DONE)
    _leave_server(exchange)
    _leave_origin(exchange, True)
    _log(exchange)
    if client.stand_in:
        client_behind_ended(client)
    elif close:
        client_finish(client, quiet)
    else:
        client_rest(client)


# ---- faults ----

cdef void exchange_fail(Exchange* exchange, int fault) noexcept nogil:
    """Something went wrong with the current try, or with the client's body. Retry, answer, or cut off."""
    cdef const FaultInfo* info = fault_info(fault)
    cdef int retry
    cdef bint repeatable
    if exchange.flags & EX_RESPONSE_BEGUN:
        _cut_off(exchange, fault)
        return
    if exchange.pausing == PAUSE_ASK:
        _stop_asking(exchange)
    retry = attempt_after_fault(exchange, info)
    repeatable = attempt_repeatable(exchange)
    if exchange.member >= 0 and exchange.flags & (EX_IN_FLIGHT | EX_SHOWN) == EX_IN_FLIGHT:
        if fault == FAULT_TOTAL_TIMEOUT and exchange.flags & EX_REQUEST_DONE and exchange.sent_us > 0:
            # The client's time is up, and the server is who used it: its own time might be so long that it never failed.
            record_try(exchange, FAULT_UPSTREAM_FIRST_BYTE_TIMEOUT)
            record_failure(exchange.context, exchange.pool, exchange.server)
        elif info.source == FAULT_SOURCE_UPSTREAM and not _is_race(exchange, info):
            record_try(exchange, fault)
            record_failure(exchange.context, exchange.pool, exchange.server)
    if retry == RETRY_SAME:
        exchange.retry_why = <uint16_t>fault
        exchange.flags |= EX_FRESH
        _leave_origin(exchange, False)
        stream_pause(&exchange.client.stream)
        _enter(exchange, PHASE_PICK)
        _try(exchange)
        return
    _remember_tried(exchange)
    _leave_server(exchange)
    _leave_origin(exchange, False)
    if exchange.rival.origin != NULL and (info.source == FAULT_SOURCE_UPSTREAM or fault == FAULT_FD_EXHAUSTED or fault == FAULT_MEMORY):
        _take_over(exchange)
        _hedge_again(exchange)
        return
    _drop_rival(exchange)
    if retry == RETRY_OTHER and _in_time(exchange, 0):
        stream_pause(&exchange.client.stream)
        exchange.budget_ms = exchange.context.clock.now_ms + BUDGET_WAIT_MS
        _retry_within_budget(exchange, fault)
    elif repeatable and info.source == FAULT_SOURCE_UPSTREAM and attempt_failover(exchange, info.when, False, 0):
        stream_pause(&exchange.client.stream)
        _fail_over(exchange, fault)
    else:
        exchange_refuse(exchange, fault)


cdef bint _another_works(Exchange* exchange) noexcept nogil:
    """Whether some server that was not tried has answered well when it was last asked; so many are looked at."""
    cdef int engine = exchange.context.engine
    cdef PoolData* pool = pool_pin(exchange.upstream.state, engine)
    cdef const ServerData* server
    cdef uint32_t start, i
    cdef bint found = False
    if pool.level_count > 0:
        start = random_below(&exchange.context.random, <uint32_t>pool.levels[0].count)
        for i in range(min(<uint32_t>pool.levels[0].count, <uint32_t>WORKING_LOOKS)):
            server = pool.members[pool.levels[0].active[(start + i) % <uint32_t>pool.levels[0].count]].server
            if (load_int(&server.failures) == 0 and server_usable(server, exchange.context.clock.now_ms)
                    and not was_tried(&exchange.tried, server)):
                found = True
                break
    pool_unpin(pool, engine)
    return found


cdef void _retry_within_budget(Exchange* exchange, int fault) noexcept nogil:
    """A server that dies fails all its exchanges at the same moment, more than the budget admits at a time; so for what only a connection
    did a place is waited for a little, as long as another server works. Answers that came, and times that were up, are not worth a wait:
    then the server is there, and has had its chance."""
    cdef Context* context = exchange.context
    cdef const FaultInfo* info = fault_info(fault)
    if attempt_take_budget(exchange):
        exchange.retry_why = <uint16_t>fault
        _try_later(exchange, fault, 0)
    elif (info.when & (FAULT_WHEN_CONNECT | FAULT_WHEN_RESET) and context.clock.now_ms < exchange.budget_ms
            and _in_time(exchange, BUDGET_LOOK_MS) and _another_works(exchange)):
        _enter(exchange, PHASE_PICK)
        exchange.fault = fault
        exchange.pausing = PAUSE_BUDGET
        timer_after(&context.timers, &exchange.pause, context.clock.now_ms, 1 + random_below(&context.random, BUDGET_LOOK_MS))
    else:
        attempt_refuse_budget(exchange)
        if attempt_failover(exchange, info.when, False, 0):
            _fail_over(exchange, fault)
        else:
            exchange_refuse(exchange, fault)


cdef inline bint _is_race(const Exchange* exchange, const FaultInfo* info) noexcept nogil:
    """A reused connection that died before any answer is nobody's failure: the origin closed it while our request was on its way."""
    return (exchange.flags & EX_REUSED) != 0 and info.retry == FAULT_RETRY_IF_REUSED


cdef inline void _remember_tried(Exchange* exchange) noexcept nogil:
    if exchange.member >= 0 and exchange.tried.count < TRIED_MAX:
        exchange.tried.server[exchange.tried.count] = exchange.server
        exchange.tried.count += 1


cdef inline bint _in_time(const Exchange* exchange, int64_t ms) noexcept nogil:
    """Whether the exchange may go on for longer than so long."""
    return exchange.total.deadline_ms == TIMER_OFF_MS or exchange.context.clock.now_ms + ms < exchange.total.deadline_ms


cdef void _try_later(Exchange* exchange, int fault, int64_t least_ms) noexcept nogil:
    """Another try on this upstream, after the backoff. A wait that would outlast timeout.total is not begun."""
    cdef int64_t ms
    exchange.retries += 1
    ms = attempt_backoff_ms(exchange)
    if ms < least_ms:
        ms = least_ms
    if not _in_time(exchange, ms):
        exchange_refuse(exchange, fault)
        return
    if ms == 0:
        _pick(exchange, fault)
        return
    _enter(exchange, PHASE_PICK)
    exchange.fault = fault
    exchange.pausing = PAUSE_BACKOFF
    timer_after(&exchange.context.timers, &exchange.pause, exchange.context.clock.now_ms, ms)


cdef void exchange_paused(Exchange* exchange) noexcept nogil:
    """What Exchange.pause watches is due."""
    cdef int what = exchange.pausing
    cdef int fault = exchange.fault
    timer_off(&exchange.pause)
    exchange.pausing = PAUSE_NONE
    if what == PAUSE_BACKOFF:
        exchange.fault = FAULT_NONE
        _pick(exchange, fault)
    elif what == PAUSE_BUDGET:
        exchange.fault = FAULT_NONE
        _retry_within_budget(exchange, fault)
    elif what == PAUSE_FETCH:
        cached_alone(exchange)
        _pick(exchange, FAULT_NO_SERVER)
    elif what == PAUSE_TIER:
        exchange_tier_answered(exchange)
    elif what == PAUSE_QUEUE:
        _queued(exchange)
        wait_end(exchange)
        _no_server(exchange, FAULT_QUEUE_TIMEOUT)
    elif what == PAUSE_PLACE:
        _queued(exchange)
        wait_end(exchange)
        _no_place(exchange, LANE_TIMEOUT, FAULT_PLACES_TIMEOUT)
    elif what == PAUSE_DELAY:
        exchange.filtered.delayed = True
        _filter_again(exchange)
    elif what == PAUSE_ASK:
        wait_end(exchange)
        if exchange.origin != NULL:
            _shown(exchange, NULL, 0, True, False)
        else:
            filtered_hear_nothing(exchange, False)
            _filter_again(exchange)
    else:
        INVARIANT(what == PAUSE_HEDGE)
        exchange_hedge(exchange)


cdef inline bint _looks_whole(const Exchange* exchange) noexcept nogil:
    """A body that only the end of the connection delimits would look complete after FIN: to be seen as cut it needs a reset."""
    return ((exchange.flags & EX_RESPONSE_BEGUN) != 0 and not exchange.flags & EX_OUT_CHUNKED
            and (exchange.response_body == BODY_CLOSE or exchange.response_body == BODY_CHUNKED))


cdef void _cut_off(Exchange* exchange, int fault) noexcept nogil:
    """The answer has begun and cannot be finished: end it so that the client sees that it is not whole."""
    cdef ClientConn* client = exchange.client
    cdef bint reset = _looks_whole(exchange)
    exchange.fault = fault
    if fault_info(fault).source == FAULT_SOURCE_UPSTREAM and exchange.flags & EX_IN_FLIGHT:
        record_try(exchange, fault)
        record_failure(exchange.context, exchange.pool, exchange.server)
    _leave_server(exchange)
    _leave_origin(exchange, False)
    _log(exchange)
    if reset:
        client_close(client, True)
    else:
        client_finish(client, False)


cdef void exchange_abandon(Exchange* exchange, int fault, bint listens) noexcept nogil:
    cdef ClientConn* client = exchange.client
    cdef bint reset = _looks_whole(exchange)
    exchange.fault = fault
    _drop_rival(exchange)
    if not exchange.flags & EX_RESPONSE_BEGUN:
        exchange.status = fault_info(fault).status
        exchange.flags |= EX_OWN_ANSWER   # whatever status is told, the origin did not give it
    _leave_server(exchange)
    _leave_origin(exchange, False)
    _log(exchange)
    if client.stand_in:
        client_behind_ended(client)
    elif listens and not reset:
        client_finish(client, True)
    else:
        client_close(client, reset)


cdef void exchange_end_tunnel(Exchange* exchange) noexcept nogil:
    cdef ClientConn* client = exchange.client
    _leave_server(exchange)
    _leave_origin(exchange, False)
    _log(exchange)
    client_finish(client, False)
