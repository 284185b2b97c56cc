# cython: cdivision=True
"""How the trees of tree.pxd are built."""
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.http1.head cimport METHOD_COUNT
from proxyd_ext.route.condition cimport RouteCondition, RouteInput, conditions_hold


cdef enum:
    CHUNK_BYTES = 65_536
    FIRST_CHILDREN = 4


cdef struct Chunk:
    Chunk* older
    size_t used               # bytes given out
    size_t room               # bytes that follow this header


cdef void* arena_take(Arena* arena, size_t size) noexcept nogil:
    cdef Chunk* chunk = arena.chunks
    cdef size_t room
    cdef void* taken
    size = (size + 7) & ~<size_t>7
    if chunk == NULL or chunk.room - chunk.used < size:
        room = size if size > CHUNK_BYTES else CHUNK_BYTES
        chunk = <Chunk*>calloc(1, sizeof(Chunk) + room)
        if chunk == NULL:
            return NULL
        chunk.older = arena.chunks
        chunk.room = room
        arena.chunks = chunk
    taken = <uint8_t*>(chunk + 1) + chunk.used
    chunk.used += size
    return taken


cdef void arena_free(Arena* arena) noexcept nogil:
    cdef Chunk* chunk
    while arena.chunks != NULL:
        chunk = arena.chunks
        arena.chunks = chunk.older
        free(chunk)


cdef Node* node_new(Arena* arena, const uint8_t* label, size_t size, int32_t lowest) noexcept nogil:
    cdef Node* node = <Node*>arena_take(arena, sizeof(Node))
    if node == NULL:
        return NULL
    node.label = label
    node.label_size = <uint32_t>size
    node.lowest = lowest
    return node


cdef int _adopt(Arena* arena, Node* parent, Node* child) noexcept nogil:
    """Hang `child` below `parent`, which has none with that first byte.  0, or -1 on lack of memory."""
    cdef uint8_t* first_bytes
    cdef Node** children
    cdef uint16_t room, at
    if parent.child_count == parent.child_room:
        # What is outgrown stays in the arena until the table goes: less than what is in use, since rooms double.
        room = parent.child_room * 2 if parent.child_room else FIRST_CHILDREN
        first_bytes = <uint8_t*>arena_take(arena, room)
        children = <Node**>arena_take(arena, room * sizeof(Node*))
        if first_bytes == NULL or children == NULL:
            return -1
        if parent.child_count:
            memcpy(first_bytes, parent.first_bytes, parent.child_count)
            memcpy(children, parent.children, parent.child_count * sizeof(Node*))
        parent.first_bytes = first_bytes
        parent.children = children
        parent.child_room = room
        if parent.index == NULL and room > FIRST_CHILDREN:
            parent.index = <uint16_t*>arena_take(arena, 256 * sizeof(uint16_t))
            if parent.index == NULL:
                return -1
            for at in range(parent.child_count):
                parent.index[first_bytes[at]] = at + 1
    parent.first_bytes[parent.child_count] = child.label[0]
    parent.children[parent.child_count] = child
    parent.child_count += 1
    if parent.index != NULL:
        parent.index[child.label[0]] = parent.child_count
    return 0


cdef Node* node_reach(Arena* arena, Node* node, Slice path, int32_t number) noexcept nogil:
    """Go down as far as nodes stand, splitting an edge where paths part; `lowest` of what stands is right, since numbers rise."""
    cdef size_t at = 0, shared, most
    cdef Node** place
    cdef Node* child
    cdef Node* middle
    while at < path.size:
        place = node_child(node, path.data[at])
        if place == NULL:
            child = node_new(arena, path.data + at, path.size - at, number)
            if child == NULL or _adopt(arena, node, child) < 0:
                return NULL
            return child
        child = place[0]
        most = min(<size_t>child.label_size, path.size - at)
        shared = 1
        while shared < most and child.label[shared] == path.data[at + shared]:
            shared += 1
        if shared < child.label_size:
            middle = node_new(arena, child.label, shared, child.lowest)
            if middle == NULL:
                return NULL
            child.label += shared
            child.label_size -= <uint32_t>shared
            if _adopt(arena, middle, child) < 0:
                return NULL
            place[0] = middle
            child = middle
        node = child
        at += shared
    return node


cdef int node_mark(Arena* arena, int32_t** firsts, uint32_t methods, int32_t number) noexcept nogil:
    cdef int method
    if firsts[0] == NULL:
        firsts[0] = <int32_t*>arena_take(arena, METHOD_COUNT * sizeof(int32_t))
        if firsts[0] == NULL:
            return -1
        for method in range(METHOD_COUNT):
            firsts[0][method] = NO_ROUTE
    for method in range(METHOD_COUNT):
        if methods >> method & 1 and firsts[0][method] == NO_ROUTE:
            firsts[0][method] = number
    return 0


cdef bint _taken(const Node* node, uint32_t methods, bint exact) noexcept nogil:
    """Do routes without conditions take every request that ends here and has one of these methods?"""
    cdef int method
    for method in range(METHOD_COUNT):
        if (methods >> method & 1 and (node.prefix == NULL or node.prefix[method] == NO_ROUTE)
                and not (exact and node.exact != NULL and node.exact[method] != NO_ROUTE)):
            return False
    return True


cdef int node_add_conditional(Arena* arena, Node* node, const RouteCondition* conditions, int count, uint32_t methods, int32_t number,
                              bint exact) noexcept nogil:
    cdef Conditional* conditional
    if _taken(node, methods, exact):
        return 0
    conditional = <Conditional*>arena_take(arena, sizeof(Conditional))
    if conditional == NULL:
        return -1
    conditional.conditions = conditions
    conditional.count = count
    conditional.methods = methods
    conditional.number = number
    conditional.exact = exact
    if node.conditional == NULL:
        node.conditional = conditional
    else:
        node.conditional_last.next = conditional
    node.conditional_last = conditional
    return 0


cdef int32_t conditional_match(const Conditional* conditional, const RouteInput* asked, uint8_t method, bint ends,
                               int32_t best) noexcept nogil:
    while conditional != NULL and conditional.number < best:
        if (conditional.methods >> method & 1 and (ends or not conditional.exact)
                and conditions_hold(conditional.conditions, conditional.count, asked)):
            return conditional.number
        conditional = conditional.next
    return best
