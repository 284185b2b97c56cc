"""What all flows have in common (see facts.pxd)."""
from libc.stdint cimport uint8_t, uint16_t, uint64_t
from libc.string cimport memset
from proxyd_ext.balance.pick cimport pick_leave
from proxyd_ext.balance.pool cimport PoolData, pool_pin, pool_unpin, upstream_drop
from proxyd_ext.balance.server cimport DOWN_DRAIN, DOWN_HEALTH, DOWN_MAINT, ServerLocal, server_drop
from proxyd_ext.conn.clients cimport clients_enter, clients_leave
from proxyd_ext.conn.pin cimport snapshot_release
from proxyd_ext.conn.record cimport record_failure
from proxyd_ext.core.address cimport ADDRESS_TEXT, ADDRESS_UNIX, address_write, network_contains
from proxyd_ext.core.ending cimport END_DOWN
from proxyd_ext.core.fault cimport FAULT_CLIENT_LIMIT, FAULT_DENIED, fault_info
from proxyd_ext.core.hash cimport random_next
from proxyd_ext.core.shim cimport counter_add, fetch_add_i64, load_int, store_i64
from proxyd_ext.core.slice cimport slice_empty, slice_of
from proxyd_ext.core.stats cimport count_add
from proxyd_ext.filter.chain cimport access_admits
from proxyd_ext.io.listener cimport (
    REJECT_CLIENT_LIMIT, REJECT_CONNECTIONS, REJECT_DENIED, REJECT_PROXY, listener_drop, listener_hold,
)
from proxyd_ext.log.record cimport CACHE_NONE, RECORD_UDP, STATUS_BY_PROXYD, STATUS_BY_UPSTREAM, T_NONE, TRACE_NONE, AccessRecord
from proxyd_ext.log.ring cimport log_submit, log_wanted
from proxyd_ext.snapshot.compile cimport CompiledListener


cdef int _admit(Facts* facts, const CompiledListener* settings) noexcept nogil:
    """Who the client is, is known: is it let in?"""
    if settings.access != NULL and not access_admits(settings.access, &facts.client):
        return REJECT_DENIED
    if settings.per_client > 0 and facts.client.family != ADDRESS_UNIX:
        facts.counted = clients_enter(&facts.client, settings.per_client)
        if facts.counted == NULL:
            return REJECT_CLIENT_LIMIT
    return 0


cdef inline bint _may_introduce(const CompiledListener* settings, const Address* peer) noexcept nogil:
    cdef int i
    for i in range(settings.proxy_count):
        if network_contains(&settings.proxies[i], peer):
            return True
    return False


cdef int facts_begin(Facts* facts, Context* context, ListenerLocal* local, const Address* peer, int kind) noexcept nogil:
    cdef CompiledListener* settings = <CompiledListener*>local.settings
    cdef int reason = 0
    memset(facts, 0, sizeof(Facts))
    facts.context = context
    facts.local = local
    facts.listener = local.listener
    facts.peer = facts.client = peer[0]
    if settings.proxied:
        reason = 0 if _may_introduce(settings, peer) else REJECT_PROXY
    else:
        reason = _admit(facts, settings)
    if fetch_add_i64(&local.listener.total, 1) >= settings.connections and settings.connections > 0 and reason == 0:
        reason = REJECT_CONNECTIONS               # behind the others: who is not let in anyway makes nobody go
        if facts.counted != NULL:
            clients_leave(facts.counted)
    if reason != 0:
        fetch_add_i64(&local.listener.total, -1)
        if kind != RECORD_UDP:
            counter_add(&local.accepted, 1)       # a connection; of datagrams, only flows are
        if reason != REJECT_CONNECTIONS or kind != RECORD_UDP:
            count_add(&local.rejected, reason, 1)
        return reason
    counter_add(&local.accepted, 1)
    listener_hold(facts.listener)
    store_i64(&local.open_count, local.open_count + 1)
    store_i64(&context.flow_count, context.flow_count + 1)
    facts.kind = <uint8_t>kind
    facts.start_us = context.clock.now_us
    facts.id = random_next(&context.random)
    facts.config = settings.snapshot.config
    facts.connect_us = T_NONE
    facts.drain_ms = settings.flow.drain_ms
    return 0


cdef int facts_rename(Facts* facts, const Address* client) noexcept nogil:
    cdef int reason
    facts.client = client[0]
    reason = _admit(facts, <CompiledListener*>facts.local.settings)
    if reason != 0:
        facts.fault = FAULT_DENIED if reason == REJECT_DENIED else FAULT_CLIENT_LIMIT
        count_add(&facts.local.rejected, reason, 1)
    return reason


cdef void facts_failed(Facts* facts, int fault) noexcept nogil:
    cdef Context* context = facts.context
    cdef ServerLocal* local = facts.server.local[context.engine]
    cdef PoolData* pool
    count_add(&local.errors, fault, 1)
    if context.snapshot != NULL and local.mark == context.snapshot.generation:    # else its upstream may have no pool any more
        pool = pool_pin(facts.upstream, context.engine)
        record_failure(context, pool, facts.server)
        pool_unpin(pool, context.engine)


cdef void facts_leave(Facts* facts) noexcept nogil:
    if facts.in_flight:
        facts.in_flight = False
        pick_leave(facts.upstream, facts.server)


cdef void _record(const Facts* facts, int end, Slice route, Slice upstream, Slice name, Slice alpn) noexcept nogil:
    cdef AccessRecord record
    cdef uint8_t[ADDRESS_TEXT] ip
    cdef Context* context = facts.context
    cdef int64_t total_us = context.clock.now_us - facts.start_us
    memset(&record, 0, sizeof(record))
    record.kind = facts.kind
    record.end = <uint8_t>end
    record.time_us = context.clock.wall_us
    record.id = facts.id
    record.config = facts.config
    record.bytes_in = facts.bytes_in
    record.bytes_out = record.body_out = facts.bytes_out
    record.packets_in = facts.packets_in
    record.packets_out = facts.packets_out
    record.t_total_us = <uint64_t>total_us
    record.t_connect_us = facts.connect_us
    record.t_first_byte_us = T_NONE
    record.cache = CACHE_NONE
    record.cache_age = T_NONE
    record.fault = facts.fault
    record.status = fault_info(facts.fault).status if facts.fault else 200
    record.status_by = STATUS_BY_PROXYD if facts.fault else STATUS_BY_UPSTREAM
    record.attempts = facts.tries
    record.engine = <uint16_t>context.engine
    record.client_port = facts.client.port
    record.client_ip = slice_of(ip, address_write(&facts.client, ip))
    record.listener = facts.listener.name
    record.route = route
    record.upstream = facts.server.upstream if facts.server != NULL else upstream
    record.server = facts.server.label if facts.server != NULL else slice_empty()
    record.tls_name = name
    record.tls_alpn = alpn
    log_submit(context.log, &record)


cdef void facts_end(Facts* facts, int end, Slice route, Slice upstream, Slice name, Slice alpn) noexcept nogil:
    cdef Context* context = facts.context
    cdef ListenerLocal* local = facts.local
    facts_leave(facts)
    count_add(&local.ended, end, 1)
    if context.log != NULL and log_wanted(context.log, context.clock.now_ms, facts.fault,
                                          fault_info(facts.fault).status if facts.fault else 0, 0, facts.id, TRACE_NONE):
        _record(facts, end, route, upstream, name, alpn)
    if facts.server != NULL:
        server_drop(facts.server)
        upstream_drop(facts.upstream)
        facts.server = NULL
        facts.upstream = NULL
    if facts.counted != NULL:
        clients_leave(facts.counted)
        facts.counted = NULL
    fetch_add_i64(&facts.listener.total, -1)
    store_i64(&context.flow_count, context.flow_count - 1)
    store_i64(&local.open_count, local.open_count - 1)
    if local.leaving and local.open_count == 0:
        snapshot_release(context, (<CompiledListener*>local.settings).snapshot)
    listener_drop(facts.listener)
    facts.listener = NULL


cdef int facts_review(Facts* facts) noexcept nogil:
    cdef Context* context = facts.context
    cdef int down = 0
    cdef bint left = facts.local.leaving
    if facts.server != NULL:
        down = load_int(&facts.server.down)
        # A client that goes on sending datagrams would stay with a dead server for ever, and nothing would tell it.
        if (load_int(&facts.upstream.on_down_close) or facts.kind == RECORD_UDP) and down & (DOWN_HEALTH | DOWN_MAINT):
            return END_DOWN
        left = (left or down & DOWN_DRAIN != 0
                or context.snapshot != NULL and facts.server.local[context.engine].mark != context.snapshot.generation)
    if not facts.local.leaving:
        facts.drain_ms = (<CompiledListener*>facts.local.settings).flow.drain_ms
    if not left:
        facts.leave_ms = 0
    elif facts.leave_ms == 0 and facts.drain_ms > 0:
        facts.leave_ms = context.clock.now_ms + facts.drain_ms
    return 0
