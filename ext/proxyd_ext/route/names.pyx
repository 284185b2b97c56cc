"""Server names to routes (see names.pxd)."""
from libc.stdint cimport uint8_t
from libc.stdlib cimport calloc, free, malloc, realloc
from proxyd_ext.core.hash cimport mix64
from proxyd_ext.core.slice cimport slice_equals, slice_of


cdef uint64_t _hash(Slice text, bint wild) noexcept nogil:
    """FNV-1a: what is hashed comes from clients, but the entries do not, and only those fill buckets."""
    cdef uint64_t h = 0xcbf29ce484222325ULL + wild
    cdef size_t i
    for i in range(text.size):
        h = (h ^ text.data[i]) * 0x100000001b3ULL
    return mix64(h)


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


cdef void _look(const NameSearch* search, Slice text, bint wild, int32_t* best) noexcept nogil:
    """The first route behind `after` with just this pattern, if it comes before `best`."""
    cdef const ServerNames* names = search.names
    cdef uint64_t h
    cdef int32_t i
    if names.count == 0:
        return
    h = _hash(text, wild)
    i = names.buckets[h & names.mask]
    while i >= 0:
        if (names.entries[i].hash == h and names.entries[i].wild == wild and names.entries[i].route > search.after
                and slice_equals(names.entries[i].pattern, text)):
            if best[0] < 0 or names.entries[i].route < best[0]:
                best[0] = names.entries[i].route
            return            # those of one bucket stand in the order of the routes
        i = names.entries[i].next


cdef int32_t name_next(NameSearch* search) noexcept nogil:
    cdef int32_t best = -1, i
    cdef size_t at
    cdef int labels = 0
    for i in range(search.names.any_count):
        if search.names.any[i] > search.after:
            best = search.names.any[i]
            break
    _look(search, search.name, False, &best)
    for at in range(1, search.name.size):         # "*.example" is no pattern for ".example"
        if search.name.data[at] == c'.' and labels < NAME_LABELS:
            labels += 1
            _look(search, slice_of(search.name.data + at, search.name.size - at), True, &best)
    if best >= 0:
        search.after = best
    return best
