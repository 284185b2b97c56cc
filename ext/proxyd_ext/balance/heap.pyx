# cython: cdivision=True
"""A 4-ary heap of servers by load (see heap.pxd).

Load by weight is a double: fractions of numbers below 2^26 that are equal give the same double, and such that differ give different ones,
so the order is that of the cross-multiplied integers.
"""
from libc.stdlib cimport free, realloc
from proxyd_ext.balance.server cimport DOWN_OPERATOR, server_usable
from proxyd_ext.core.shim cimport double_bits, less_pair, load_i64, load_int

cdef enum:
    WAYS = 4
    TURN_BITS = 40            # of the virtual time between two turns of a server of weight 1
    TURNS_MAX_BITS = 60
    FRONTIER = 128            # places that a search keeps open: about forty servers that do not fit; then all are looked at


cdef inline uint64_t _turn(const ServerData* server) noexcept nogil:
    """Virtual time between two turns of the server."""
    return (<uint64_t>1 << TURN_BITS) // <uint64_t>server.heap_weight


cdef void _begin_anew(Heap* heap) noexcept nogil:
    """Virtual time has come far: what counts are differences, so all of it goes back by as much, once in millions of turns."""
    cdef uint64_t behind = heap.turn
    cdef int32_t i
    for i in range(heap.size):
        heap.at[i].turn = heap.at[i].turn - behind if heap.at[i].turn > behind else 0
    heap.turn = 0


cdef bint heap_reserve(Heap* heap, int32_t count) noexcept nogil:
    cdef HeapPlace* grown
    if count <= heap.room:
        return True
    grown = <HeapPlace*>realloc(heap.at, count * sizeof(HeapPlace))
    if grown == NULL:
        return False
    heap.at = grown
    heap.room = count
    return True


cdef void heap_destroy(Heap* heap) noexcept nogil:
    free(heap.at)
    heap.at = NULL
    heap.size = heap.room = 0


cdef inline bint _before(const HeapPlace* a, const HeapPlace* b) noexcept nogil:
    return less_pair(a.key, a.turn, b.key, b.turn)


cdef inline void _put(Heap* heap, int32_t at, HeapPlace place) noexcept nogil:
    heap.at[at] = place
    place.server.heap_at = at


cdef void _rise(Heap* heap, int32_t at) noexcept nogil:
    cdef HeapPlace place = heap.at[at]
    cdef int32_t parent
    while at > 0:
        parent = (at - 1) // WAYS
        if not _before(&place, &heap.at[parent]):
            break
        _put(heap, at, heap.at[parent])
        at = parent
    _put(heap, at, place)


cdef void _sink(Heap* heap, int32_t at) noexcept nogil:
    """To the bottom along the best children, and up again from there: what sinks is a server that was just given an exchange, and mostly
    belongs near the bottom, so that comparing it on every level would be in vain (Wegener 1993)."""
    cdef HeapPlace place = heap.at[at]
    cdef int32_t child, best, top = at, parent, k
    while True:
        child = at * WAYS + 1
        if child + WAYS > heap.size:
            break
        best = child + <int32_t>_before(&heap.at[child + 1], &heap.at[child])
        k = child + 2 + <int32_t>_before(&heap.at[child + 3], &heap.at[child + 2])
        if _before(&heap.at[k], &heap.at[best]):
            best = k
        _put(heap, at, heap.at[best])
        at = best
    if child < heap.size:
        best = child
        for k in range(child + 1, heap.size):
            if _before(&heap.at[k], &heap.at[best]):
                best = k
        _put(heap, at, heap.at[best])
        at = best
    while at > top:
        parent = (at - 1) // WAYS
        if not _before(&place, &heap.at[parent]):
            break
        _put(heap, at, heap.at[parent])
        at = parent
    _put(heap, at, place)


cdef inline uint64_t _key(const Heap* heap, const ServerData* server) noexcept nogil:
    cdef int64_t load = load_i64(&server.in_flight)
    if server.heap_most > 0 and load >= server.heap_most:
        return KEY_FULL
    return double_bits(<double>server.heap_order if heap.by_order else <double>load / <double>server.heap_weight)


cdef void heap_clear(Heap* heap) noexcept nogil:
    cdef int32_t i
    for i in range(heap.size):
        heap.at[i].server.heap_at = -1
        heap.at[i].server.heap_turn = heap.at[i].turn
    heap.size = 0


cdef void heap_add(Heap* heap, ServerData* server, int32_t order, int64_t weight, int64_t most) noexcept nogil:
    cdef HeapPlace* place = &heap.at[heap.size]
    server.heap_order = order
    server.heap_weight = weight
    server.heap_most = most
    server.heap_at = heap.size
    place.server = server
    place.key = _key(heap, server)
    place.turn = server.heap_turn
    if place.turn <= heap.turn or place.turn - heap.turn > <uint64_t>1 << TURN_BITS + 1:
        # New, or long away; half a turn in, so that turns mix evenly, and in the order of the config among equals.
        place.turn = heap.turn + _turn(server) // 2 + <uint64_t>order
    heap.size += 1


cdef void heap_settle(Heap* heap) noexcept nogil:
    cdef int32_t at = (heap.size - 2) // WAYS
    while at >= 0:
        _sink(heap, at)
        at -= 1


cdef void heap_count(Heap* heap, ServerData* server, int change) noexcept nogil:
    cdef HeapPlace* place
    cdef uint64_t key
    if server.heap_at < 0:
        return
    place = &heap.at[server.heap_at]
    key = _key(heap, server)
    if heap.by_order and key == place.key:
        return
    place.key = key
    if change > 0:
        if place.turn > heap.turn:
            heap.turn = place.turn
        place.turn += _turn(server)
        if heap.turn > <uint64_t>1 << TURNS_MAX_BITS:
            _begin_anew(heap)
        _sink(heap, server.heap_at)
    else:
        _rise(heap, server.heap_at)


cdef inline bint _fits(const HeapPlace* place, const Tried* tried, bint ignore_health, int64_t now_ms, bint* full) noexcept nogil:
    if ignore_health:
        if load_int(&place.server.down) & DOWN_OPERATOR:
            return False
    elif not server_usable(place.server, now_ms):
        return False
    if was_tried(tried, place.server):
        return False
    if place.key == <uint64_t>KEY_FULL:
        full[0] = True
        return False
    return True


cdef ServerData* heap_best(const Heap* heap, const Tried* tried, bint ignore_health, int64_t now_ms, bint* full) noexcept nogil:
    """Best first: the places whose parents did not fit, the best of them next. With a server that fits at the root it looks at one."""
    cdef int32_t[FRONTIER] open_places
    cdef int32_t count = 1, best, k, at
    cdef HeapPlace* found = NULL
    if heap.size == 0:
        return NULL
    open_places[0] = 0
    while count > 0:
        best = 0
        for k in range(1, count):
            if _before(&heap.at[open_places[k]], &heap.at[open_places[best]]):
                best = k
        at = open_places[best]
        if _fits(&heap.at[at], tried, ignore_health, now_ms, full):
            return heap.at[at].server
        if heap.at[at].key == <uint64_t>KEY_FULL:
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
        if _fits(&heap.at[k], tried, ignore_health, now_ms, full) and (found == NULL or _before(&heap.at[k], found)):
            found = &heap.at[k]
    return found.server if found != NULL else NULL
