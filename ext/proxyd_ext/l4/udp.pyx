# cython: cdivision=True
"""Listening sockets of UDP (see udp.pxd).

Datagrams are taken in batches, as many as came lately, at most 64 a socket and turn; what is left announces itself again. Those of one
client that follow one another go to its server in one call.

A socket that is left stays open for the flows that answer through it, and as long as any engine has such flows (of one that was handed
over to another process nothing is read any more: what a client of such a flow says begins a new one there): each socket of a group
(SO_REUSEPORT) that closes would make the kernel sort the clients anew, away from their flows. What the kernel still sorts to it from
clients without a flow there is handed to a socket of this engine on the same address, if there is one, and dropped otherwise
(REJECT_DRAINING).
"""
from libc.limits cimport INT_MAX
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp
from posix.resource cimport RLIMIT_NOFILE, getrlimit, rlimit
from proxyd_ext.core.address cimport Address, address_equals, network_contains
from proxyd_ext.core.ending cimport END_SHUTDOWN
from proxyd_ext.core.shim cimport PXD_UNLIKELY
from proxyd_ext.core.stats cimport count_add
from proxyd_ext.io.datagram cimport (
    DATAGRAM_BATCH, Datagram, DatagramBatch, DatagramPath, datagram_batch_destroy, datagram_batch_init, datagram_count,
    datagram_is_joined, datagram_join, datagram_queue_init, datagram_tell_local, datagrams_receive,
)
from proxyd_ext.io.listener cimport REJECT_DRAINING, REJECT_PROXY, REJECT_TRUNCATED, listener_hold
from proxyd_ext.io.peer cimport local_address, peer_address
from proxyd_ext.io.poller cimport Flusher, Pollable, poller_add, poller_remove
from proxyd_ext.io.sys cimport (
    AF_INET, ENOMEM, EPOLLIN, SOL_SOCKET, getsockname, getsockopt, setsockopt, sockaddr, sockaddr_storage, socklen_t,
)
from proxyd_ext.l4.model cimport L4
from proxyd_ext.l4.udp_flow cimport (
    UdpEngine, UdpFlow, UdpKeys, UdpSocket, flow_ask, flow_end, flow_new, flow_review, socket_close, socket_flush, socket_rest,
)
from proxyd_ext.l4.udp_table cimport table_find, table_init, table_key
from proxyd_ext.preface.proxy cimport PROXY_DGRAM, ProxyHeader, proxy_parse
from proxyd_ext.snapshot.compile cimport CompiledListener

cdef extern from "<sys/socket.h>" nogil:
    enum:
        SO_RCVBUF

cdef enum:
    RECEIVE_BYTES = 4 << 20   # that the kernel may keep for us, if it lets us: its default holds 277 small datagrams
    BULK_BYTES = 512          # mean size of a full batch from which on datagrams are worth joining
    LEFT_PART = 8             # a part of all descriptors is left to others, who cannot take any from flows of unknown senders ...
    LEFT_MOST = 1024          # ... at most so many
    LAST_BATCHES = 64         # taken from a socket that is left


# ---- finding the flow ----

cdef UdpSocket* _beside(const UdpSocket* socket, bint leaving) noexcept nogil:
    """Another socket of this engine on the same address."""
    cdef UdpSocket* other = <UdpSocket*>(<L4*>socket.context.l4).first_socket
    while other != NULL:
        if (other != socket and other.leaving == leaving and other.bound.port == socket.bound.port
                and address_equals(&other.bound, &socket.bound)):
            return other
        other = other.next
    return NULL


cdef UdpFlow* _find(UdpSocket* socket, const DatagramPath* path, const ProxyHeader* header, uint32_t packets) noexcept nogil:
    """The client's flow, or a new one; NULL: refused, and counted."""
    cdef UdpKeys key
    cdef UdpSocket* other
    cdef UdpFlow* flow
    table_key(&key, path, &header.source if header != NULL and not header.local else NULL)
    flow = table_find(socket, &key)
    if flow != NULL:
        return flow
    if PXD_UNLIKELY(socket.leaving or socket.shared.sockets > 1):
        other = _beside(socket, not socket.leaving)
        if other != NULL:
            flow = table_find(other, &key)
            if flow != NULL:
                return flow
        if socket.leaving:
            if other == NULL:
                count_add(&socket.local.rejected, REJECT_DRAINING, packets)
                return NULL
            socket = other
    return flow_new(socket, &key, path, header)


cdef CompiledListener* _settings(const UdpSocket* socket) noexcept nogil:
    """What holds for what comes now; NULL: nothing can come of it. Flows keep the settings of a listener that left."""
    if PXD_UNLIKELY(socket.leaving and socket.count == 0):
        socket = _beside(socket, False)
        if socket == NULL:
            return NULL
    return <CompiledListener*>socket.local.settings


cdef bint _trusted(const CompiledListener* settings, const DatagramPath* path) noexcept nogil:
    cdef Address peer
    cdef int i
    peer_address(<const sockaddr_storage*>&path.peer, &peer)
    for i in range(settings.proxy_count):
        if network_contains(&settings.proxies[i], &peer):
            return True
    return False


cdef void _take_introduced(UdpSocket* socket, const Datagram* datagram, const DatagramPath* path, bint trusted) noexcept nogil:
    """A datagram, or several that came joined, each behind a PROXY header of its own. `trusted`: the peer may send one."""
    cdef ProxyHeader header
    cdef Datagram piece = datagram[0]
    cdef UdpFlow* flow
    cdef uint32_t offset = 0
    cdef int size
    piece.segment = 0
    while True:
        piece.data = datagram.data + offset
        piece.size = datagram.size - offset
        if datagram.segment > 0 and piece.size > datagram.segment:
            piece.size = datagram.segment
        offset += piece.size
        size = proxy_parse(piece.data, piece.size, PROXY_DGRAM, &header) if trusted else 0
        if size <= 0:
            count_add(&socket.local.rejected, REJECT_PROXY, 1)
        else:
            piece.data += size
            piece.size -= <uint32_t>size
            flow = _find(socket, path, &header, 1)
            if flow != NULL:
                flow_ask(flow, &piece, 1)
        if offset >= datagram.size:
            break


cdef inline bint _same(const DatagramPath* a, const DatagramPath* b) noexcept nogil:
    return (a.peer_size == b.peer_size and memcmp(&a.peer, &b.peer, a.peer_size) == 0 and a.local_family == b.local_family
            and (a.local_family == 0 or memcmp(a.local, b.local, 4 if a.local_family == AF_INET else 16) == 0))


cdef void _take(UdpSocket* socket, int count) noexcept nogil:
    cdef DatagramBatch* batch = &socket.shared.batch
    cdef CompiledListener* settings
    cdef UdpFlow* flow
    cdef uint32_t packets
    cdef int i = 0, end
    while i < count and socket.fd >= 0:
        end = i + 1
        settings = _settings(socket)
        if PXD_UNLIKELY(settings == NULL):
            count_add(&socket.local.rejected, REJECT_DRAINING, datagram_count(&batch.taken[i]))
        elif PXD_UNLIKELY(batch.taken[i].cut):
            count_add(&socket.local.rejected, REJECT_TRUNCATED, 1)
        elif settings.proxied:
            _take_introduced(socket, &batch.taken[i], &batch.paths[i], _trusted(settings, &batch.paths[i]))
        else:
            packets = datagram_count(&batch.taken[i])
            while end < count and _same(&batch.paths[i], &batch.paths[end]) and not batch.taken[end].cut:
                packets += datagram_count(&batch.taken[end])
                end += 1
            flow = _find(socket, &batch.paths[i], NULL, packets)
            if flow != NULL:
                flow_ask(flow, &batch.taken[i], end - i)
        i = end


cdef int _receive(UdpSocket* socket) noexcept nogil:
    cdef DatagramBatch* batch = &socket.shared.batch
    cdef int most = socket.portion
    cdef int n = datagrams_receive(batch, socket.fd, most, True, socket.wildcard or socket.joined)
    cdef int i
    cdef uint32_t size = 0
    if n <= 0:
        socket.portion = 1
        return 0
    socket.portion = n if n < most else 2 * most if 2 * most < DATAGRAM_BATCH else DATAGRAM_BATCH
    if n == DATAGRAM_BATCH and not socket.joined:
        for i in range(n):
            size += batch.taken[i].size
        if size >= BULK_BYTES * DATAGRAM_BATCH:
            socket.joined = datagram_join(socket.fd)
    _take(socket, n)
    return n


cdef void _on_ready(Pollable* pollable, uint32_t events) noexcept nogil:
    cdef UdpSocket* socket = <UdpSocket*>pollable
    if socket.fd >= 0:
        _receive(socket)


# ---- birth and death ----

cdef void _on_flush(Flusher* flusher) noexcept nogil:
    socket_flush(<UdpSocket*>(<char*>flusher - <size_t>&(<UdpSocket*>NULL).queue.flusher))


cdef int _last_descriptor() noexcept nogil:
    cdef rlimit bound
    cdef uint64_t left
    if getrlimit(RLIMIT_NOFILE, &bound) != 0 or bound.rlim_cur > INT_MAX:
        return INT_MAX
    left = bound.rlim_cur // LEFT_PART
    return <int>(bound.rlim_cur - (left if left < LEFT_MOST else LEFT_MOST))


cdef UdpEngine* _share(const L4* l4) noexcept nogil:
    """What the sockets of the engine have in common."""
    cdef UdpEngine* shared
    if l4.first_socket != NULL:
        return (<UdpSocket*>l4.first_socket).shared
    shared = <UdpEngine*>calloc(1, sizeof(UdpEngine))
    if shared != NULL and datagram_batch_init(&shared.batch) < 0:
        free(shared)
        return NULL
    if shared != NULL:
        shared.last_fd = _last_descriptor()
    return shared


cdef void _deepen(int fd) noexcept nogil:
    """A burst of many clients must find room: no other queue stands before this one."""
    cdef int bytes = 0
    cdef socklen_t size = sizeof(bytes)
    if getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, &size) == 0 and bytes < RECEIVE_BYTES:
        bytes = RECEIVE_BYTES
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes))


cdef UdpSocket* _serving(Context* context, int fd) noexcept nogil:
    """The socket that takes clients here by this descriptor."""
    cdef UdpSocket* socket = <UdpSocket*>(<L4*>context.l4).first_socket
    while socket != NULL and (socket.fd != fd or socket.leaving):
        socket = socket.next
    return socket


cdef int udp_listen(Context* context, ListenerLocal* local, int fd) noexcept nogil:
    cdef L4* l4 = <L4*>context.l4
    cdef UdpSocket* socket
    cdef sockaddr_storage address
    cdef socklen_t size = sizeof(address)
    cdef int result = -ENOMEM
    cdef int i
    cdef bint anywhere = True
    if _serving(context, fd) != NULL:
        return 0
    socket = <UdpSocket*>calloc(1, sizeof(UdpSocket))
    if socket == NULL:
        return -ENOMEM
    socket.shared = _share(l4)
    if socket.shared != NULL and table_init(socket):
        socket.pollable.on_ready = _on_ready
        result = poller_add(&context.poller, fd, EPOLLIN, &socket.pollable)
    if result < 0:
        if socket.shared != NULL and socket.shared.sockets == 0:
            datagram_batch_destroy(&socket.shared.batch)
            free(socket.shared)
        free(socket.table)
        free(socket)
        return result
    socket.shared.sockets += 1
    socket.context = context
    socket.listener = local.listener
    socket.local = local
    listener_hold(local.listener)
    socket.fd = fd
    socket.portion = 1
    socket.joined = datagram_is_joined(fd)
    local_address(fd, &socket.bound)
    for i in range(16):
        anywhere = anywhere and socket.bound.bytes[i] == 0
    if anywhere and getsockname(fd, <sockaddr*>&address, &size) == 0:
        socket.wildcard = datagram_tell_local(fd, address.ss_family)
    _deepen(fd)
    datagram_queue_init(&socket.queue, &socket.shared.batch)
    socket.queue.flusher.flush = _on_flush
    socket.next = <UdpSocket*>l4.first_socket
    l4.first_socket = socket
    return 0


cdef bint udp_leave(Context* context, int fd, bint handed_over) noexcept nogil:
    cdef UdpSocket* socket = _serving(context, fd)
    cdef int _batch
    if socket == NULL:
        return False
    if handed_over:
        # Behind the back of the other process, we would go on to take datagrams of its clients.
        poller_remove(&context.poller, fd)
    else:
        socket.portion = DATAGRAM_BATCH
        for _batch in range(LAST_BATCHES):
            if _receive(socket) < DATAGRAM_BATCH:
                break
    socket.leaving = True
    socket_rest(socket)
    return True


cdef void udp_sweep(Context* context) noexcept nogil:
    cdef UdpSocket* socket = <UdpSocket*>(<L4*>context.l4).first_socket
    cdef UdpSocket* following
    while socket != NULL:
        following = socket.next
        socket_rest(socket)
        socket = following


cdef void udp_review(Context* context) noexcept nogil:
    cdef UdpFlow* flow = <UdpFlow*>(<L4*>context.l4).first_datagram
    cdef UdpFlow* following
    while flow != NULL:
        following = flow.next
        flow_review(flow)
        flow = following


cdef void udp_abort(Context* context) noexcept nogil:
    cdef L4* l4 = <L4*>context.l4
    cdef UdpSocket* socket
    while l4.first_datagram != NULL:
        flow_end(<UdpFlow*>l4.first_datagram, END_SHUTDOWN)
    while l4.first_socket != NULL:
        socket = <UdpSocket*>l4.first_socket
        socket_close(socket, socket.leaving)
