# cython: cdivision=True
"""The life of a flow of datagrams (see udp_flow.pxd).

    looking for a server -> choosing (a socket is connected; nothing is known yet) -> settled (it has answered, or a second has gone by
    without a refusal) -> over

There is no connect that could fail: that nobody listens is told by ICMP, behind the first datagram. So the first answer is taken for what a
connection being accepted is to TCP. Before it a refusal is a failed try, as far as `retry` goes another server is taken, and the datagram
that was lost is sent to that one; the newest of those are kept in a ring for it. Afterwards a refusal ends the flow, and the client's next
datagram begins another.

Nothing is queued for a client or server who does not take it: what the kernel has no room for is dropped and counted (REJECT_SEND).
"""
from libc.stdint cimport uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset
from proxyd_ext.balance.passive cimport note_success
from proxyd_ext.conn.model cimport context_timers_needed
from proxyd_ext.conn.origin cimport connect_fault
from proxyd_ext.core.ending cimport (
    END_AGE, END_DRAIN, END_EVICTED, END_IDLE, END_REFUSED, END_RESPONSES, END_SERVER_RESET,
)
from proxyd_ext.core.fault cimport FAULT_CONNECT_FAILED, FAULT_FD_EXHAUSTED, FAULT_MEMORY, FAULT_NONE, FAULT_SERVER_DOWN
from proxyd_ext.core.shim cimport PXD_LIKELY, PXD_UNLIKELY, counter_add, load_i64
from proxyd_ext.core.slab cimport slab_free, slab_new
from proxyd_ext.core.slice cimport Slice, slice_empty, slice_of
from proxyd_ext.core.stats cimport count_add
from proxyd_ext.core.timer cimport TIMER_OFF_MS, timer_init, timer_remove, timer_set, timers_reserve
from proxyd_ext.io.datagram cimport (
    DATAGRAM_BATCH, DATAGRAM_BYTES, Sent, datagram_batch_destroy, datagram_count, datagram_join, datagram_local, datagram_queue_add,
    datagram_queue_room, datagram_queue_send, datagram_receive, datagrams_receive, datagrams_send,
)
from proxyd_ext.io.listener cimport (
    REJECT_AMPLIFICATION, REJECT_CONNECTIONS, REJECT_MEMORY, REJECT_SEND, REJECT_TRUNCATED, listener_drop,
)
from proxyd_ext.io.peer cimport peer_address
from proxyd_ext.io.poller cimport poller_add, poller_bury, poller_queue, poller_remove
from proxyd_ext.io.sys cimport (
    AF_INET, AF_INET6, EAGAIN, EMSGSIZE, EPOLLIN, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, close, connect, errno,
    sockaddr, sockaddr_storage, socket as new_socket,
)
from proxyd_ext.l4.choice cimport choice_begin, choice_end, choice_failed, choice_made, choice_next
from proxyd_ext.l4.facts cimport facts_begin, facts_end, facts_failed, facts_rename, facts_review
from proxyd_ext.l4.model cimport L4
from proxyd_ext.l4.udp_table cimport table_add, table_confirm, table_destroy, table_remove, table_touch, table_victim
from proxyd_ext.log.record cimport RECORD_UDP
from proxyd_ext.log.text cimport Out, out_of, put_hex
from proxyd_ext.preface.proxy cimport PROXY_DGRAM, PROXY_WRITE_MAX, proxy_write
from proxyd_ext.snapshot.compile cimport CompiledFlow, CompiledListener

cdef enum:
    FLOWS_MOST = 65536        # of a listener and engine, where limits.connections says nothing
    SETTLE_MS = 1000          # a refusal comes within a round trip
    KEPT_COUNT = 4            # datagrams of a flow of which the last is kept while nobody has answered
    ALWAYS_BYTES = 4096       # answers that any source may have
    STREAK = 3                # answers in a row that make it likely that more wait: they are taken together from then on
    PORTION_FIRST = 8
    PORTION_JOINED = 32       # waiting datagrams from which on they are worth joining
    ID_BYTES = 16             # of a unique id, in hex


# ---- sockets ----

cdef void socket_flush(UdpSocket* socket) noexcept nogil:
    cdef Sent sent
    if socket.queue.count == 0:
        return
    memset(&sent, 0, sizeof(sent))
    datagram_queue_send(&socket.queue, socket.fd, &sent)
    _count_back(socket, &sent)


cdef void _count_back(UdpSocket* socket, const Sent* sent) noexcept nogil:
    counter_add(&socket.local.packets_out, sent.packets)
    counter_add(&socket.local.bytes_out, sent.bytes)
    if PXD_UNLIKELY(sent.refused > 0):
        count_add(&socket.local.rejected, REJECT_SEND, sent.refused)


cdef void _reap_socket(Pollable* pollable) noexcept nogil:
    cdef UdpSocket* socket = <UdpSocket*>pollable
    listener_drop(socket.listener)
    table_destroy(socket)
    socket.shared.sockets -= 1
    if socket.shared.sockets == 0:
        datagram_batch_destroy(&socket.shared.batch)
        free(socket.shared)
    free(socket)


cdef void socket_close(UdpSocket* socket, bint own) noexcept nogil:
    cdef UdpSocket** at = <UdpSocket**>&(<L4*>socket.context.l4).first_socket
    socket_flush(socket)
    while at[0] != socket:
        at = &at[0].next
    at[0] = socket.next
    poller_remove(&socket.context.poller, socket.fd)
    if own:
        close(socket.fd)
    socket.fd = -1
    socket.pollable.reap = _reap_socket
    poller_bury(&socket.context.poller, &socket.pollable)


cdef void socket_rest(UdpSocket* socket) noexcept nogil:
    # While other engines have flows of this listener, closing our socket would make the kernel sort their clients anew.
    if socket.leaving and socket.count == 0 and load_i64(&socket.listener.total) == 0:
        socket_close(socket, True)


# ---- birth ----

cdef void _reap(Pollable* pollable) noexcept nogil:
    cdef UdpFlow* flow = <UdpFlow*>pollable
    slab_free(&(<L4*>flow.context.l4).datagrams, flow)


cdef bint _make_room(UdpSocket* socket) noexcept nogil:
    cdef UdpFlow* victim = table_victim(socket)
    if victim == NULL:
        return False
    flow_end(victim, END_EVICTED)
    return True


cdef UdpFlow* flow_new(UdpSocket* socket, const UdpKeys* key, const DatagramPath* path, const ProxyHeader* header) noexcept nogil:
    cdef Context* context = socket.context
    cdef L4* l4 = <L4*>context.l4
    cdef CompiledListener* settings = <CompiledListener*>socket.local.settings
    cdef CompiledFlow* rules = settings.flow
    cdef Address peer
    cdef int reason = REJECT_MEMORY
    cdef UdpFlow* flow = <UdpFlow*>slab_new(&l4.datagrams)
    if flow == NULL or not timers_reserve(&context.timers, context_timers_needed(context) + 1):
        if flow != NULL:
            slab_free(&l4.datagrams, flow)
        count_add(&socket.local.rejected, reason, 1)
        return NULL
    memset(flow, 0, sizeof(UdpFlow))
    peer_address(<const sockaddr_storage*>&path.peer, &peer)
    reason = facts_begin(&flow.facts, context, socket.local, &peer, RECORD_UDP)
    if reason == REJECT_CONNECTIONS and _make_room(socket):
        reason = facts_begin(&flow.facts, context, socket.local, &peer, RECORD_UDP)
    if reason == 0 and settings.connections == 0 and socket.count >= FLOWS_MOST:
        _make_room(socket)
    if reason == REJECT_CONNECTIONS:              # all are other engines'
        count_add(&socket.local.rejected, reason, 1)
    if reason != 0:
        slab_free(&l4.datagrams, flow)
        return NULL
    flow.pollable.on_ready = _on_ready
    flow.pollable.reap = _reap
    flow.context = context
    flow.fd = -1
    flow.key = key[0]
    flow.path = path[0]
    flow.asked = socket.bound
    if datagram_local(path, &flow.asked):
        flow.asked.port = socket.bound.port
    _take_rules(flow, rules)
    flow.age_ms = context.clock.now_ms + rules.max_age_ms if rules.max_age_ms > 0 else TIMER_OFF_MS
    flow.until_ms = flow.age_ms
    flow.settle_ms = context.clock.now_ms + SETTLE_MS
    flow.portion = 1
    flow.join = flow.join_back = True
    timer_init(&flow.timer, flow, _on_timer)
    flow.next = <UdpFlow*>l4.first_datagram
    if flow.next != NULL:
        flow.next.previous = flow
    l4.first_datagram = flow
    table_add(socket, flow, context.clock.now_ms)
    if header != NULL and not header.local:
        flow.asked = header.destination
        if facts_rename(&flow.facts, &header.source) != 0:
            flow_end(flow, END_REFUSED)
            return NULL
    elif header != NULL and facts_rename(&flow.facts, &peer) != 0:
        flow_end(flow, END_REFUSED)
        return NULL
    choice_begin(&flow.choice, context, settings, &rules.routes[0], &flow.facts.client, &flow.asked)
    flow.flags |= FLOW_CHOOSING
    flow.facts.fault = _connect(flow)
    if flow.facts.fault != FAULT_NONE:
        flow_end(flow, END_REFUSED)
        return NULL
    return flow


cdef int _open(UdpFlow* flow) noexcept nogil:
    """A socket to the chosen server: FAULT_NONE, or why there is none."""
    cdef const sockaddr* address = <const sockaddr*>flow.choice.server.address
    cdef int fd, error
    if address.sa_family != AF_INET and address.sa_family != AF_INET6:
        return FAULT_CONNECT_FAILED
    fd = new_socket(address.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    if fd > flow.socket.shared.last_fd and table_victim(flow.socket) != flow:
        _make_room(flow.socket)
        close(fd)
        fd = new_socket(address.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)     # the one that has become free
    if fd < 0:
        return connect_fault(errno)
    if connect(fd, address, flow.choice.server.address_size) < 0:
        error = errno
        close(fd)
        return FAULT_FD_EXHAUSTED if error == EAGAIN else connect_fault(error)     # no port of ours is free
    if poller_add(&flow.context.poller, fd, EPOLLIN, &flow.pollable) < 0:
        close(fd)
        return FAULT_MEMORY
    flow.fd = fd
    return FAULT_NONE


cdef int _connect(UdpFlow* flow) noexcept nogil:
    """Choose a server, and go on choosing while `retry` lets us: FAULT_NONE, or why there is none."""
    cdef UdpSocket* socket = flow.socket
    cdef int fault
    while True:
        fault = -choice_next(&flow.choice)
        if fault != FAULT_NONE:
            return fault
        fault = _open(flow)
        if fault == FAULT_FD_EXHAUSTED and table_victim(socket) != flow and _make_room(socket):
            fault = _open(flow)
        if fault == FAULT_NONE:
            flow.server = flow.choice.server.local[flow.context.engine]
            flow.proxy = 2 if flow.choice.upstream.proxy == 2 else 0
            flow.flags &= ~<uint32_t>(FLOW_PROXY_CRC | FLOW_PROXY_ID)
            if flow.choice.upstream.proxy_crc:
                flow.flags |= FLOW_PROXY_CRC
            if flow.choice.upstream.proxy_unique_id:
                flow.flags |= FLOW_PROXY_ID
            _watch(flow)
            return FAULT_NONE
        if fault == FAULT_FD_EXHAUSTED or fault == FAULT_MEMORY:
            return fault      # of ours, not of the server
        if not choice_failed(&flow.choice, fault):
            return fault


# ---- death ----

cdef void _hang_up(UdpFlow* flow) noexcept nogil:
    if flow.fd >= 0:
        poller_remove(&flow.context.poller, flow.fd)
        close(flow.fd)
        flow.fd = -1


cdef void _settle(UdpFlow* flow, int64_t us) noexcept nogil:
    """The server counts as found. `us`: until its first answer; -1: it has said nothing."""
    flow.flags &= ~<uint32_t>FLOW_CHOOSING
    choice_made(&flow.choice, &flow.facts, us)
    choice_end(&flow.choice)


cdef void flow_end(UdpFlow* flow, int end) noexcept nogil:
    cdef Context* context = flow.context
    cdef L4* l4 = <L4*>context.l4
    cdef UdpSocket* socket = flow.socket
    cdef Slice upstream = slice_empty()
    if flow.flags & FLOW_CHOOSING and flow.fd >= 0:
        _settle(flow, -1)
    elif flow.flags & FLOW_CHOOSING:
        flow.facts.tries = flow.choice.tries
        upstream = flow.choice.upstream.name
    _hang_up(flow)
    timer_remove(&context.timers, &flow.timer)
    if flow.previous != NULL:
        flow.previous.next = flow.next
    else:
        l4.first_datagram = flow.next
    if flow.next != NULL:
        flow.next.previous = flow.previous
    table_remove(flow)
    facts_end(&flow.facts, end, socket.listener.name, upstream, slice_empty(), slice_empty())
    choice_end(&flow.choice)
    poller_bury(&context.poller, &flow.pollable)
    socket_rest(socket)


cdef void _fail(UdpFlow* flow, int fault, int end) noexcept nogil:
    flow.facts.fault = <uint16_t>fault
    flow_end(flow, end)


cdef bint _failed(UdpFlow* flow, int error) noexcept nogil:
    """Nobody is there. True: another server has taken its place, and been sent the datagram that was lost; False: the flow is over."""
    cdef int fault = connect_fault(error)
    if not flow.flags & FLOW_CHOOSING:
        facts_failed(&flow.facts, fault)
        _fail(flow, fault, END_SERVER_RESET)
        return False
    while True:
        _hang_up(flow)
        if not choice_failed(&flow.choice, fault):
            break
        fault = _connect(flow)
        if fault != FAULT_NONE:
            break
        error = _resend(flow)
        if error == 0:
            return True
        fault = connect_fault(error)
    _fail(flow, fault, END_REFUSED)
    return False


# ---- time ----

cdef void _watch(UdpFlow* flow) noexcept nogil:
    cdef int64_t due = flow.until_ms
    if flow.idle_ms > 0 and flow.placed_ms + flow.idle_ms < due:
        due = flow.placed_ms + flow.idle_ms
    if flow.flags & FLOW_CHOOSING and flow.settle_ms < due:
        due = flow.settle_ms
    timer_set(&flow.context.timers, &flow.timer, due)


cdef void _on_timer(void* owner) noexcept nogil:
    cdef UdpFlow* flow = <UdpFlow*>owner
    cdef int64_t now_ms = flow.context.clock.now_ms
    if flow.flags & FLOW_CHOOSING and flow.settle_ms <= now_ms:
        _settle(flow, -1)
    if flow.until_ms <= now_ms:
        flow_end(flow, END_AGE if flow.age_ms <= now_ms else END_DRAIN)
    elif flow.idle_ms > 0 and flow.placed_ms + flow.idle_ms <= now_ms:
        flow_end(flow, END_IDLE)
    else:
        _watch(flow)


cdef void _take_rules(UdpFlow* flow, const CompiledFlow* rules) noexcept nogil:
    flow.idle_ms = rules.idle_ms
    flow.amplification = rules.amplification
    flow.responses = rules.responses


cdef void flow_review(UdpFlow* flow) noexcept nogil:
    cdef int end
    if flow.flags & FLOW_CHOOSING:
        _settle(flow, -1)     # so that no flow keeps an old snapshot, and the server is looked at
    end = facts_review(&flow.facts)
    if end != 0:
        flow.facts.fault = FAULT_SERVER_DOWN
        flow_end(flow, end)
        return
    if not flow.facts.local.leaving:
        _take_rules(flow, (<CompiledListener*>flow.facts.local.settings).flow)
    flow.until_ms = flow.age_ms
    if 0 < flow.facts.leave_ms < flow.until_ms:
        flow.until_ms = flow.facts.leave_ms
    _watch(flow)


# ---- to the server ----

cdef size_t _write_header(const UdpFlow* flow, uint8_t* out) noexcept nogil:
    cdef uint8_t[ID_BYTES] text
    cdef Out hex = out_of(text, ID_BYTES)
    cdef Slice id = slice_empty()
    if flow.flags & FLOW_PROXY_ID:
        put_hex(&hex, flow.facts.id, ID_BYTES)
        id = slice_of(text, ID_BYTES)
    return proxy_write(out, 2, PROXY_DGRAM, &flow.facts.client, &flow.asked, flow.flags & FLOW_PROXY_CRC != 0, id)


cdef int _send(UdpFlow* flow, const Datagram* datagrams, int count, int* error) noexcept nogil:
    """How many the kernel took, or dropped."""
    cdef uint8_t[PROXY_WRITE_MAX] header
    cdef Slice head = slice_empty()
    cdef Sent sent
    cdef int done
    memset(&sent, 0, sizeof(sent))
    if flow.proxy:
        head = slice_of(header, _write_header(flow, header))
    done = datagrams_send(flow.fd, NULL, head, datagrams, count, &flow.join, &sent, error)
    counter_add(&flow.server.bytes_out, sent.bytes)
    if PXD_UNLIKELY(sent.refused > 0):
        count_add(&flow.facts.local.rejected, REJECT_SEND, sent.refused)
    return done


cdef void _keep(UdpFlow* flow, const Datagram* datagram) noexcept nogil:
    """It may have to go to another server: what stood longest in the ring makes room."""
    cdef UdpEngine* shared = flow.socket.shared
    cdef uint64_t at = shared.kept_end % KEPT_BYTES
    if at + datagram.size > KEPT_BYTES:
        shared.kept_end += KEPT_BYTES - at
        at = 0
    memcpy(&shared.kept[at], datagram.data, datagram.size)
    flow.kept_at = shared.kept_end
    flow.kept_size = datagram.size
    shared.kept_end += datagram.size


cdef int _resend(UdpFlow* flow) noexcept nogil:
    """What was lost with the last server; 0 or the errno that tells that nobody is there either."""
    cdef UdpEngine* shared = flow.socket.shared
    cdef Datagram datagram
    cdef int error = 0
    if flow.kept_size == 0 or shared.kept_end - flow.kept_at > KEPT_BYTES:
        return 0
    memset(&datagram, 0, sizeof(datagram))
    datagram.data = &shared.kept[flow.kept_at % KEPT_BYTES]
    datagram.size = flow.kept_size
    return 0 if _send(flow, &datagram, 1, &error) == 1 else error


cdef void flow_ask(UdpFlow* flow, const Datagram* datagrams, int count) noexcept nogil:
    cdef Context* context = flow.context
    cdef uint64_t packets = 0, size = 0
    cdef int i, done = 0, error = 0
    for i in range(count):
        packets += datagram_count(&datagrams[i])
        size += datagrams[i].size
    flow.facts.packets_in += packets
    flow.facts.bytes_in += size
    counter_add(&flow.facts.local.packets_in, packets)
    counter_add(&flow.facts.local.bytes_in, size)
    flow.streak = 0
    if flow.flags & (FLOW_ANSWERED | FLOW_CONFIRMED) == FLOW_ANSWERED:
        table_confirm(flow, context.clock.now_ms)
    else:
        table_touch(flow, context.clock.now_ms)
    _watch(flow)
    done = _send(flow, datagrams, count, &error)
    while done < count:
        # Told of an earlier datagram: the first that is left has not been sent.
        if not _failed(flow, error):
            return
        done += _send(flow, datagrams + done, count - done, &error)
    if flow.flags & FLOW_CHOOSING and count == 1 and flow.facts.packets_in <= KEPT_COUNT and datagrams.size <= KEPT_MOST:
        _keep(flow, datagrams)


# ---- to the client ----

cdef void _give(UdpFlow* flow, const Datagram* datagrams, int count, bint in_arena) noexcept nogil:
    """What stands in the arena waits for the end of the turn, for answers of many flows leave together; a burst is a call of its own."""
    cdef UdpSocket* socket = flow.socket
    cdef Sent sent
    cdef int error
    if PXD_LIKELY(in_arena and datagrams.segment == 0):
        datagram_queue_add(&socket.queue, datagrams.size, &flow.path)
        poller_queue(&flow.context.poller, &socket.queue.flusher)
        return
    socket_flush(socket)      # their order is kept
    memset(&sent, 0, sizeof(sent))
    datagrams_send(socket.fd, &flow.path, slice_empty(), datagrams, count, &flow.join_back, &sent, &error)
    _count_back(socket, &sent)


cdef bint _may_have(const UdpFlow* flow, uint64_t size) noexcept nogil:
    """Whether that many more bytes may go to an address that perhaps never asked."""
    cdef uint64_t most = <uint64_t>flow.amplification * flow.facts.bytes_in
    if flow.flags & FLOW_CONFIRMED or flow.amplification == 0:
        return True
    return flow.facts.bytes_out + size <= (most if most > ALWAYS_BYTES else ALWAYS_BYTES)


cdef void _answered(UdpFlow* flow, Datagram* datagrams, int count, bint in_arena) noexcept nogil:
    cdef Context* context = flow.context
    cdef int i, passed = 0
    cdef uint32_t packets
    cdef bint over = False
    if flow.flags & FLOW_CHOOSING:
        _settle(flow, context.clock.now_us - flow.facts.start_us)
    elif not flow.flags & FLOW_ANSWERED:
        note_success(flow.facts.server)           # late, but it lives
    flow.flags |= FLOW_ANSWERED
    for i in range(count):
        packets = datagram_count(&datagrams[i])
        counter_add(&flow.server.bytes_in, datagrams[i].size)
        flow.answers += packets
        if PXD_UNLIKELY(datagrams[i].cut):
            count_add(&flow.facts.local.rejected, REJECT_TRUNCATED, 1)
        elif PXD_LIKELY(_may_have(flow, datagrams[i].size)):
            flow.facts.packets_out += packets
            flow.facts.bytes_out += datagrams[i].size
            datagrams[passed] = datagrams[i]
            passed += 1
        else:
            count_add(&flow.facts.local.rejected, REJECT_AMPLIFICATION, packets)
        # Questions that are under way together have all their answers: as nginx's proxy_responses.
        if flow.responses > 0 and flow.answers >= <uint64_t>flow.responses * flow.facts.packets_in:
            over = True
            break
    if passed > 0:
        _give(flow, datagrams, passed, in_arena)
        table_touch(flow, context.clock.now_ms)
    if over:
        flow_end(flow, END_RESPONSES)
    else:
        _watch(flow)


cdef int _take_one(UdpFlow* flow) noexcept nogil:
    """One answer, as it usually is. How many came, or -errno."""
    cdef UdpSocket* socket = flow.socket
    cdef UdpSocket* other
    cdef Datagram datagram
    cdef int n
    cdef uint8_t* room = datagram_queue_room(&socket.queue, DATAGRAM_BYTES)
    if room == NULL:
        other = <UdpSocket*>(<L4*>flow.context.l4).first_socket
        while other != NULL:
            socket_flush(other)
            other = other.next
        room = datagram_queue_room(&socket.queue, DATAGRAM_BYTES)
    n = datagram_receive(flow.fd, room, DATAGRAM_BYTES, flow.flags & FLOW_BULK != 0, &datagram)
    if n > 0:
        flow.streak += 1
        if flow.streak >= STREAK:
            flow.portion = PORTION_FIRST
        _answered(flow, &datagram, 1, True)
    return n


cdef int _take_many(UdpFlow* flow) noexcept nogil:
    cdef UdpSocket* socket = flow.socket
    cdef int most = flow.portion
    cdef int n = datagrams_receive(&socket.shared.batch, flow.fd, most, False, flow.flags & FLOW_BULK != 0)
    if n <= 0:
        return n
    if n < most:
        flow.portion = <int16_t>n
        flow.streak = 0
    else:
        flow.portion = <int16_t>(2 * most if 2 * most < DATAGRAM_BATCH else DATAGRAM_BATCH)
        if n >= PORTION_JOINED and not flow.flags & FLOW_BULK and datagram_join(flow.fd):
            flow.flags |= FLOW_BULK
    _answered(flow, socket.shared.batch.taken, n, False)
    return n


cdef void _on_ready(Pollable* pollable, uint32_t events) noexcept nogil:
    cdef UdpFlow* flow = <UdpFlow*>pollable
    cdef int n, error = 0
    if flow.fd < 0:
        return
    n = _take_one(flow) if flow.portion == 1 else _take_many(flow)
    if PXD_LIKELY(n >= 0) or n == -EMSGSIZE:      # a way became narrower: the kernel knows it now
        return
    error = -n
    if flow.portion == 1:
        _take_one(flow)       # an answer that came before the refusal
    else:
        _take_many(flow)
    if flow.fd >= 0:
        _failed(flow, error)
