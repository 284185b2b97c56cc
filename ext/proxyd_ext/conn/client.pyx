# cython: cdivision=True
"""Clients' connections (see client.pxd)."""
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcpy, memset
from proxyd_ext.conn.clients cimport clients_enter, clients_leave
from proxyd_ext.conn.key cimport trusted_peer
from proxyd_ext.conn.model cimport (
    CLIENT_CLOSING, CLIENT_IDLE, CLIENT_LINGER, CLIENT_PROXY, Context, context_timers_needed,
)
from proxyd_ext.conn.pin cimport snapshot_release
from proxyd_ext.core.address cimport ADDRESS_UNIX, address_write, network_contains
from proxyd_ext.core.buffer cimport Buffer, buffer_class
from proxyd_ext.core.shim cimport counter_add, fetch_add_i64, store_i64
from proxyd_ext.core.slab cimport slab_free, slab_new
from proxyd_ext.core.stats cimport count_add
from proxyd_ext.core.timer cimport timer_init, timer_remove, timer_after, timer_set, timers_reserve
from proxyd_ext.filter.chain cimport access_admits
from proxyd_ext.io.listener cimport (
    REJECT_CLIENT_LIMIT, REJECT_CONNECTIONS, REJECT_DENIED, REJECT_MEMORY, REJECT_PROXY, ListenerLocal, listener_drop, listener_hold,
)
from proxyd_ext.io.peer cimport peer_address
from proxyd_ext.io.poller cimport STREAM_READABLE
from proxyd_ext.io.stream cimport (
    stream_again, stream_bury, stream_close, stream_consume, stream_finish, stream_open, stream_resume, stream_unsent,
)
from proxyd_ext.io.sys cimport close
from proxyd_ext.preface.proxy cimport PROXY_STREAM, ProxyHeader, proxy_parse
from proxyd_ext.snapshot.compile cimport CompiledListener

cdef enum:
    LINGER_MS = 5000          # how long we read on after our FIN
    LINGER_BYTES = 16 << 20   # and how much: a client in the middle of an upload must get to see the answer
    SEND_STALL_MS = 60000     # a client that takes nothing of its last answer for so long is cut off
    NOT_LOOKED_YET = 0x7FFFFFFF


cdef void _reap(void* object) noexcept nogil:
    cdef ClientConn* client = <ClientConn*>object
    listener_drop(client.listener)
    slab_free(&client.context.clients, client)


cdef void _reject(ListenerLocal* local, int fd, int reason) noexcept nogil:
    close(fd)
    count_add(&local.rejected, reason, 1)


cdef int _admit(ClientConn* client, const CompiledListener* settings) noexcept nogil:
    """Who the client is, is known: 0, or REJECT_*."""
    if settings.access != NULL and not access_admits(settings.access, &client.address):
        return REJECT_DENIED
    if settings.per_client > 0 and client.address.family != ADDRESS_UNIX and not trusted_peer(settings, &client.address):
        client.counted = clients_enter(&client.address, settings.per_client)
        if client.counted == NULL:
            return REJECT_CLIENT_LIMIT
    return 0


cdef inline int _introduced(ClientConn* client, const CompiledListener* settings) noexcept nogil:
    """A PROXY header will tell: may this peer say so?"""
    cdef int i
    for i in range(settings.proxy_count):
        if network_contains(&settings.proxies[i], &client.address):
            return 0
    return REJECT_PROXY


cdef void client_accept(void* owner, int fd, const sockaddr_storage* peer, socklen_t size) noexcept nogil:
    cdef ListenerLocal* local = <ListenerLocal*>owner
    cdef Context* context = <Context*>local.context
    cdef CompiledListener* settings = <CompiledListener*>local.settings
    cdef ClientConn* client
    cdef int reason = 0
    counter_add(&local.accepted, 1)
    client = <ClientConn*>slab_new(&context.clients)
    if client == NULL or not timers_reserve(&context.timers, context_timers_needed(context)):
        if client != NULL:
            slab_free(&context.clients, client)
        _reject(local, fd, REJECT_MEMORY)
        return
    peer_address(peer, &client.address)
    client.counted = NULL
    client.stand_in = False
    if fetch_add_i64(&local.listener.total, 1) >= settings.connections and settings.connections > 0:
        reason = REJECT_CONNECTIONS
    else:
        reason = _introduced(client, settings) if settings.proxied else _admit(client, settings)
    if reason == 0 and stream_open(&client.stream, &context.poller, fd, context.on_client, client, _reap,
                                   buffer_class(settings.limits.head_size)) < 0:
        reason = REJECT_MEMORY
        if client.counted != NULL:
            clients_leave(client.counted)
    if reason != 0:
        fetch_add_i64(&local.listener.total, -1)
        slab_free(&context.clients, client)
        _reject(local, fd, reason)
        return
    timer_init(&client.timer, client, context.on_client_timer)
    client.context = context
    client.listener = local.listener
    client.local = local
    listener_hold(local.listener)
    client.exchange = NULL
    client.scanned = 0
    client.head_us = 0
    client.served = 0
    client.state = CLIENT_PROXY if settings.proxied else CLIENT_IDLE
    client.closing = False
    client.ended = False
    client.ip_size = <uint8_t>address_write(&client.address, client.ip)
    client.previous = NULL
    client.next = context.first_client
    if client.next != NULL:
        client.next.previous = client
    context.first_client = client
    store_i64(&context.client_count, context.client_count + 1)
    store_i64(&local.open_count, local.open_count + 1)
    # The first request must arrive as a head does: within header_timeout, not idle_timeout.
    timer_after(&context.timers, &client.timer, context.clock.now_ms, settings.header_ms)


cdef bint client_read_proxy(ClientConn* client) noexcept nogil:
    cdef CompiledListener* settings = <CompiledListener*>client.local.settings
    cdef Buffer* buffer = client.stream.received
    cdef ProxyHeader header
    cdef int reason = REJECT_PROXY
    cdef int size = proxy_parse(buffer.data + buffer.start, buffer.end - buffer.start, PROXY_STREAM, &header)
    if size == 0:
        return False
    if size > 0:
        if not header.local:
            client.address = header.source
            client.ip_size = <uint8_t>address_write(&client.address, client.ip)
        reason = _admit(client, settings)
    if reason != 0:
        count_add(&client.local.rejected, reason, 1)
        client_close(client, False)
        return False
    client.state = CLIENT_IDLE
    stream_consume(&client.stream, <uint32_t>size)
    return True


cdef void client_close(ClientConn* client, bint reset) noexcept nogil:
    cdef Context* context = client.context
    if client.stream.fd < 0:
        return
    stream_close(&client.stream, reset)
    timer_remove(&context.timers, &client.timer)
    if client.previous != NULL:
        client.previous.next = client.next
    else:
        context.first_client = client.next
    if client.next != NULL:
        client.next.previous = client.previous
    if client.counted != NULL:
        clients_leave(client.counted)
    store_i64(&context.client_count, context.client_count - 1)
    fetch_add_i64(&client.listener.total, -1)
    store_i64(&client.local.open_count, client.local.open_count - 1)
    if client.local.leaving and client.local.open_count == 0:
        snapshot_release(context, (<CompiledListener*>client.local.settings).snapshot)
    stream_bury(&client.stream)


cdef void client_rest(ClientConn* client) noexcept nogil:
    cdef CompiledListener* settings = <CompiledListener*>client.local.settings
    client.exchange = NULL
    client.scanned = 0
    if client.closing or (client.ended and client.stream.received == NULL):
        client_finish(client, False)
        return
    client.state = CLIENT_IDLE
    client.stream.receive_class = buffer_class(settings.limits.head_size)
    if client.stream.backlog_bytes > 0:
        _watch_sending(client)
        if stream_unsent(&client.stream) >= settings.buffer:
            return            # it takes its answers too slowly to be given another: stays paused until this one is out
    else:
        client.unsent_mark = NOT_LOOKED_YET
        _watch_idle(client)
    _go_on(client)


cdef inline void _watch_idle(ClientConn* client) noexcept nogil:
    cdef int64_t ms = (<CompiledListener*>client.local.settings).idle_ms
    if client.context.draining or client.local.leaving:
        ms = DRAIN_QUIET_MS
    timer_after(&client.context.timers, &client.timer, client.context.clock.now_ms, ms)


cdef inline void _go_on(ClientConn* client) noexcept nogil:
    stream_resume(&client.stream)
    if client.stream.received != NULL:
        stream_again(&client.stream)


cdef void client_rested(ClientConn* client) noexcept nogil:
    _watch_idle(client)
    _go_on(client)


cdef void _watch_sending(ClientConn* client) noexcept nogil:
    client.stream.want_drained = True
    client.unsent_mark = stream_unsent(&client.stream)
    timer_set(&client.context.timers, &client.timer, client.context.clock.now_ms + SEND_STALL_MS)


cdef void client_check_sending(ClientConn* client) noexcept nogil:
    if stream_unsent(&client.stream) < client.unsent_mark:
        _watch_sending(client)
    else:
        client_close(client, True)


cdef void client_finish(ClientConn* client, bint quiet) noexcept nogil:
    client.exchange = NULL
    client.quiet = quiet
    client.closing = True
    client.state = CLIENT_CLOSING
    if stream_unsent(&client.stream) > 0:
        _watch_sending(client)
    else:
        client_finished(client)


cdef void client_finished(ClientConn* client) noexcept nogil:
    """All is sent. Closing with unread bytes would make the kernel send a reset, which can destroy the answer on its way: so FIN, and read
    on."""
    cdef Context* context = client.context
    if client.stream.received == NULL and (client.ended or client.quiet and not client.stream.flags & STREAM_READABLE):
        client_close(client, False)
        return
    client.state = CLIENT_LINGER
    client.scanned = 0
    stream_finish(&client.stream)
    timer_set(&context.timers, &client.timer, context.clock.now_ms + (DRAIN_QUIET_MS if context.draining else LINGER_MS))
    stream_resume(&client.stream)
    client_discard(client)


cdef void client_discard(ClientConn* client) noexcept nogil:
    cdef uint32_t size
    if client.stream.received == NULL:
        return
    size = client.stream.received.end - client.stream.received.start
    client.scanned += size
    if client.scanned > LINGER_BYTES:
        client_close(client, False)
        return
    stream_consume(&client.stream, size)


cdef ClientConn* client_behind(ClientConn* like) noexcept nogil:
    cdef Context* context = like.context
    cdef ClientConn* client = <ClientConn*>slab_new(&context.clients)
    if client == NULL or not timers_reserve(&context.timers, context_timers_needed(context)):
        if client != NULL:
            slab_free(&context.clients, client)
        return NULL
    memset(client, 0, sizeof(ClientConn))
    client.stream.fd = -1
    client.stream.poller = &context.poller
    client.stand_in = True
    timer_init(&client.timer, client, context.on_client_timer)
    client.context = context
    client.listener = like.listener
    client.local = like.local
    listener_hold(client.listener)
    client.address = like.address
    client.ip_size = like.ip_size
    memcpy(client.ip, like.ip, sizeof(client.ip))
    client.head_us = context.clock.now_us
    client.next = context.first_behind
    if client.next != NULL:
        client.next.previous = client
    context.first_behind = client
    return client


cdef void client_behind_ended(ClientConn* client) noexcept nogil:
    cdef Context* context = client.context
    timer_remove(&context.timers, &client.timer)
    if client.previous != NULL:
        client.previous.next = client.next
    else:
        context.first_behind = client.next
    if client.next != NULL:
        client.next.previous = client.previous
    _reap(client)
