# cython: cdivision=True
"""How the table of table.pxd is built and walked.

Every host pattern owns one tree over paths (tree.pxd).  The patterns lie in one hash table.  The hash runs over the host from its last byte
to its first, so that one pass gives the hash of every suffix at a label boundary (the wildcards) and, at its end, that of the whole name.
The pass stops where no pattern is as long.  A random seed per table keeps its layout from being known outside; what it holds comes
from the config only, so clients cannot fill one place.

Why not one tree over host and path together: a wildcard host would still need a walk of its own at every label.
"""
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcmp, memcpy
from proxyd_ext.core.address cimport Network
from proxyd_ext.core.hash cimport mix64
from proxyd_ext.core.shim cimport INVARIANT
from proxyd_ext.core.slice cimport Slice, ascii_lower, slice_empty, slice_equals_nocase, slice_of
from proxyd_ext.http1.head cimport (
    METHOD_CONNECT, METHOD_COUNT, METHOD_DELETE, METHOD_GET, METHOD_HEAD, METHOD_OPTIONS, METHOD_OTHER, METHOD_PATCH, METHOD_POST,
    METHOD_PUT, METHOD_TRACE)
from proxyd_ext.route.condition cimport (
    ROUTE_MISS_COOKIE, ROUTE_MISS_HEADER, ROUTE_MISS_HOST, ROUTE_MISS_METHOD, ROUTE_MISS_PATH, ROUTE_MISS_QUERY, ROUTE_MISS_SOURCE,
    conditions_missed, host_without_dot,
)
from proxyd_ext.route.tree cimport (
    NO_ROUTE, Arena, Node, arena_free, arena_take, node_add_conditional, node_mark, node_new, node_reach, node_walk,
)


cdef extern from "sys/random.h" nogil:
    ssize_t getrandom(void* buffer, size_t size, unsigned int flags)


cdef enum:
    WILDCARD_SALT = 0x2A      # sets the hash of "*.example.com" apart from that of the name itself


cdef struct Host:
    Slice name                # lower case; of a wildcard the part from its dot on
    uint64_t hash             # of name and wildcard
    Node* root                # NULL: the place is free
    bint wildcard


cdef struct Route:
    Slice host                # lower case, without trailing dot; of a wildcard the part from its dot on; empty: any
    Slice path
    RouteCondition* conditions
    int condition_count
    uint32_t methods          # bit METHOD_*
    uint8_t path_kind         # PATH_*
    bint wildcard


cdef struct RouteTable:
    Arena arena
    Route* routes
    Host* hosts               # open addressing
    Node* any_host            # tree of the routes without host; NULL: none
    uint64_t seed
    uint64_t host_mask        # places in hosts - 1
    size_t longest_name       # bytes of the longest exact host
    size_t longest_suffix     # bytes of the longest wildcard's part from its dot on
    uint32_t route_count
    uint32_t route_room
    bint sealed


cdef int _copy(RouteTable* table, Slice source, bint lower, Slice* out) noexcept nogil:
    """The bytes again, in the arena.  0, or -1 on lack of memory."""
    cdef uint8_t* bytes
    cdef size_t i
    if source.size == 0:
        out[0] = slice_empty()
        return 0
    bytes = <uint8_t*>arena_take(&table.arena, source.size)
    if bytes == NULL:
        return -1
    for i in range(source.size):
        bytes[i] = ascii_lower(source.data[i]) if lower else source.data[i]
    out[0] = slice_of(bytes, source.size)
    return 0


cdef int _copy_conditions(RouteTable* table, const RouteCondition* conditions, int count, Route* route) noexcept nogil:
    """0, or -1 on lack of memory."""
    cdef RouteCondition* own = <RouteCondition*>arena_take(&table.arena, count * sizeof(RouteCondition))
    cdef Network* networks
    cdef int i
    if own == NULL:
        return -1
    memcpy(own, conditions, count * sizeof(RouteCondition))
    for i in range(count):
        networks = <Network*>arena_take(&table.arena, own[i].network_count * sizeof(Network))
        if networks == NULL or _copy(table, own[i].name, False, &own[i].name) < 0 or _copy(table, own[i].value, False, &own[i].value) < 0:
            return -1
        if own[i].network_count:
            memcpy(networks, own[i].networks, own[i].network_count * sizeof(Network))
        own[i].networks = networks
    route.conditions = own
    route.condition_count = count
    return 0


# ---------------------------------------------------------------- hosts

cdef inline uint64_t _hash_step(uint64_t hash, uint8_t c) noexcept nogil:
    return (hash ^ c) * <uint64_t>0x100000001B3    # FNV-1a's step; only its start is secret, which is enough (head of this file)


cdef inline uint64_t _hash_end(uint64_t hash, bint wildcard) noexcept nogil:
    """Spread the high bits, in which the products gather what differs, over the low ones that choose the place."""
    return mix64(hash ^ WILDCARD_SALT if wildcard else hash)


cdef uint64_t _hash_name(const RouteTable* table, Slice name, bint wildcard) noexcept nogil:
    cdef uint64_t hash = table.seed
    cdef size_t i = name.size
    while i > 0:
        i -= 1
        hash = _hash_step(hash, ascii_lower(name.data[i]))
    return _hash_end(hash, wildcard)


cdef Host* _place(const RouteTable* table, uint64_t hash, Slice name, bint wildcard) noexcept nogil:
    """Where this pattern is, or the free place where it belongs.  At most half the places are taken, so there is one."""
    cdef uint64_t at = hash & table.host_mask
    cdef Host* host
    while True:
        host = &table.hosts[at]
        if host.root == NULL:
            return host
        if host.hash == hash and host.wildcard == wildcard and slice_equals_nocase(host.name, name):
            return host
        at = (at + 1) & table.host_mask


# ---------------------------------------------------------------- build

cdef RouteTable* route_table_new() noexcept nogil:
    cdef RouteTable* table = <RouteTable*>calloc(1, sizeof(RouteTable))
    if table == NULL:
        return NULL
    if getrandom(&table.seed, sizeof(table.seed), 0) != sizeof(table.seed):
        table.seed = <uint64_t><size_t>table * <uint64_t>0x9E3779B97F4A7C15
    return table


cdef int route_table_add(RouteTable* table, Slice host, int path_kind, Slice path, uint32_t methods, const RouteCondition* conditions,
                         int count) noexcept nogil:
    cdef Route* grown
    cdef Route* route
    cdef uint32_t room
    INVARIANT(not table.sealed and PATH_ANY <= path_kind <= PATH_PREFIX)
    INVARIANT(table.route_count < <uint32_t>NO_ROUTE and path.size < NO_ROUTE)
    if table.route_count == table.route_room:
        room = table.route_room * 2 if table.route_room else 16
        grown = <Route*>realloc(table.routes, room * sizeof(Route))
        if grown == NULL:
            return -1
        table.routes = grown
        table.route_room = room
    route = &table.routes[table.route_count]
    route.wildcard = host.size > 2 and host.data[0] == c'*' and host.data[1] == c'.'
    if route.wildcard:
        host = slice_of(host.data + 1, host.size - 1)
    if path_kind == PATH_ANY:
        path = slice_empty()
    if _copy(table, host_without_dot(host), True, &route.host) < 0 or _copy(table, path, False, &route.path) < 0:
        return -1
    route.conditions = NULL
    route.condition_count = 0
    if count and _copy_conditions(table, conditions, count, route) < 0:
        return -1
    route.path_kind = <uint8_t>path_kind
    # RFC 9110 §9.3.2: HEAD is GET without the content, so who routes GET has routed it.
    route.methods = methods | (1 << METHOD_HEAD) if methods >> METHOD_GET & 1 else methods
    table.route_count += 1
    return 0


cdef int _note(RouteTable* table, Node* node, const Route* route, int32_t number) noexcept nogil:
    """Enter the route at the node where its path ends.  0, or -1 on lack of memory."""
    cdef bint exact = route.path_kind == PATH_EXACT
    if route.condition_count:
        return node_add_conditional(&table.arena, node, route.conditions, route.condition_count, route.methods, number, exact)
    return node_mark(&table.arena, &node.exact if exact else &node.prefix, route.methods, number)


cdef Node** _tree_of(RouteTable* table, const Route* route) noexcept nogil:
    """Where the root of the tree for this route's host is kept; its place in the hash table is taken if it is new."""
    cdef uint64_t hash
    cdef Host* host
    if route.host.size == 0:
        return &table.any_host
    hash = _hash_name(table, route.host, route.wildcard)
    host = _place(table, hash, route.host, route.wildcard)
    if host.root == NULL:
        host.name = route.host
        host.hash = hash
        host.wildcard = route.wildcard
        if route.wildcard:
            table.longest_suffix = max(table.longest_suffix, route.host.size)
        else:
            table.longest_name = max(table.longest_name, route.host.size)
    return &host.root


cdef int route_table_seal(RouteTable* table) noexcept nogil:
    cdef uint64_t places = 2
    cdef uint32_t number
    cdef const Route* route
    cdef Node** root
    cdef Node* node
    INVARIANT(not table.sealed)
    while places < 2 * <uint64_t>table.route_count:
        places *= 2
    table.hosts = <Host*>arena_take(&table.arena, places * sizeof(Host))
    if table.hosts == NULL:
        return -1
    table.host_mask = places - 1
    for number in range(table.route_count):
        route = &table.routes[number]
        root = _tree_of(table, route)
        if root[0] == NULL:
            root[0] = node_new(&table.arena, NULL, 0, <int32_t>number)
            if root[0] == NULL:
                return -1
        node = node_reach(&table.arena, root[0], route.path, <int32_t>number)
        if node == NULL or _note(table, node, route, <int32_t>number) < 0:
            return -1
    table.sealed = True
    return 0


cdef void route_table_free(RouteTable* table) noexcept nogil:
    if table != NULL:
        arena_free(&table.arena)
        free(table.routes)
        free(table)


# ---------------------------------------------------------------- look-up

cdef inline uint8_t _method_of(const RouteInput* asked) noexcept nogil:
    return asked.method if asked.method < METHOD_COUNT else METHOD_OTHER


cdef int32_t route_match(const RouteTable* table, const RouteInput* asked) noexcept nogil:
    cdef int32_t best = NO_ROUTE
    cdef Slice host = host_without_dot(asked.host)
    cdef uint8_t method = _method_of(asked)
    cdef uint64_t hash = table.seed
    cdef size_t i, longest = max(table.longest_name, table.longest_suffix)
    cdef Host* found
    cdef uint8_t c
    INVARIANT(table.sealed)
    i = host.size
    while i > 0 and host.size - i < longest:
        i -= 1
        c = ascii_lower(host.data[i])
        hash = _hash_step(hash, c)
        if c == c'.' and i > 0 and host.size - i <= table.longest_suffix:
            found = _place(table, _hash_end(hash, True), slice_of(host.data + i, host.size - i), True)
            if found.root != NULL:
                best = node_walk(found.root, asked, method, best)
    if i == 0 and 0 < host.size <= table.longest_name:
        found = _place(table, _hash_end(hash, False), host, False)
        if found.root != NULL:
            best = node_walk(found.root, asked, method, best)
    if table.any_host != NULL:
        best = node_walk(table.any_host, asked, method, best)
    return -1 if best == NO_ROUTE else best


cdef bint _host_matches(const Route* route, Slice host) noexcept nogil:
    host = host_without_dot(host)
    if route.host.size == 0:
        return True
    if not route.wildcard:
        return slice_equals_nocase(route.host, host)
    if host.size <= route.host.size:
        return False
    return slice_equals_nocase(route.host, slice_of(host.data + host.size - route.host.size, route.host.size))


cdef bint _path_matches(const Route* route, Slice path) noexcept nogil:
    if path.size < route.path.size or (route.path_kind == PATH_EXACT and path.size != route.path.size):
        return False
    return route.path.size == 0 or memcmp(route.path.data, path.data, route.path.size) == 0


cdef int route_why(const RouteTable* table, int32_t number, const RouteInput* asked) noexcept nogil:
    cdef const Route* route
    cdef int missed
    INVARIANT(0 <= number and <uint32_t>number < table.route_count)
    route = &table.routes[number]
    missed = conditions_missed(route.conditions, route.condition_count, asked)
    if not route.methods >> _method_of(asked) & 1:
        missed |= ROUTE_MISS_METHOD
    if not _host_matches(route, asked.host):
        missed |= ROUTE_MISS_HOST
    if not _path_matches(route, asked.path):
        missed |= ROUTE_MISS_PATH
    return missed


# ---------------------------------------------------------------- for tests and tools

METHODS = {
    "GET": METHOD_GET, "HEAD": METHOD_HEAD, "POST": METHOD_POST, "PUT": METHOD_PUT, "DELETE": METHOD_DELETE, "OPTIONS": METHOD_OPTIONS,
    "PATCH": METHOD_PATCH, "TRACE": METHOD_TRACE, "CONNECT": METHOD_CONNECT,
}
_MISSES = (
    (ROUTE_MISS_METHOD, "method"), (ROUTE_MISS_HOST, "host"), (ROUTE_MISS_PATH, "path"), (ROUTE_MISS_HEADER, "header"),
    (ROUTE_MISS_QUERY, "query"), (ROUTE_MISS_COOKIE, "cookie"), (ROUTE_MISS_SOURCE, "source"),
)
_PATH_KINDS = {"any": PATH_ANY, "exact": PATH_EXACT, "prefix": PATH_PREFIX}


cdef list miss_words(int missed):
    return [word for bit, word in _MISSES if missed & bit]


cdef Slice _slice(bytes text):
    return slice_of(<const uint8_t*><const char*>text, len(text))


cdef RouteInput _asked(bytes host, bytes path, str method):
    cdef RouteInput asked
    asked.head = NULL
    asked.client = NULL
    asked.host = _slice(host)
    asked.path = _slice(path)
    asked.query = slice_empty()
    asked.method = METHODS.get(method, METHOD_OTHER)
    return asked


cdef class RouteTree:
    """The native table on plain values, for tests and tools; engines use it through a snapshot.  Conditions come with a snapshot only.

    routes: rows of (host, path kind, path, methods), as `route_table_add` takes them; no methods means any.
    """
    cdef RouteTable* _table

    def __cinit__(self, routes):
        cdef uint32_t mask
        self._table = route_table_new()
        if self._table == NULL:
            raise MemoryError
        for host, kind, path, methods in routes:
            mask = 0xFFFFFFFF
            if methods:
                mask = 0
                for name in methods:
                    mask |= <uint32_t>1 << <int>METHODS[name]
            if route_table_add(self._table, _slice(host), _PATH_KINDS[kind], _slice(path), mask, NULL, 0) < 0:
                raise MemoryError
        if route_table_seal(self._table) < 0:
            raise MemoryError

    def __dealloc__(self):
        route_table_free(self._table)

    def __len__(self):
        return self._table.route_count

    def match(self, bytes host not None, bytes path not None, str method not None):
        """The number of the first route that matches, or -1.  A method that is not in METHODS counts as "any other"."""
        cdef RouteInput asked = _asked(host, path, method)
        return route_match(self._table, &asked)

    def why(self, uint32_t number, bytes host not None, bytes path not None, str method not None):
        """What of route `number` does not match: a tuple of "method", "host", "path"; empty if it does.  IndexError: no such route."""
        cdef RouteInput asked = _asked(host, path, method)
        if number >= self._table.route_count:
            raise IndexError(f"no route {number}")
        return tuple(miss_words(route_why(self._table, <int32_t>number, &asked)))
