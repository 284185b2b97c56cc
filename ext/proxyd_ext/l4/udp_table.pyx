"""The flows of a listening socket (see udp_table.pxd): chains that double with the number of flows, and two rows."""
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy
from proxyd_ext.core.hash cimport hash_bytes
from proxyd_ext.io.sys cimport AF_INET, AF_INET6, sockaddr_in, sockaddr_in6
from proxyd_ext.l4.udp_flow cimport FLOW_CONFIRMED, UdpRow

cdef enum:
    CHAINS_FIRST = 256
    CHAINS_MOST = 1 << 20


cdef void table_key(UdpKeys* out, const DatagramPath* path, const Address* source) noexcept nogil:
    cdef const sockaddr_in* v4 = <const sockaddr_in*>&path.peer
    cdef const sockaddr_in6* v6 = &path.peer
    cdef int n
    if v4.sin_family == AF_INET:
        out.word[0] = <uint64_t>AF_INET << 48 | <uint64_t>v4.sin_port << 32 | v4.sin_addr.s_addr
        n = 1
    else:
        # Link-local addresses mean nothing without their interface.
        out.word[0] = <uint64_t>AF_INET6 << 48 | <uint64_t>v6.sin6_port << 32 | v6.sin6_scope_id
        memcpy(&out.word[1], &v6.sin6_addr, 16)
        n = 3
    if path.local_family == AF_INET:
        out.word[n] = 0
        memcpy(&out.word[n], path.local, 4)
        n += 1
    elif path.local_family == AF_INET6:
        memcpy(&out.word[n], path.local, 16)
        n += 2
    if source != NULL:
        out.word[n] = <uint64_t>source.family << 16 | source.port
        memcpy(&out.word[n + 1], source.bytes, 16)
        n += 3
    out.words = n
    out.hash = hash_bytes(<const unsigned char*>out.word, n * sizeof(uint64_t))


cdef bint table_init(UdpSocket* socket) noexcept nogil:
    socket.table = <UdpFlow**>calloc(CHAINS_FIRST, sizeof(UdpFlow*))
    socket.table_size = CHAINS_FIRST
    return socket.table != NULL


cdef void table_destroy(UdpSocket* socket) noexcept nogil:
    free(socket.table)
    socket.table = NULL


cdef UdpFlow* table_find(const UdpSocket* socket, const UdpKeys* key) noexcept nogil:
    cdef UdpFlow* flow = socket.table[key.hash & (socket.table_size - 1)]
    while flow != NULL:
        if (flow.key.hash == key.hash and flow.key.words == key.words
                and memcmp(flow.key.word, key.word, key.words * sizeof(uint64_t)) == 0):
            break
        flow = flow.chain
    return flow


cdef void _grow(UdpSocket* socket) noexcept nogil:
    cdef uint32_t size = 2 * socket.table_size, i
    cdef UdpFlow** grown = <UdpFlow**>calloc(size, sizeof(UdpFlow*))
    cdef UdpFlow* flow
    cdef UdpFlow* following
    if grown == NULL:
        return                # longer chains serve, too
    for i in range(socket.table_size):
        flow = socket.table[i]
        while flow != NULL:
            following = flow.chain
            flow.chain = grown[flow.key.hash & (size - 1)]
            grown[flow.key.hash & (size - 1)] = flow
            flow = following
    free(socket.table)
    socket.table = grown
    socket.table_size = size


cdef inline UdpRow* _row(UdpFlow* flow) noexcept nogil:
    return &flow.socket.rows[1 if flow.flags & FLOW_CONFIRMED else 0]


cdef inline void _append(UdpFlow* flow, int64_t now_ms) noexcept nogil:
    cdef UdpRow* row = _row(flow)
    flow.placed_ms = now_ms
    flow.newer = NULL
    flow.older = row.newest
    if row.newest != NULL:
        row.newest.newer = flow
    else:
        row.oldest = flow
    row.newest = flow


cdef inline void _cut(UdpFlow* flow) noexcept nogil:
    cdef UdpRow* row = _row(flow)
    if flow.older != NULL:
        flow.older.newer = flow.newer
    else:
        row.oldest = flow.newer
    if flow.newer != NULL:
        flow.newer.older = flow.older
    else:
        row.newest = flow.older


cdef void table_add(UdpSocket* socket, UdpFlow* flow, int64_t now_ms) noexcept nogil:
    cdef UdpFlow** at
    if socket.count >= socket.table_size and socket.table_size < CHAINS_MOST:
        _grow(socket)
    at = &socket.table[flow.key.hash & (socket.table_size - 1)]
    flow.chain = at[0]
    at[0] = flow
    flow.socket = socket
    socket.count += 1
    _append(flow, now_ms)


cdef void table_remove(UdpFlow* flow) noexcept nogil:
    cdef UdpFlow** at = &flow.socket.table[flow.key.hash & (flow.socket.table_size - 1)]
    while at[0] != flow:
        at = &at[0].chain
    at[0] = flow.chain
    _cut(flow)
    flow.socket.count -= 1
    flow.socket = NULL


cdef void table_touch(UdpFlow* flow, int64_t now_ms) noexcept nogil:
    if flow.newer == NULL:
        flow.placed_ms = now_ms
    else:
        _cut(flow)
        _append(flow, now_ms)


cdef void table_confirm(UdpFlow* flow, int64_t now_ms) noexcept nogil:
    _cut(flow)
    flow.flags |= FLOW_CONFIRMED
    _append(flow, now_ms)


cdef UdpFlow* table_victim(const UdpSocket* socket) noexcept nogil:
    return socket.rows[0].oldest if socket.rows[0].oldest != NULL else socket.rows[1].oldest
