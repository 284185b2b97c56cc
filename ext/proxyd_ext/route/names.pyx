"""Server names to routes (see names.pxd)."""
from libc.stdint cimport uint8_t
from libc.stdlib cimport calloc, free, malloc, realloc
from proxyd_ext.core.hash cimport mix64
from proxyd_ext.core.slice cimport slice_equals, slice_of


cdef enum:
    WILD = 1                  # what sets "*.example" apart from ".example" in the table

cdef uint64_t _BASIS = 0xcbf29ce484222325ULL


cdef inline uint64_t _step(uint64_t h, uint8_t c) noexcept nogil:
    """FNV-1a, from the last byte to the first, so that one walk over a name gives the hashes of all its suffixes.

    What is hashed comes from clients, but the entries do not, and only those fill buckets.
    """
    return (h ^ c) * 0x100000001b3ULL


cdef uint64_t _hash(Slice text, bint wild) noexcept nogil:
    cdef uint64_t h = _BASIS
    cdef size_t i
    for i in range(text.size):
        h = _step(h, text.data[text.size - 1 - i])
    return mix64(h + WILD * wild)


cdef ServerNames* server_names_new() noexcept nogil:
    return <ServerNames*>calloc(1, sizeof(ServerNames))


cdef void server_names_free(ServerNames* names) noexcept nogil:
    if names == NULL:
        return
    free(names.entries)
    free(names.buckets)
    free(names.any)
    free(names)


cdef bint _grow(ServerNames* names) noexcept nogil:
    cdef int32_t room = 16 if names.room == 0 else 2 * names.room
    cdef NameEntry* entries = <NameEntry*>realloc(names.entries, room * sizeof(NameEntry))
    cdef int32_t* buckets = <int32_t*>malloc(2 * room * sizeof(int32_t))
    cdef int32_t i
    if entries != NULL:
        names.entries = entries
    if entries == NULL or buckets == NULL:
        free(buckets)
        return False
    free(names.buckets)
    names.buckets = buckets
    names.room = room
    names.mask = 2 * room - 1
    for i in range(2 * room):
        buckets[i] = -1
    for i in range(names.count - 1, -1, -1):      # backwards: each goes to the front of its bucket
        names.entries[i].next = buckets[names.entries[i].hash & names.mask]
        buckets[names.entries[i].hash & names.mask] = i
    return True


cdef bint server_names_add(ServerNames* names, Slice pattern, bint any, int32_t route) noexcept nogil:
    cdef NameEntry* entry
    cdef int32_t* at
    cdef int32_t* more
    if any:
        more = <int32_t*>realloc(names.any, (names.any_count + 1) * sizeof(int32_t))
        if more == NULL:
            return False
        names.any = more
        names.any[names.any_count] = route
        names.any_count += 1
        return True
    if names.count == names.room and not _grow(names):
        return False
    entry = &names.entries[names.count]
    entry.wild = pattern.size > 1 and pattern.data[0] == c'*'
    entry.pattern = slice_of(pattern.data + 1, pattern.size - 1) if entry.wild else pattern
    entry.hash = _hash(entry.pattern, entry.wild)
    entry.route = route
    entry.next = -1
    at = &names.buckets[entry.hash & names.mask]
    while at[0] >= 0:
        at = &names.entries[at[0]].next
    at[0] = names.count
    names.count += 1
    return True


cdef void _look(const NameSearch* search, uint64_t h, Slice text, bint wild, int32_t* best) noexcept nogil:
    """The first route behind `after` with just this pattern, whose hash is h, if it comes before `best`."""
    cdef const ServerNames* names = search.names
    cdef int32_t i = names.buckets[h & names.mask]
    while i >= 0:
        if (names.entries[i].hash == h and names.entries[i].wild == wild and names.entries[i].route > search.after
                and slice_equals(names.entries[i].pattern, text)):
            if best[0] < 0 or names.entries[i].route < best[0]:
                best[0] = names.entries[i].route
            return            # those of one bucket stand in the order of the routes
        i = names.entries[i].next


cdef int32_t name_next(NameSearch* search) noexcept nogil:
    cdef const uint8_t* text = search.name.data
    cdef size_t size = search.name.size, at = size
    cdef uint64_t h = _BASIS
    cdef int32_t best = -1, i
    for i in range(search.names.any_count):
        if search.names.any[i] > search.after:
            best = search.names.any[i]
            break
    if search.names.count:
        while at > 0:
            at -= 1
            h = _step(h, text[at])
            if at > 0 and text[at] == c'.':       # "*.example" is no pattern for ".example"
                _look(search, mix64(h + WILD), slice_of(text + at, size - at), True, &best)
        _look(search, mix64(h), search.name, False, &best)
    if best >= 0:
        search.after = best
    return best


# ---- for tests and tools

def routes_of(rows, name: bytes) -> list[int]:
    """The routes that name_next gives for a name, in a table of the rows (pattern, route); the pattern None takes every hello.

    Rows stand in the order of their routes.
    """
    cdef ServerNames* names = server_names_new()
    cdef NameSearch search
    cdef bytes text
    cdef int32_t route
    kept = [(b"" if pattern is None else bytes(pattern), pattern is None, route) for pattern, route in rows]
    found = []
    try:
        if names == NULL:
            raise MemoryError
        for text, every, route in kept:
            if not server_names_add(names, slice_of(<const uint8_t*><const char*>text, len(text)), every, route):
                raise MemoryError
        search = name_search(names, slice_of(<const uint8_t*><const char*>name, len(name)))
        while True:
            route = name_next(&search)
            if route < 0:
                return found
            found.append(route)
    finally:
        server_names_free(names)
