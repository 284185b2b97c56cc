# cython: cdivision=True
"""A 4-ary heap of servers by load (see heap.pxd)."""
from libc.stdlib cimport free, realloc
from proxyd_ext.balance.server cimport DOWN_OPERATOR, server_usable
from proxyd_ext.core.shim cimport load_i64, load_int

cdef enum:
    WAYS = 4
    FRONTIER = 128            # places that a search keeps open: about forty servers that do not fit; then all are looked at
    TURN = 1 << 24            # virtual time that a server of weight 1 waits for its turn


cdef bint heap_reserve(Heap* heap, int32_t count) noexcept nogil:
    cdef ServerData** grown
    if count <= heap.room:
        return True
    grown = <ServerData**>realloc(heap.at, count * sizeof(ServerData*))
    if grown == NULL:
        return False
    heap.at = grown
    heap.room = count
    return True


cdef void heap_destroy(Heap* heap) noexcept nogil:
    free(heap.at)
    heap.at = NULL
    heap.size = heap.room = 0


cdef inline bint _full(const ServerData* server) noexcept nogil:
    return server.heap_most > 0 and server.heap_load >= server.heap_most


cdef inline bint _before(const Heap* heap, const ServerData* a, const ServerData* b) noexcept nogil:
    cdef int64_t load_a, load_b
    if _full(a) != _full(b):
        return _full(b)
    if not heap.by_order:
        load_a = a.heap_load * b.heap_weight
        load_b = b.heap_load * a.heap_weight
        if load_a != load_b:
            return load_a < load_b
        if a.heap_turn != b.heap_turn:
            return a.heap_turn < b.heap_turn
    return a.heap_order < b.heap_order


cdef inline void _put(Heap* heap, int32_t at, ServerData* server) noexcept nogil:
    heap.at[at] = server
    server.heap_at = at


cdef void _rise(Heap* heap, int32_t at) noexcept nogil:
    cdef ServerData* server = heap.at[at]
    cdef int32_t parent
    while at > 0:
        parent = (at - 1) // WAYS
        if not _before(heap, server, heap.at[parent]):
            break
        _put(heap, at, heap.at[parent])
        at = parent
    _put(heap, at, server)


cdef void _sink(Heap* heap, int32_t at) noexcept nogil:
    cdef ServerData* server = heap.at[at]
    cdef int32_t child, best, k
    while True:
        child = at * WAYS + 1
        if child >= heap.size:
            break
        best = child
        for k in range(child + 1, min(child + WAYS, heap.size)):
            if _before(heap, heap.at[k], heap.at[best]):
                best = k
        if not _before(heap, heap.at[best], server):
            break
        _put(heap, at, heap.at[best])
        at = best
    _put(heap, at, server)


cdef void heap_clear(Heap* heap) noexcept nogil:
    cdef int32_t i
    for i in range(heap.size):
        heap.at[i].heap_at = -1
    heap.size = 0


cdef void heap_add(Heap* heap, ServerData* server, int32_t order, int64_t weight, int64_t most) noexcept nogil:
    server.heap_order = order
    server.heap_weight = weight
    server.heap_most = most
    server.heap_load = load_i64(&server.in_flight)
    if server.heap_turn <= heap.turn:
        server.heap_turn = heap.turn + TURN // weight // 2    # new, or long away; half a turn in, so that turns mix evenly
    _put(heap, heap.size, server)
    heap.size += 1


cdef void heap_settle(Heap* heap) noexcept nogil:
    cdef int32_t at = (heap.size - 2) // WAYS
    while at >= 0:
        _sink(heap, at)
        at -= 1


cdef void heap_count(Heap* heap, ServerData* server, int change) noexcept nogil:
    cdef int32_t at = server.heap_at
    if at < 0:
        return
    server.heap_load = load_i64(&server.in_flight)
    if change > 0:
        if server.heap_turn > heap.turn:
            heap.turn = server.heap_turn
        server.heap_turn += TURN // server.heap_weight
        _sink(heap, at)
    else:
        _rise(heap, at)


cdef inline bint _fits(const ServerData* server, const Tried* tried, bint ignore_health, int64_t now_ms, bint* full) noexcept nogil:
    if ignore_health:
        if load_int(&server.down) & DOWN_OPERATOR:
            return False
    elif not server_usable(server, now_ms):
        return False
    if was_tried(tried, server):
        return False
    if _full(server):
        full[0] = True
        return False
    return True


cdef ServerData* heap_best(const Heap* heap, const Tried* tried, bint ignore_health, int64_t now_ms, bint* full) noexcept nogil:
    """Best first: the places whose parents did not fit, the best of them next. With a server that fits at the root it looks at one."""
    cdef int32_t[FRONTIER] open_places
    cdef int32_t count = 1, best, k, at
    cdef ServerData* found = NULL
    if heap.size == 0:
        return NULL
    open_places[0] = 0
    while count > 0:
        best = 0
        for k in range(1, count):
            if _before(heap, heap.at[open_places[k]], heap.at[open_places[best]]):
                best = k
        at = open_places[best]
        if _fits(heap.at[at], tried, ignore_health, now_ms, full):
            return heap.at[at]
        if _full(heap.at[at]):
            if full[0]:
                return NULL   # full ones come last: all that stand behind it are full, too
            break             # this one is out as well: whether there is room to wait for, only the others can tell
        count -= 1
        open_places[best] = open_places[count]
        if count + WAYS > FRONTIER:
            break
        for k in range(at * WAYS + 1, min(at * WAYS + 1 + WAYS, heap.size)):
            open_places[count] = k
            count += 1
    if count == 0:
        return NULL
    for k in range(heap.size):
        if _fits(heap.at[k], tried, ignore_health, now_ms, full) and (found == NULL or _before(heap, heap.at[k], found)):
            found = heap.at[k]
    return found
